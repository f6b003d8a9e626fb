"""Facts of an index on Qdrant, read and written by an update."""

from collections.abc import Iterator, Sequence
from typing import Any

from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index import database
from wordsight.search.index.vector_files import Packed
from wordsight.search.qdrant.batch import write_batch
from wordsight.search.qdrant.points import FACTS, record_of
from wordsight.search.qdrant.store import Store
from wordsight.search.remote.batch_rows import ItemRow, PictureRow


class QdrantFacts:
    """Facts of the items on the server."""

    def __init__(self, store: Store) -> None:
        self.store, self.name = store, store.name

    def below(self, sources: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        """Facts of the items at and below these paths."""
        bounds = [(one, *database.below(one)) for one in sources]
        for point in self.store.points(None, payload=FACTS):
            record = record_of(int(point.id), point.payload or {})
            path = record[1]
            if any(path == source or first <= path < last for source, first, last in bounds):
                yield record

    def write(
        self,
        pictures: Sequence[PictureRow],
        packed: Sequence[Packed],
        items: Sequence[ItemRow],
        deleted: Sequence[int],
        facts: Sequence[tuple[str, PhotoFacts]] = (),
    ) -> list[int]:
        return write_batch(self.store, pictures, packed, items, deleted, facts)
