"""The address of an index on Qdrant -> that index: created, updated, verified, searched by snapshots.

>>> index = QdrantIndex.create(qdrant_url("qdrant://db.example#photos"), "runs/chan/best")
>>> index.update([Path("photos")])
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from wordsight.errors import AlreadyExistsError, InputError
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import manifest
from wordsight.search.index.compact import Compaction
from wordsight.search.index.interface import BatchWriter
from wordsight.search.index.manifest import Meta
from wordsight.search.index.replaced import IndexReplaced
from wordsight.search.qdrant import upkeep
from wordsight.search.qdrant.address import QdrantUrl
from wordsight.search.qdrant.facts import QdrantFacts
from wordsight.search.qdrant.points import INDEXED
from wordsight.search.qdrant.rows import QdrantRows
from wordsight.search.qdrant.store import GENERATION, STATE, Store
from wordsight.search.remote import saved_model
from wordsight.search.remote.server_index import ServerIndex

if TYPE_CHECKING:
    from wordsight.search.qdrant.session import QdrantSession

VERSION = 1
PRECISION = "float16"
CHUNK_BYTES = 4 << 20  # of a file of the model in one point
WALK = "walk"


class QdrantIndex(ServerIndex):
    """An index on a Qdrant server, or in a folder of Qdrant that one process opens at a time."""

    chunk_bytes = CHUNK_BYTES

    @cached_property
    def store(self) -> Store:
        return Store(self.url)

    @classmethod
    def create(
        cls,
        url: QdrantUrl,
        matcher_folder: str | Path,
        kind: str = "images",
        shards: int = 0,
        trust_remote_code: bool = False,
    ) -> "QdrantIndex":
        """Create an empty index with a copy of the model; ``shards`` > 0 spreads it over a cluster."""
        model = Path(matcher_folder)
        meta = manifest.meta_of(model, kind, PRECISION, trust_remote_code)
        store = Store(url)
        with store.opened():
            if store.is_there():
                raise AlreadyExistsError(f"{url} holds an index already", "open it, or choose another #name")
            _create_collections(store, meta.dim, shards)
            store.write_files(saved_model.pieces(model, CHUNK_BYTES))
            store.write_note(GENERATION, 0)
            store.write_note(STATE, {"version": VERSION, "meta": asdict(meta), "made": uuid4().hex})
            return cls.open(url, trust_remote_code)

    @classmethod
    def is_there(cls, url: QdrantUrl) -> bool:
        store = Store(url)
        if url.is_file and not Path(url.location).exists():
            return False
        with store.opened():
            return store.is_there()

    @classmethod
    def open(cls, url: QdrantUrl, trust_remote_code: bool = False, device: str = "auto") -> "QdrantIndex":
        store = Store(url)
        if not cls.is_there(url):
            raise store.absent()
        state = store.note(STATE)
        if state["version"] > VERSION:
            raise InputError(
                f"{url} has collections of version {state['version']}, newer than {VERSION}",
                "update wordsight",
            )
        return cls(url, Meta(**state["meta"]), state["made"], trust_remote_code, device)

    @property
    def facts(self) -> QdrantFacts:
        return QdrantFacts(self.store)

    @property
    def files(self) -> Store:
        return self.store

    @contextmanager
    def updating(self, sources: Sequence[Path], progress: Progress) -> Iterator[BatchWriter]:
        with self.store.opened():
            _index_payload(self.store)  # an older version indexed fewer facts
            with super().updating(sources, progress) as writer:
                yield writer

    def read_walk(self) -> Mapping[str, Any] | None:
        settings: Mapping[str, Any] | None = self.store.note(WALK)
        return settings

    def write_walk(self, settings: Mapping[str, Any]) -> None:
        self.store.write_note(WALK, dict(settings))

    def health(self) -> list[tuple[str, str]]:
        return upkeep.health(self)

    def verify(self, progress: Progress = silent) -> list[str]:
        """Check the integrity of the index; one sentence per problem."""
        with self.store.opened():
            return list(upkeep.problems(self, progress))

    def repair(self) -> int:
        """Delete items with damaged vectors, so that the next update encodes them again; returns how many."""
        with self.store.opened():
            return upkeep.repair(self)

    def compact(self, progress: Progress = silent) -> Compaction:  # noqa: ARG002
        """Qdrant frees the space of deleted points by itself."""
        return Compaction(0, 0)

    def stats(self) -> upkeep.QdrantStats:
        with self.store.opened():
            return upkeep.stats(self)

    def snapshot(self) -> QdrantRows:
        return QdrantRows(self.store, self.meta.layout)

    @property
    def session_type(self) -> "type[QdrantSession]":
        from wordsight.search.qdrant.session import QdrantSession

        return QdrantSession

    def generation(self) -> int:
        """Number that every commit draws anew; 0 before the first. Raises IndexReplaced."""
        notes = self.store.some_notes([STATE, GENERATION])
        if notes.get(STATE, {}).get("made") != self.made:
            raise IndexReplaced(f"{self.name} was made anew since it was opened; open it again")
        return int(notes[GENERATION])

    def delete(self) -> None:
        with self.store.client() as client:
            for collection in (self.store.notes, self.store.items):
                client.delete_collection(collection)


def _create_collections(store: Store, dim: int, shards: int) -> None:
    from qdrant_client import models

    with store.client() as client:
        for collection in (store.notes, store.items):  # of a creation that was interrupted
            if client.collection_exists(collection):
                client.delete_collection(collection)
        client.create_collection(
            store.items,
            models.VectorParams(
                size=dim,
                distance=models.Distance.DOT,  # stored vectors have their length already
                datatype=models.Datatype.FLOAT16,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                on_disk=True,
            ),
            on_disk_payload=True,
            shard_number=shards or None,
        )
        client.create_collection(store.notes, {}, on_disk_payload=True)
        if not store.url.is_file:  # a folder is scanned
            client.create_payload_index(store.notes, "kind", models.PayloadSchemaType.KEYWORD, wait=True)
    _index_payload(store)


def _index_payload(store: Store) -> None:
    """Index those facts on a server that no index of it has yet."""
    from qdrant_client import models

    if store.url.is_file:
        return
    with store.client() as client:
        there = client.get_collection(store.items).payload_schema
        for field, kind in INDEXED.items():
            if field not in there:
                client.create_payload_index(store.items, field, models.PayloadSchemaType(kind), wait=True)
