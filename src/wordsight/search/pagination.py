"""The scores of all rows, and which hits are wanted -> one page of Hits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.search.engine.brute_force import Question, best_rows
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.query.parser import Query
from wordsight.search.results import Hit, Hits

SORTS = ("score", "date")
MOST = 1000  # hits of one page


@dataclass(frozen=True)
class Page:
    """Which of the hits are wanted."""

    k: int = 10
    offset: int = 0
    sort: str = "score"

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST:
            raise InputError(f"k = {self.k}; a page has 1 to {MOST} hits")
        if self.offset < 0:
            raise InputError(f"offset = {self.offset}; the first hit is 0")
        if self.sort not in SORTS:
            raise InputError(f'sort = "{self.sort}"; known: {", ".join(SORTS)}')


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of all rows, before a page of them is made."""

    asking: Question
    rows: np.ndarray | None  # None: all
    scores: Float[np.ndarray, " row"]  # -inf: left out by an operator
    threshold: float
    exact: bool
    every_word: Bool[np.ndarray, " row"] | None = None  # rows in which every word is found; None: none

    @property
    def matches(self) -> Bool[np.ndarray, " row"]:
        """One verdict per row: its score reaches the threshold, or every word is found in it."""
        good = self.scores >= self.threshold
        good = good if self.every_word is None else good | self.every_word
        found: Bool[np.ndarray, " row"] = good & np.isfinite(self.scores)
        return found


def page_of(snapshot: Snapshot, scored: Scored, page: Page, query: Query | None, memory_mb: float) -> Hits:
    """Scores settle who is on the page; words come later. ``memory_mb`` bounds what is read of the index."""
    matches, total = scored.matches, int(np.isfinite(scored.scores).sum())
    lowest = float(scored.scores[matches].min(initial=np.inf))
    places, rows, scores = _chosen(snapshot, scored, page, matches, memory_mb)
    percentiles = 100 * _lower(scored.scores, total, scores) / max(1, total)
    facts = zip(snapshot.items(rows), rows.tolist(), scores.tolist(), percentiles.tolist(), strict=True)
    hits = tuple(Hit(*one, (), bool(match)) for one, match in zip(facts, matches[places], strict=True))
    return Hits(
        hits=hits,
        relevant=int(matches.sum()),
        total=total,
        exact=scored.exact,
        query=query,
        line=lowest if matches.any() else scored.threshold,
        offset=page.offset,
        last_match=int((np.isfinite(scored.scores) & (scored.scores >= lowest)).sum()),
    )


def _chosen(
    snapshot: Snapshot, scored: Scored, page: Page, matches: np.ndarray, memory_mb: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places among the scores, rows and scores of the page: by score, or the matches from the newest on."""
    last = page.offset + page.k
    if page.sort == "score":
        rows, scores = best_rows(scored.asking, snapshot, scored.rows, scored.scores, last, memory_mb)
        rows, scores = rows[page.offset :], scores[page.offset :]
        return _places(scored.rows, rows), rows, scores
    places = np.flatnonzero(matches)
    rows = places if scored.rows is None else scored.rows[places]
    order = np.lexsort((snapshot.ids[rows], -snapshot.dates()[rows]))[page.offset : last]
    return places[order], rows[order], scored.scores[places[order]].astype(np.float64)


def _places(all_rows: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Where these rows are among all that were scored, which ascend."""
    return rows if all_rows is None else np.searchsorted(all_rows, rows)


def _lower(
    scores: Float[np.ndarray, " row"], alive: int, of_hits: Float[np.ndarray, " hit"]
) -> Int[np.ndarray, " hit"]:
    """How many of all that are alive score lower than each hit, which itself may be rounded otherwise."""
    limits = of_hits - 1e-6
    others = np.sort(scores[scores >= limits.min(initial=np.inf)])  # few, where the hits are the best
    return alive - len(others) + np.searchsorted(others, limits)
