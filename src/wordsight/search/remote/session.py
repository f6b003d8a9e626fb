"""A state of an index on a server -> what is measured on it: calibration, and a sample of its pictures."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from wordsight.errors import InputError
from wordsight.search.engine.engine import Engine
from wordsight.search.relevance import threshold
from wordsight.search.relevance.null_scores import Background, measure_background
from wordsight.search.remote.rows import SampledRows
from wordsight.search.searcher_state import SAMPLE_PICTURES, SearchSession
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.similarity.kernels.packed import masked_unit

MEASURED_PICTURES = 2000  # that background texts are scored on
MAX_GROWTH = 1.25  # the index may grow or shrink so much until it is measured anew
BACKGROUND, RECALL = "background", "recall"  # names of measurements


class NoScreen:
    """No rows in memory, so none in int8."""

    is_useful, bytes = False, 0

    def prepare(self) -> None: ...


class RemoteSession(SearchSession):
    """One state of an index on a server. Rows stay there: only candidates and hits are fetched."""

    engines: Mapping[str, type[Engine]]

    @abstractmethod
    def read_note(self, name: str) -> tuple[int, Any] | None:
        """A stored measurement: the number of items that it was made on, and its value."""

    @abstractmethod
    def write_note(self, name: str, value: Any) -> None:
        """Store a measurement on this state."""

    def engine(self, engine: str | type[Engine]) -> Engine:
        """The engine of this name or class, built once."""
        if isinstance(engine, str) and engine not in self.engines:
            known = ", ".join(self.engines)
            raise InputError(f'the engine "{engine}" searches local indexes; {self.index.name} has {known}')
        return super().engine(self.engines[engine] if isinstance(engine, str) else engine)

    @property
    def screen(self) -> NoScreen:  # type: ignore[override]
        return NoScreen()

    @property
    def row_cache(self) -> Any:
        return self.snapshot

    @cached_property
    def measured_rows(self) -> SampledRows:
        """The pictures that stand for all when something is measured."""
        return SampledRows(self.snapshot, self.snapshot.sampled_rows(MEASURED_PICTURES))

    @cached_property
    def sample(self) -> EmbeddingSet:
        chosen = self.snapshot.gather(self.snapshot.sampled_rows(SAMPLE_PICTURES))
        return UnitSet(masked_unit(chosen), chosen.mask) if self.index.meta.unit else chosen

    def _background(self) -> Background:
        stored = self._noted(BACKGROUND)
        if stored is not None:
            return threshold.from_json(stored)
        if self.index.kind != "images":
            return Background(0, (), 0.0, 0.0)
        measured = measure_background(self.matcher, self.measured_rows, self.memory_mb)
        self.write_note(BACKGROUND, threshold.to_json(measured))
        return measured

    def _noted(self, name: str) -> Any:
        """A measurement of an index of about this size; None if there is none."""
        note, count = self.read_note(name), len(self.snapshot)
        if note is None or max(note[0], count) > MAX_GROWTH * min(note[0], count):
            return None
        return note[1]
