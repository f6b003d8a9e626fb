"""A text -> its words without case and accents, as servers store them of items."""

import re
import unicodedata

from wordsight.search.index import database


def words_in(text: str) -> list[str]:
    """The distinct words of a text without case and accents."""
    bare = unicodedata.normalize("NFD", database.clean(text))
    letters = "".join(one for one in bare if not unicodedata.combining(one)).casefold()
    return sorted(set(re.findall(r"[^\W_]+", letters)))
