"""A text -> its words without case and accents, as servers store them of items, and phrases of a filter."""

import re
import unicodedata
from collections.abc import Sequence

from wordsight.search.index import database
from wordsight.search.index.filter_sql import text_parts


def tokens(text: str) -> list[str]:
    """The words of a text without case and accents, in their order."""
    bare = unicodedata.normalize("NFD", database.clean(text))
    letters = "".join(one for one in bare if not unicodedata.combining(one)).casefold()
    return re.findall(r"[^\W_]+", letters)


def words_in(text: str) -> list[str]:
    """The distinct words of a text."""
    return sorted(set(tokens(text)))


def phrases_in(text: str) -> list[list[str]]:
    """The words of each part of a filter by text: of a word, or of a phrase whose words follow each other."""
    return [words for words in map(tokens, text_parts(text)) if words]


def joined(fields: Sequence[str]) -> str:
    """The words of some texts in their order; two spaces separate texts, so that no phrase crosses them."""
    return "  ".join(" ".join(tokens(field)) for field in fields)


def holds(words: str, phrase: Sequence[str]) -> bool:
    """Whether joined words hold a phrase."""
    return f" {' '.join(phrase)} " in f" {words} "
