"""An index -> a session on one of its states: snapshot, calibration, recall of the shortlist.

The background takes seconds to measure, so it is stored in the index's folder (``background.json``) with the
number of its commit. If that folder is read-only, each process measures anew.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property, wraps
from typing import Any, TypeVar

from wordsight import checkpoint, registry
from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.matcher import Matcher
from wordsight.search.engine.engine import Engine
from wordsight.search.engine.int8_screen import Int8Screen
from wordsight.search.engine.row_cache import RowCache
from wordsight.search.engine.shortlist import SIZES, Recall, measure_recall
from wordsight.search.index.folder_tree import Folders, folders_of
from wordsight.search.index.index import IndexReplaced
from wordsight.search.index.interface import SearchableIndex, SearchableRows
from wordsight.search.relevance import threshold
from wordsight.search.relevance.null_scores import (
    Background,
    background_texts,
    measure_background,
    spread_rows,
)
from wordsight.search.relevance.stored_texts import StoredTexts
from wordsight.search.relevance.threshold import Calibration
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.similarity.kernels.packed import masked_unit
from wordsight.similarity.word_alignment import found_by_word
from wordsight.tensors import torch

BACKGROUND_FILE = "background.json"
RECALL_FIELDS: dict[str, plain_json.Kind] = {"size": int, "recall": float, "queries": int}
SAMPLE_PICTURES = 400  # pictures that a query is scored on to calibrate it
FORMAT = 2
MAX_REPLACED = 5  # times that an index may be replaced during one search
Answer = TypeVar("Answer")
_log = logging.getLogger("wordsight.search")


class SearchSession:
    """One state of an index, and all that is measured on it."""

    def __init__(
        self, index: SearchableIndex, snapshot: SearchableRows, memory_mb: float, shares: tuple[float, float]
    ) -> None:
        self.index, self.memory_mb, self.shares = index, memory_mb, shares
        self.snapshot: Any = snapshot  # of a folder, a Snapshot; of a server, its rows
        self._lock = threading.RLock()
        self._engines: dict[str | type[Engine], Engine] = {}

    def engine(self, engine: str | type[Engine]) -> Engine:
        """The engine of this name or class, built once."""
        with self._lock:
            if engine not in self._engines:
                if isinstance(engine, type):
                    self._engines[engine] = engine(self)
                else:
                    self._engines[engine] = registry.build("engine", {"name": engine}, session=self)
                    self._engines[engine].name = engine
            return self._engines[engine]

    def close(self) -> None:
        """Close the snapshot."""
        self.snapshot.close()

    def __enter__(self) -> "SearchSession":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def matcher(self) -> Matcher:
        """The matcher that made the vectors of this snapshot."""
        return self.index.matcher

    def prepare(self) -> None:
        """Measure what decides on a match, before the first query; a model with probabilities knows it."""
        if self.matcher.presence is None:
            self.calibration.threshold(1)

    def prepare_shortlist(self) -> Recall | None:
        """Measure the recall of the shortlist if the index is large enough to use one."""
        return self.recall if len(self.snapshot) > SIZES[-1] else None

    @property
    def calibration(self) -> Calibration:
        """Thresholds for a model without probabilities."""
        with self._lock:
            return self._calibration

    @cached_property
    def _calibration(self) -> Calibration:
        return Calibration(self._background(), self.sample, len(self.snapshot), *self.shares)

    @cached_property
    def screen(self) -> Int8Screen:
        unit, device = self.index.meta.unit, self.matcher.device
        return Int8Screen(self.snapshot, self.matcher.similarity, unit, self.memory_mb, device)

    @cached_property
    def row_cache(self) -> RowCache:
        """Rows ready for scoring, in the memory that the screen leaves."""
        taken = self.screen.bytes if self.screen.is_useful else 0
        unit, device = self.index.meta.unit, self.matcher.device
        return RowCache(self.snapshot, unit, self.memory_mb, taken, device)

    @cached_property
    def sample(self) -> EmbeddingSet:
        """Sample of the pictures; at most an eighth of the memory."""
        if not len(self.snapshot):
            dim = self.snapshot.layout.dim
            return EmbeddingSet(torch.zeros(0, 1, dim), torch.zeros(0, 1, dtype=torch.bool))
        bytes_of_one = 4 * self.snapshot.layout.dim * float(self.snapshot.lengths.max())
        most = int(self.memory_mb * 2**20 / 8 / bytes_of_one)
        rows = spread_rows(len(self.snapshot), min(SAMPLE_PICTURES, max(20, most)))
        chosen = self.snapshot.gather(rows).to(self.matcher.device)
        return UnitSet(masked_unit(chosen), chosen.mask) if self.index.meta.unit else chosen

    @cached_property
    def stored_texts(self) -> StoredTexts | None:
        """The words of an index of texts, for a model with probabilities."""
        presence = self.matcher.presence
        return None if presence is None else StoredTexts(self.matcher, presence, self.snapshot)

    @cached_property
    def folders(self) -> Folders:
        return folders_of(self.snapshot.items_in())

    @property
    def recall(self) -> Recall:
        """Recall of the shortlist."""
        with self._lock:
            return self._recall

    @cached_property
    def _recall(self) -> Recall:
        stored = self._stored("shortlist", _recall_of)
        if stored is not None:
            return stored
        texts = background_texts(self.matcher, self.snapshot)
        measured = measure_recall(self.matcher, self.snapshot, texts, self.memory_mb)
        self._store("shortlist", asdict(measured))
        return measured

    def text_level(self, image: EmbeddingSet) -> float:
        """Level from which a word counts as found in this picture; for an index of texts.

        Most texts describe other pictures, so their words give the background.
        """
        texts = self.sample
        with torch.no_grad():
            aligned = self.matcher.similarity.align(image[[0] * len(texts)], texts)
        found = found_by_word(aligned)[texts.mask].float().cpu()
        return threshold.level_among(found, self.shares[1])

    def _background(self) -> Background:
        stored = self._stored("background", threshold.from_json)
        if stored is not None:
            return stored
        if self.index.kind != "images":
            return Background(0, (), 0.0, 0.0)
        measured = measure_background(self.matcher, self.snapshot, self.memory_mb)
        self._store("background", threshold.to_json(measured))
        return measured

    def _stored(self, name: str, parse: Callable[[Any], Answer]) -> Answer | None:
        """A stored measurement; None where there is none, or where it is damaged and must be repeated."""
        stored = self._read_stored().get(name)
        try:
            return None if stored is None else parse(stored)
        except InputError as error:
            self._log_damage(error)
            return None

    def _log_damage(self, error: InputError) -> None:
        path = self.index.folder / BACKGROUND_FILE
        _log.warning("%s is damaged and is measured again: %s", path, error.message)

    def _read_stored(self) -> dict[str, Any]:
        """Stored measurements of this state, by any process."""
        try:
            table = plain_json.read(self.index.folder / BACKGROUND_FILE)
            self.index.check_there()
        except (OSError, IndexReplaced):
            return {}
        except InputError as error:
            self._log_damage(error)
            return {}
        expected = {"format": FORMAT, "generation": self.snapshot.generation}
        same = isinstance(table, dict) and all(table.get(key) == value for key, value in expected.items())
        return dict(table) if same and table.get("index", self._identity) == self._identity else {}

    def _store(self, name: str, value: Any) -> None:
        state = {"format": FORMAT, "generation": self.snapshot.generation, "index": self._identity}
        with suppress(OSError, IndexReplaced):  # measured again next time
            self.index.check_there()
            checkpoint.write_json(
                self.index.folder / BACKGROUND_FILE, self._read_stored() | state | {name: value}
            )

    @cached_property
    def _identity(self) -> list[str | int]:
        """Tells this index from one with as many commits that takes its place."""
        count = len(self.snapshot)
        ends = self.snapshot.items([0, count - 1]) if count else []
        return [self.index.meta.model, count, *(item.content for item in ends)]


def _recall_of(table: Any) -> Recall:
    return Recall(**plain_json.table_of(table, RECALL_FIELDS, "shortlist"))


def from_one_index(search: Callable[..., Answer]) -> Callable[..., Answer]:
    """Repeat a search of a Searcher that began on an index which is replaced meanwhile.

    A part of the index's model that is read during the search then belongs to another index.
    """

    @wraps(search)
    def repeated(*arguments: Any, **options: Any) -> Answer:
        for _ in range(MAX_REPLACED - 1):
            with suppress(IndexReplaced):
                return search(*arguments, **options)
        return search(*arguments, **options)

    return repeated


class SessionCache:
    """Session on the newest state of an index, also of one that is made anew in its folder."""

    def __init__(
        self,
        index: SearchableIndex,
        memory_mb: float,
        false_positive_rate: float,
        word_false_positive_rate: float,
    ) -> None:
        self.index, self.memory_mb = index, memory_mb
        self.shares = (false_positive_rate, word_false_positive_rate)
        self._lock = threading.Lock()
        self._session: SearchSession | None = None

    def session(self) -> SearchSession:
        """The newest session.

        Raises FileNotFoundError if the index is gone, InputError if one of another kind took its place.
        """
        with self._lock:
            return self._current()

    def _current(self) -> SearchSession:
        """The newest session, of another index if that took its place; the caller holds the lock."""
        try:
            return self._newest()
        except IndexReplaced:
            self._reopen()
            return self._newest()

    def _newest(self) -> SearchSession:
        if self._session is None or not self._is_newest(self._session):
            self._session = self._open()
        return self._session

    def _open(self) -> SearchSession:
        """A session on the index as it is now; the last search that uses it closes its snapshot."""
        session = new_session(self.index, self.memory_mb, self.shares)
        weakref.finalize(session, session.snapshot.close)
        return session

    def _is_newest(self, session: SearchSession) -> bool:
        return session.index is self.index and session.snapshot.generation == self.index.generation()

    def _reopen(self) -> None:
        fresh = self.index.reopen()
        if fresh.kind != self.index.kind:
            raise InputError(
                f"{fresh.name} now holds an index of {fresh.kind}; it held {self.index.kind} when it was "
                "opened. Open it again"
            )
        self.index = fresh


def new_session(index: SearchableIndex, memory_mb: float, shares: tuple[float, float]) -> SearchSession:
    """A session of the kind that the index needs."""
    kind: type[SearchSession] = getattr(index, "session_type", SearchSession)
    return kind(index, index.snapshot(), memory_mb, shares)
