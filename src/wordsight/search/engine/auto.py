"""Automatic engine: exact search unless that is slow and the shortlist is good."""

import time

from wordsight.search.engine import shortlist
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.index.database import Filters

MAX_EXACT_SECONDS = 1.0  # the shortlist is used when an exact search needs longer
GOOD_RECALL = 0.9  # and only if the shortlist has this recall
MIN_ROWS = 1000  # a search of fewer rows says nothing about this machine's speed


class ScoringSpeed:
    """Speed of this machine: a first guess, which every search corrects."""

    def __init__(self) -> None:
        self.products_per_second = 5e9

    def learn(self, products: float, seconds: float) -> None:
        self.products_per_second = (self.products_per_second + products / seconds) / 2


_speed = ScoringSpeed()  # of this machine, for all indexes


class Auto(Engine):
    """Exact search, or the shortlist where exact search is slow."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        engine = self.session.engine("exact" if self._is_exact(query, filters) else "shortlist")
        began = time.perf_counter()
        found = engine.search(query, filters, k)
        seconds = time.perf_counter() - began
        if len(found.scores) >= MIN_ROWS and seconds > 0:
            _speed.learn(self._products(query, len(found.scores)), seconds)
        return found

    def _is_exact(self, query: EngineQuery, filters: Filters) -> bool:
        return (
            self._is_quick(query, len(self.snapshot))
            or self._is_quick(query, len(self.rows(filters)))
            or self.session.recall.recall < GOOD_RECALL
        )

    def _is_quick(self, query: EngineQuery, count: int) -> bool:
        seconds = self._products(query, count) / _speed.products_per_second
        return seconds <= MAX_EXACT_SECONDS or count <= shortlist.SIZES[-1]

    def _products(self, query: EngineQuery, count: int) -> float:
        """Multiplications of an exact search of so many rows."""
        if not len(self.snapshot):
            return 0.0
        return count * float(self.snapshot.lengths.mean()) * query.vectors.vectors.numel()
