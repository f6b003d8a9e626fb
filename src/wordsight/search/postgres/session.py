"""A state of an index on PostgreSQL -> what is measured on it: calibration, sample, recall of candidates."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wordsight.files import plain_json
from wordsight.search.engine.shortlist import MAX_QUERIES
from wordsight.search.postgres import near_index, notes
from wordsight.search.postgres.engines import ENGINES, MAX_EXACT_ROWS
from wordsight.search.postgres.recall import NearestRecall, measure_recall
from wordsight.search.postgres.snapshot import PostgresSnapshot
from wordsight.search.relevance.null_scores import background_texts, spread_rows
from wordsight.search.remote.session import RECALL, RemoteSession
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.search.postgres.index import PostgresIndex
    from wordsight.search.postgres.server import Server

RECALL_FIELDS: dict[str, plain_json.Kind] = {"size": int, "recall": float, "queries": int, "nearest": int}


class PostgresSession(RemoteSession):
    """One state of an index on a server. Rows stay there: only candidates and hits are fetched."""

    index: "PostgresIndex"
    snapshot: PostgresSnapshot
    engines = ENGINES

    @property
    def server(self) -> "Server":
        return self.index.server

    def candidates(self, statement: str, parameters: dict[str, Any], probes: float) -> list[tuple[Any, ...]]:
        """Rows of a statement that uses the approximate index, with as many probes as it needs."""
        with self.server.transaction() as connection:
            near_index.set_probes(connection, self.near, probes)
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
            notes.drop(self.server, RECALL)
        return self._recall if len(self.snapshot) > MAX_EXACT_ROWS else None

    @property
    def nearest_recall(self) -> NearestRecall:
        with self._lock:
            return self._recall

    @cached_property
    def _recall(self) -> NearestRecall:
        stored = self._noted(RECALL)
        if stored is not None:
            return NearestRecall(**plain_json.table_of(stored, RECALL_FIELDS, RECALL))
        texts = background_texts(self.matcher, self.measured_rows)
        chosen = [texts[n] for n in spread_rows(len(texts), MAX_QUERIES)]
        with torch.no_grad():
            return self.measure_recall([self.matcher.encode_texts([text]) for text in chosen])

    def measure_recall(self, queries: Sequence[EmbeddingSet]) -> NearestRecall:
        """Measure and store how much of the approximate index these queries must read."""
        measured = measure_recall(self, queries)
        self.write_note(RECALL, asdict(measured))
        return measured

    def read_note(self, name: str) -> tuple[int, Any] | None:
        note = notes.read(self.server, name)
        return None if note is None else (note.items, note.value)

    def write_note(self, name: str, value: Any) -> None:
        notes.write(self.server, name, self.snapshot.generation, len(self.snapshot), value)
