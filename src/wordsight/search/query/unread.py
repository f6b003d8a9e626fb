"""A text and a tokenizer with a limit -> the end of the text beyond that limit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wordsight.read.text.base import Tokenizer

if TYPE_CHECKING:
    from wordsight.search.query.encoded import EncodedWord


def unread_end(tokenizer: Tokenizer, text: str, words: "Sequence[EncodedWord]") -> str:
    """The end of a text that was cut off at ``max_length`` tokens; empty if nothing was.

    ``words``: the words within the limit. A word that was cut counts as unread.
    """
    if len(tokenizer.finish(tokenizer.words(text))) < tokenizer.max_length:
        return ""
    stop = max((word.stop for word in words), default=0)
    while 0 < stop < len(text) and text[stop - 1].isalnum() and text[stop].isalnum():
        stop -= 1  # to where the word begins
    rest = text[max(stop, 0) :].strip()
    return rest if any(letter.isalnum() for letter in rest) else ""
