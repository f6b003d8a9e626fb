"""A state of an index on PostgreSQL -> what is measured on it: calibration, sample, recall of candidates."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.search.engine.engine import Engine
from wordsight.search.engine.shortlist import Recall
from wordsight.search.postgres import near_index, notes
from wordsight.search.postgres.engines import ENGINES, MAX_EXACT_ROWS
from wordsight.search.postgres.recall import measure_recall
from wordsight.search.postgres.snapshot import PostgresSnapshot, SampledRows
from wordsight.search.relevance import threshold
from wordsight.search.relevance.null_scores import Background, background_texts, measure_background
from wordsight.search.searcher_state import SAMPLE_PICTURES, SearchSession
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.similarity.kernels.packed import masked_unit

if TYPE_CHECKING:
    from wordsight.search.postgres.index import PostgresIndex
    from wordsight.search.postgres.server import Server

MEASURED_PICTURES = 2000  # that background texts are scored on
MAX_GROWTH = 1.25  # the index may grow or shrink so much until it is measured anew
RECALL_FIELDS: dict[str, plain_json.Kind] = {"size": int, "recall": float, "queries": int, "nearest": int}


@dataclass(frozen=True)
class NearestRecall(Recall):
    """Recall of a shortlist from the ``nearest`` regions of each word."""

    nearest: int = 1000


class NoScreen:
    """No rows in memory, so none in int8."""

    is_useful, bytes = False, 0

    def prepare(self) -> None: ...


class PostgresSession(SearchSession):
    """One state of an index on a server. Rows stay there: only candidates and hits are fetched."""

    index: "PostgresIndex"
    snapshot: PostgresSnapshot

    @property
    def server(self) -> "Server":
        return self.index.server

    def engine(self, engine: str | type[Engine]) -> Engine:
        """The engine of this name or class, built once."""
        if isinstance(engine, str) and engine not in ENGINES:
            raise InputError(
                f'the engine "{engine}" searches local indexes; {self.index.name} has {", ".join(ENGINES)}'
            )
        return super().engine(ENGINES[engine] if isinstance(engine, str) else engine)

    def candidates(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Rows of a statement that uses the approximate index, with as many probes as it needs."""
        with self.server.transaction() as connection:
            near_index.set_probes(connection, self.near)
            return connection.execute(statement, parameters).fetchall()

    @cached_property
    def near(self) -> near_index.NearIndex | None:
        return near_index.read(self.server)

    def prepare_shortlist(self) -> NearestRecall | None:
        """Build the approximate index if that is due, and measure the recall of its candidates."""
        regions = int(self.server.value("SELECT coalesce(sum(slots), 0) FROM picture"))
        if near_index.is_due(self.server, regions):
            near_index.build(self.server, regions, self.snapshot.layout.dim)
            self.__dict__.pop("near", None)
            notes.drop(self.server, notes.RECALL)
        return self._recall if len(self.snapshot) > MAX_EXACT_ROWS else None

    @property
    def nearest_recall(self) -> NearestRecall:
        with self._lock:
            return self._recall

    @property
    def screen(self) -> NoScreen:  # type: ignore[override]
        return NoScreen()

    @property
    def row_cache(self) -> PostgresSnapshot:  # type: ignore[override]
        return self.snapshot

    @cached_property
    def measured_rows(self) -> SampledRows:
        """The pictures that stand for all when something is measured."""
        return SampledRows(self.snapshot, self.snapshot.sampled_rows(MEASURED_PICTURES))

    @cached_property
    def sample(self) -> EmbeddingSet:
        chosen = self.snapshot.gather(self.snapshot.sampled_rows(SAMPLE_PICTURES))
        return UnitSet(masked_unit(chosen), chosen.mask) if self.index.meta.unit else chosen

    @cached_property
    def _recall(self) -> NearestRecall:
        stored = self._noted(notes.RECALL)
        if stored is not None:
            return NearestRecall(**plain_json.table_of(stored, RECALL_FIELDS, notes.RECALL))
        texts = background_texts(self.matcher, self.measured_rows)
        size, nearest, recall, queries = measure_recall(self, texts)
        measured = NearestRecall(size, recall, queries, nearest)
        self._note(notes.RECALL, asdict(measured))
        return measured

    def _background(self) -> Background:
        stored = self._noted(notes.BACKGROUND)
        if stored is not None:
            return threshold.from_json(stored)
        if self.index.kind != "images":
            return Background(0, (), 0.0, 0.0)
        measured = measure_background(self.matcher, self.measured_rows, self.memory_mb)
        self._note(notes.BACKGROUND, threshold.to_json(measured))
        return measured

    def _noted(self, name: str) -> Any:
        """Read a measurement of an index of about this size; None if there is none."""
        note, count = notes.read(self.server, name), len(self.snapshot)
        if note is None or max(note.items, count) > MAX_GROWTH * min(note.items, count):
            return None
        return note.value

    def _note(self, name: str, value: Any) -> None:
        notes.write(self.server, name, self.snapshot.generation, len(self.snapshot), value)
