"""Two ways to cut and write one sentence -> which word of the one is which word of the other."""

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher


def letters(text: str) -> str:
    """The letters and digits of a text without case and accents: what all ways to write it have in common."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


def likeness(one: str, other: str) -> float:
    """How much of two strings is the same, in order: 1 if they are equal, 0 if they share nothing."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def counterparts(words: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """For each word the one of ``others`` that holds its last letter; None where it is not there whole.

    Of "t-shirt" that is the "shirt" of "t", "-", "shirt"; of "man" in "man", "'s" it is "mans". Punctuation
    has no counterpart. Where the letters differ somewhere, the longest equal runs are each other's.
    """
    own, other = [letters(word) for word in words], [letters(word) for word in others]
    owners = [number for number, word in enumerate(other) for _ in word]
    places = _places("".join(own), "".join(other))
    found: list[int | None] = []
    end = 0
    for word in own:
        start, end = end, end + len(word)
        first, last = (places.get(start), places.get(end - 1)) if word else (None, None)
        whole = first is not None and last is not None and last - first == len(word) - 1
        found.append(owners[last] if whole and last is not None else None)
    return found


def _places(one: str, other: str) -> dict[int, int]:
    """For each letter of the one string that the other has too, in order: where it stands there."""
    if one == other:
        return {place: place for place in range(len(one))}
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return {here + step: there + step for here, there, size in blocks for step in range(size)}
