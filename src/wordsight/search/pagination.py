"""Scores of all rows -> one page of Hits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from wordsight.errors import InputError
from wordsight.search.engine.brute_force import RowScorer, best_rows
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.query.parser import Query
from wordsight.search.results import Hit, Hits

SORTS = ("score", "date")
MAX_HITS = 1000  # hits of one page


@dataclass(frozen=True)
class Page:
    """Position, size and order of a page of hits."""

    k: int = 10
    offset: int = 0
    sort: str = "score"

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_HITS:
            raise InputError(f"k = {self.k}; a page has 1 to {MAX_HITS} hits")
        if self.offset < 0:
            raise InputError(f"offset = {self.offset}; the first hit is 0")
        if self.sort not in SORTS:
            raise InputError(f'sort = "{self.sort}"; known: {", ".join(SORTS)}')


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of a query, before the page is cut out."""

    scorer: RowScorer
    rows: np.ndarray | None  # None: all
    scores: Float[np.ndarray, " row"]
    threshold: float
    exact: bool


def page_of(snapshot: Snapshot, scored: Scored, page: Page, query: Query | None, memory_mb: float) -> Hits:
    """One page of hits, still without words; ``memory_mb`` bounds the blocks that are read."""
    alive = np.isfinite(scored.scores)
    above = alive & (scored.scores >= scored.threshold)
    rows, scores = _chosen(snapshot, scored, page, above, memory_mb)
    relevant, total = int(above.sum()), int(alive.sum())
    percentiles = 100 * _lower(scored.scores, total, scores) / max(1, total)
    rows_of_hits = zip(
        snapshot.items(rows), rows.tolist(), scores.tolist(), percentiles.tolist(), strict=True
    )
    hits = tuple(Hit(*columns, (), columns[2] >= scored.threshold) for columns in rows_of_hits)
    return Hits(hits, relevant, total, scored.exact, query, scored.threshold, page.offset)


def _chosen(
    snapshot: Snapshot, scored: Scored, page: Page, above: np.ndarray, memory_mb: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the page and their scores; sorted by date, only the relevant ones."""
    last = page.offset + page.k
    if page.sort == "score":
        rows, scores = best_rows(scored.scorer, snapshot, scored.rows, scored.scores, last, memory_mb)
        return rows[page.offset :], scores[page.offset :]
    places = np.flatnonzero(above)
    rows = places if scored.rows is None else scored.rows[places]
    order = np.lexsort((snapshot.ids[rows], -snapshot.dates()[rows]))[page.offset : last]
    return rows[order], scored.scores[places[order]].astype(np.float64)


def _lower(
    scores: Float[np.ndarray, " row"], alive: int, of_hits: Float[np.ndarray, " hit"]
) -> Int[np.ndarray, " hit"]:
    """Number of scores below each hit's; a hit itself may be rounded differently."""
    limits = of_hits - 1e-6
    others = np.sort(scores[scores >= limits.min(initial=np.inf)])  # few, where the hits are the best
    return alive - len(others) + np.searchsorted(others, limits)
