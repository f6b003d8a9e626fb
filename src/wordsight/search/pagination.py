"""The scores of all rows, and which hits are wanted -> one page of Hits."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.search.engine.brute_force import RowScorer, best_rows
from wordsight.search.index.interface import SearchableRows
from wordsight.search.query.parser import Query
from wordsight.search.results import Hit, Hits

SORTS = ("score", "date")
MAX_HITS = 1000  # hits of one page
ROUNDING = 1e-5  # of a float32 score, relative: a hit is not lower than itself


@dataclass(frozen=True)
class Page:
    """The wanted part of the hits."""

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
    scores: Float[np.ndarray, " row"]  # -inf: left out by an operator
    threshold: float
    exact: bool
    chances: Float[np.ndarray, " row"] | None = None  # of a match; None: the threshold decides
    min_probability: float | None = None
    engine: str = "exact"  # that scored
    fallback: str = ""  # why it is another one than was chosen

    @property
    def matches(self) -> Bool[np.ndarray, " row"]:
        """Whether each row matches."""
        good = self.scores >= self.threshold
        if self.chances is not None and self.min_probability is not None:
            good = self.chances >= self.min_probability
        found: Bool[np.ndarray, " row"] = good & np.isfinite(self.scores)
        return found

    def places(self, rows: Int[np.ndarray, " hit"]) -> Int[np.ndarray, " hit"]:
        """Where these rows stand among those that were scored."""
        if self.rows is None:
            return rows
        order = np.argsort(self.rows, kind="stable")
        return order[np.searchsorted(self.rows, rows, sorter=order)]


def page_of(
    snapshot: SearchableRows, scored: Scored, page: Page, query: Query | None, memory_mb: float
) -> Hits:
    """Scores settle who is on the page; words come later. ``memory_mb`` bounds what is read of the index."""
    matches, total = scored.matches, int(np.isfinite(scored.scores).sum())
    rows, scores = _chosen(snapshot, scored, page, matches, memory_mb)
    places = scored.places(rows)
    percentiles = 100 * _lower(scored.scores, total, scores) / max(1, total)
    chances = [None] * len(rows) if scored.chances is None else scored.chances[places].tolist()
    columns = zip(
        snapshot.items(rows), rows.tolist(), scores.tolist(), percentiles.tolist(), matches[places].tolist(),
        chances, strict=True,
    )  # fmt: skip
    hits = tuple(
        Hit(item, row, score, percentile, (), match, probability=chance)
        for item, row, score, percentile, match, chance in columns
    )
    least, threshold = scored.min_probability, scored.threshold
    found = Hits(hits, int(matches.sum()), total, scored.exact, query, threshold, page.offset)
    return replace(found, min_probability=least, engine=scored.engine, fallback=scored.fallback)


def _chosen(
    snapshot: SearchableRows, scored: Scored, page: Page, matches: Bool[np.ndarray, " row"], memory_mb: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the page and their scores: matches before others, by score; or matches from the newest on."""
    last = page.offset + page.k
    if page.sort == "score":
        rows, scores = _matches_first(snapshot, scored, last, matches, memory_mb)
        return rows[page.offset :], scores[page.offset :]
    places = np.flatnonzero(matches)
    rows = places if scored.rows is None else scored.rows[places]
    order = np.lexsort((snapshot.ids[rows], -snapshot.dates()[rows]))[page.offset : last]
    return rows[order], scored.scores[places[order]].astype(np.float64)


def _matches_first(
    snapshot: SearchableRows, scored: Scored, count: int, matches: Bool[np.ndarray, " row"], memory_mb: float
) -> tuple[np.ndarray, np.ndarray]:
    """The best so many. A threshold of scores keeps their order; probabilities need not."""

    def best(scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        return best_rows(scored.scorer, snapshot, scored.rows, scores, most, memory_mb)

    if scored.chances is None:
        return best(scored.scores, count)
    first = best(np.where(matches, scored.scores, -np.inf).astype(np.float32), count)
    if len(first[0]) == count:
        return first
    rest = best(np.where(matches, -np.inf, scored.scores).astype(np.float32), count - len(first[0]))
    return np.concatenate([first[0], rest[0]]), np.concatenate([first[1], rest[1]])


def _lower(
    scores: Float[np.ndarray, " row"], alive: int, of_hits: Float[np.ndarray, " hit"]
) -> Int[np.ndarray, " hit"]:
    """How many of all that are alive score lower than each hit, which itself may be rounded otherwise."""
    limits = of_hits - ROUNDING * np.maximum(1, np.abs(of_hits))
    others = np.sort(scores[scores >= limits.min(initial=np.inf)])  # few, where the hits are the best
    lower: Int[np.ndarray, " hit"] = alive - len(others) + np.searchsorted(others, limits)
    return lower
