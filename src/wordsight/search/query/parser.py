"""A query text -> a Query: the sentence that is scored, and the operators of single words.

A query is a plain sentence. An operator stands directly before or after a word, or a part in quotes::

    a dog +running on the beach      +  the word must be found in the picture
    a dog -person                    -  must not be found; it is no part of the sentence that is scored
    a red^3 ball                     ^  the word counts three times, as if the sentence held it so often
    +"red hat"  -"red hat"  "c^2"    quotes hold several words together and take every character literally

In quotes, ``\\"`` is a quote and ``\\\\`` a backslash. A ``+`` or ``-`` between spaces, a hyphen in a word,
a quote after a digit (12", inches) and an unpaired quote are plain characters. Curly quotes and
apostrophes, as telephones type them, count as straight ones.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from wordsight.errors import InputError

MAX_CHARACTERS = 1000  # characters of a query
MAX_WEIGHT = 9  # the most that one word may count
TYPEWRITTEN = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")  # quotes as telephones type them
PLAIN_SPACE = "\t\n\r\v\f"  # control characters that are read as a space


class QueryError(InputError):
    """An invalid query; ``position`` counts characters from 1, None: the query as a whole."""

    def __init__(self, message: str, position: int | None = None) -> None:
        self.position = position
        super().__init__(message if position is None else f"position {position} of the query: {message}")


@dataclass(frozen=True)
class Term:
    """Neighbouring characters of the sentence that carry an operator."""

    start: int  # in the sentence, from 0
    stop: int
    required: bool
    weight: int
    position: int  # in what was typed, from 1, for messages


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    typed: str
    sentence: str  # the scored text, without operators, quotes and excluded parts
    terms: tuple[Term, ...] = ()
    excluded: tuple[str, ...] = ()


def parse(typed: str) -> Query:
    """Parse a query; any invalid text raises QueryError with its position."""
    text = _clean(typed)
    sentence, terms, excluded = "", [], []
    for part in _parts(text):
        if part.sign == "-":
            excluded.append(part.words)
            continue
        start = len(sentence) + bool(sentence)
        sentence = f"{sentence} {part.words}" if sentence else part.words
        if part.sign or part.weight != 1:
            terms.append(Term(start, len(sentence), part.sign == "+", part.weight, part.position))
    if not sentence.strip('" '):
        raise QueryError(
            "it only excludes; add a word to search for"
            if excluded
            else "it is empty; type a word or a sentence"
        )
    return Query(typed, sentence, tuple(terms), tuple(excluded))


def _clean(typed: str) -> str:
    if len(typed) > MAX_CHARACTERS:
        raise QueryError(f"it has {len(typed)} characters, and the limit is {MAX_CHARACTERS}; shorten it")
    for position, letter in enumerate(typed, start=1):
        kind = unicodedata.category(letter)
        if kind == "Cs" or (kind == "Cc" and letter not in PLAIN_SPACE):
            raise QueryError(f"the character U+{ord(letter):04X} is not text; take it out", position)
    return typed.translate(TYPEWRITTEN)


@dataclass(frozen=True)
class _Part:
    sign: str  # "+", "-" or nothing
    words: str
    weight: int
    position: int


_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_WEIGHT = re.compile(r"\^([^\s]*)")


def _parts(text: str) -> Iterator[_Part]:
    """One part after another; spaces only separate."""
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
        else:
            part, place = _part(text, place)
            yield part


def _part(text: str, place: int) -> tuple[_Part, int]:
    position = place + 1
    sign = text[place] if text[place] in "+-" and _goes_on(text, place + 1) else ""
    words, place = _words(text, place + len(sign), sign)
    after_words = place
    weight, place = _weight(text, place)
    if sign == "-" and weight is not None:
        raise QueryError("a word that must not be there has no weight; take the ^ out", after_words + 1)
    if _goes_on(text, place):
        inside = text[place] == '"'
        next_step = (
            "a quote inside a word; put a space before it" if inside else "put a space after the quotes"
        )
        raise QueryError(next_step, place + 1)
    return _Part(sign, words, weight or 1, position), place


def _goes_on(text: str, place: int) -> bool:
    return place < len(text) and not text[place].isspace()


def _words(text: str, place: int, sign: str) -> tuple[str, int]:
    """The operand of an operator: a part in quotes, or a word."""
    quoted = _QUOTED.match(text, place)
    if quoted is not None:
        return _unquoted(quoted, place), quoted.end()
    stop = place + (text[place] == '"')  # which has no pair
    while stop < len(text) and _is_bare(text, stop):
        stop += 1
    bare = text[place:stop]
    if not bare:
        raise QueryError(f'{sign}^ has no word before it; write word^2, or "^" in quotes', place + 1)
    if sign and bare[0] in "+-":
        raise QueryError(f"two operators, {sign}{bare[0]}; keep one, or put the word in quotes", place + 1)
    return bare, stop


def _is_bare(text: str, place: int) -> bool:
    """Whether a character belongs to a word without quotes around it."""
    if text[place] != '"':
        return not text[place].isspace() and text[place] != "^"
    return _follows_digit(text, place) or not any(
        text[later] == '"' and not _follows_digit(text, later) for later in range(place + 1, len(text))
    )


def _follows_digit(text: str, place: int) -> bool:
    return place > 0 and text[place - 1].isdecimal()


def _unquoted(quoted: re.Match[str], place: int) -> str:
    words = " ".join(_ESCAPED.sub(r"\1", quoted[1]).split())
    if not words:
        raise QueryError("there is nothing in these quotes", place + 1)
    return words


def _weight(text: str, place: int) -> tuple[int | None, int]:
    if place >= len(text) or text[place] != "^":
        return None, place
    weight = _WEIGHT.match(text, place)
    assert weight is not None
    if not re.fullmatch(f"[1-{MAX_WEIGHT}]", weight[1]):
        raise QueryError(
            f'^ is followed by "{weight[1][:20]}"; give a whole number from 1 to {MAX_WEIGHT}, as in word^2',
            place + 1,
        )
    return int(weight[1]), weight.end()
