"""Factors with their levels and a rule -> few rows in which every two levels that may meet do meet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

Row = dict[str, str]  # factor -> its level
Pair = tuple[tuple[str, str], tuple[str, str]]
Fits = Callable[[Row], bool]  # False as soon as the levels chosen so far cannot be in one row
CANDIDATES = 12  # pairs that each row is tried to begin with: the row that covers most is taken


def all_pairs(factors: Mapping[str, Sequence[str]], fits: Fits) -> list[Row]:
    """Greedy: each row holds a pair that no row before it has, and as many others as can be found.

    Always the same rows for the same factors.
    """
    missing = {pair: None for pair in pairs_of(factors) if completed(dict(pair), factors, fits)}
    rows: list[Row] = []
    while missing:
        step = max(1, len(missing) // CANDIDATES)
        tried = [_grown(dict(pair), factors, fits, missing) for pair in list(missing)[::step][:CANDIDATES]]
        best = max(tried, key=lambda row: len(_newly(row, missing)))
        for pair in _newly(best, missing):
            del missing[pair]
        rows.append(best)
    return rows


def pairs_of(factors: Mapping[str, Sequence[str]]) -> Iterator[Pair]:
    """Every two levels of two factors, whether or not they may meet."""
    for one, other in combinations(factors, 2):
        for level in factors[one]:
            yield from (((one, level), (other, another)) for another in factors[other])


def completed(row: Row, factors: Mapping[str, Sequence[str]], fits: Fits) -> Row | None:
    """A whole row with these levels in it; None if there is none."""
    if not fits(row):
        return None
    left = [factor for factor in factors if factor not in row]
    if not left:
        return row
    whole = (completed(row | {left[0]: level}, factors, fits) for level in factors[left[0]])
    return next((found for found in whole if found), None)


def _grown(row: Row, factors: Mapping[str, Sequence[str]], fits: Fits, missing: Mapping[Pair, None]) -> Row:
    """A whole row around a pair; each factor in turn takes the level that adds the most missing pairs."""
    for factor in sorted(factors, key=lambda name: -len(factors[name])):
        if factor not in row:
            longer = [_ordered(row | {factor: level}, factors) for level in factors[factor]]
            longer.sort(key=lambda each: -len(_newly(each, missing)))
            row = next(each for each in longer if completed(each, factors, fits))
    return row


def _ordered(row: Row, factors: Mapping[str, Sequence[str]]) -> Row:
    return {factor: row[factor] for factor in factors if factor in row}


def _newly(row: Row, missing: Mapping[Pair, None]) -> list[Pair]:
    return [pair for pair in combinations(row.items(), 2) if pair in missing]
