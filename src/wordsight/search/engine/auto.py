"""Automatic engine: exact search unless that is slow and an engine with candidates is good."""

import time
from dataclasses import replace
from functools import cached_property

from wordsight.search.engine import shortlist
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.engine.regions import Regions
from wordsight.search.index import region_meta
from wordsight.search.index.database import Filters

MAX_EXACT_SECONDS = 1.0  # the shortlist is used when an exact search needs longer
GOOD_RECALL = 0.9  # and only if the shortlist has this recall
MAX_EXACT_SECONDS_WITH_REGIONS = 0.1  # likewise for the index of regions
GOOD_RECALL_OF_REGIONS = 0.95
MIN_ROWS = 1000  # a search of fewer rows says nothing about this machine's speed


class ScoringSpeed:
    """Speed of this machine: a first guess, which every search corrects."""

    def __init__(self) -> None:
        self.products_per_second = 5e9

    def learn(self, products: float, seconds: float) -> None:
        self.products_per_second = (self.products_per_second + products / seconds) / 2


_speed = ScoringSpeed()  # of this machine, for all indexes


class Auto(Engine):
    """Exact search, or where that is slow the index of regions, or else the shortlist."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        engine = self.session.engine(self._choice(query, filters))
        began = time.perf_counter()
        found = engine.answer(query, filters, k)
        seconds = time.perf_counter() - began
        if len(found.scores) >= MIN_ROWS and seconds > 0:
            _speed.learn(self._products(query, len(found.scores)), seconds)
        return replace(found, fallback="")  # no engine was asked for

    def _choice(self, query: EngineQuery, filters: Filters) -> str:
        if self._is_quick(query, filters, MAX_EXACT_SECONDS_WITH_REGIONS):
            return "exact"
        if self._has_good_regions:
            return "regions"
        few = len(self.rows(filters)) <= shortlist.SIZES[-1]
        if few or self._is_quick(query, filters, MAX_EXACT_SECONDS):
            return "exact"
        return "exact" if self.session.recall.recall < GOOD_RECALL else "shortlist"

    @cached_property
    def _has_good_regions(self) -> bool:
        if not (self.session.index.folder / region_meta.META).is_file():
            return False
        engine = self.session.engine("regions")
        assert isinstance(engine, Regions)
        return engine.recall >= GOOD_RECALL_OF_REGIONS

    def _is_quick(self, query: EngineQuery, filters: Filters, limit: float) -> bool:
        """Whether an exact search of the rows that pass the filters takes no longer."""
        if self._seconds(query, len(self.snapshot)) <= limit:
            return True
        return self._seconds(query, len(self.rows(filters))) <= limit

    def _seconds(self, query: EngineQuery, count: int) -> float:
        return self._products(query, count) / _speed.products_per_second

    def _products(self, query: EngineQuery, count: int) -> float:
        """Multiplications of an exact search of so many rows."""
        if not len(self.snapshot):
            return 0.0
        return count * float(self.snapshot.lengths.mean()) * query.vectors.vectors.numel()
