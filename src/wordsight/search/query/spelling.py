"""An unknown word -> the closest word of the vocabulary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIN_LETTERS = 3  # letters: of fewer, nearly every word is near
MAX_SLIPS = ((3, 1), (8, 2))  # letters of a word, and how many slips it may have; longer ones: 3
LIKELY_SLIP_COST = (
    0.9  # the cost of swapped neighbours and of a doubled letter; a letter more, less or other costs 1
)
FIRST_LETTER_COST = 0.1  # the first letter is seldom wrong


@dataclass(frozen=True)
class Suggestion:
    """An unknown word of a query and its closest known word."""

    word: str
    instead: str


def closest_word(word: str, vocabulary: Sequence[str], most: int | None = None) -> str | None:
    """The word with the fewest slips, of equal ones the most frequent (first in the vocabulary).

    ``most`` slips are taken for one; by default a long word may have more.
    """
    wanted = word.casefold()
    if len(wanted) < MIN_LETTERS or not wanted.isalpha():
        return None
    slips = most or next((slips for length, slips in MAX_SLIPS if len(wanted) <= length), 3)
    letters, closest, instead = set(wanted), slips + 0.5, None
    for candidate in map(str.lower, vocabulary):
        if abs(len(candidate) - len(wanted)) > slips or not candidate.isalpha():
            continue
        if len(letters.symmetric_difference(candidate)) > 2 * slips:
            continue
        distance = _distance(wanted, candidate) + FIRST_LETTER_COST * (candidate[0] != wanted[0])
        if distance < closest:
            closest, instead = distance, candidate
    return instead


def suggestions(
    words: Iterable[str], vocabulary: Sequence[str], most: int | None = None
) -> tuple[Suggestion, ...]:
    """The closest word of each that has one."""
    closest = ((word, closest_word(word, vocabulary, most)) for word in words)
    return tuple(Suggestion(word, instead) for word, instead in closest if instead is not None)


def _distance(left: str, right: str) -> float:
    """Number of insertions, deletions, replacements and swaps of neighbours (optimal string alignment)."""
    before: list[float] = []
    last = [float(n) for n in range(len(right) + 1)]
    for i, letter in enumerate(left, 1):
        row = [float(i)]
        delete = LIKELY_SLIP_COST if i > 1 and left[i - 2] == letter else 1.0
        for j, other in enumerate(right, 1):
            insert = LIKELY_SLIP_COST if j > 1 and right[j - 2] == other else 1.0
            cost = min(last[j] + delete, row[j - 1] + insert, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, before[j - 2] + LIKELY_SLIP_COST)
            row.append(cost)
        before, last = last, row
    return last[-1]
