"""A state of an index on Qdrant -> its items and embeddings by row; the row of an item is its id."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wordsight.search.index.database import Filters, Item, shown
from wordsight.search.index.photo_columns import not_stored
from wordsight.search.index.stored_rows import missing_item
from wordsight.search.index.vector_files import Layout
from wordsight.search.qdrant.conditions import conditions, equal
from wordsight.search.qdrant.points import FACTS, composed, item_of, path_key, vectors_of
from wordsight.search.qdrant.store import GENERATION, Store
from wordsight.search.remote.rows import RemoteRows, Vectors
from wordsight.search.remote.words import holds, joined, phrases_in
from wordsight.sets import EmbeddingSet

MAX_FOLDERS = 1_000_000
MAX_CAMERAS = 100_000
IDS_PER_REQUEST = 200  # of items whose vectors are fetched


class _Dates:
    """The date of every row, read when it is needed."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getitem__(self, rows: Any) -> Float[np.ndarray, " n"]:
        wanted = np.asarray(rows, dtype=np.int64).tolist()
        with self.store.client() as client:
            found = client.retrieve(self.store.items, wanted, with_payload=["date"])
        dates = {one.id: one.payload["date"] for one in found if one.payload}
        return np.array([float(dates.get(one, 0)) for one in wanted])


class QdrantRows(RemoteRows):
    """Rows are ids of points; a folder of Qdrant stays open until ``close``."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self.store = store
        self._open = ExitStack()
        self._open.enter_context(store.opened())
        try:
            self.generation = store.note(GENERATION)
            with store.client() as client:
                super().__init__(store.name, layout, client.count(store.items, exact=True).count)
        except BaseException:
            self._open.close()
            raise

    def close(self) -> None:
        super().close()
        self._open.close()

    @cached_property
    def folders(self) -> Counter[str]:
        """Number of items directly in each folder, as it is shown."""
        with self.store.client() as client:
            found = client.facet(self.store.items, "folder", limit=MAX_FOLDERS, exact=True).hits
        return Counter({str(one.value): one.count for one in found})

    def condition(self, filters: Filters | None) -> Any:
        """The condition of these filters. Raises InputError for cameras and places that were never stored."""
        filters = filters or Filters()
        if (filters.camera or filters.near) and not self._has_cameras:
            raise not_stored(self.name)
        found = conditions(
            filters,
            self.folders if filters.folder is not None else (),
            self.cameras if filters.camera is not None else (),
        )
        phrases = [words for words in phrases_in(filters.text or "") if len(words) > 1]
        return found if not phrases else self._with_phrases(phrases, found)

    def _with_phrases(self, phrases: list[list[str]], condition: Any) -> Any:
        """The condition, for those items whose words have this order: a list of their ids."""
        from qdrant_client import models

        ids = []
        for point in self.store.points(condition, payload=["shown", "sidecar", "caption"]):
            said = point.payload or {}
            words = joined((said["shown"], said["sidecar"], said["caption"]))
            if all(holds(words, phrase) for phrase in phrases):
                ids.append(int(point.id))
        return models.Filter(must=[models.HasIdCondition(has_id=ids)])

    @cached_property
    def cameras(self) -> list[str]:
        """The cameras of the index's pictures."""
        with self.store.client() as client:
            found = client.facet(self.store.items, "camera", limit=MAX_CAMERAS, exact=True).hits
        return [str(one.value) for one in found]

    @cached_property
    def _has_cameras(self) -> bool:
        """Whether the EXIF of any picture was read: an older index gains it with its next update."""
        from qdrant_client import models

        unread = models.IsEmptyCondition(is_empty=models.PayloadField(key="camera"))
        with self.store.client() as client:
            read = client.count(self.store.items, models.Filter(must_not=[unread]), exact=True).count
        return bool(read) or not len(self)

    def read_vectors(self, ids: Sequence[int]) -> dict[int, Vectors]:
        found: dict[int, Vectors] = {}
        for start in range(0, len(ids), IDS_PER_REQUEST):
            some = list(ids[start : start + IDS_PER_REQUEST])
            with self.store.client() as client:
                points = client.retrieve(self.store.items, some, with_payload=["boxes"], with_vectors=True)
            found |= {int(one.id): vectors_of(one.vector, (one.payload or {})["boxes"]) for one in points}
        return found

    def read_items(self, ids: Sequence[int]) -> dict[int, Item]:
        with self.store.client() as client:
            points = client.retrieve(self.store.items, list(ids), with_payload=FACTS)
        return {int(one.id): item_of(int(one.id), one.payload or {}) for one in points}

    def embeddings(self, start: int, stop: int) -> EmbeddingSet:
        """The rows from start to stop - 1 in the order of their ids, in float32."""
        return self.gather(self._all[start:stop])

    @cached_property
    def _all(self) -> Int[np.ndarray, " n"]:
        return self.rows_where(None)

    def rows_where(self, filters: Filters | None) -> Int[np.ndarray, " n"]:
        """The rows that pass the filters, ascending."""
        found = [int(one.id) for one in self.store.points(self.condition(filters), payload=False)]
        return np.array(sorted(found), dtype=np.int64)

    def count_where(self, filters: Filters | None) -> int:
        """How many rows pass the filters."""
        with self.store.client() as client:
            return int(client.count(self.store.items, self.condition(filters), exact=True).count)

    def row_of(self, id: int) -> int:
        """Row of an item: its id. Raises MissingItemError for an unknown one."""
        if not 0 <= id < 2**63 or not self.read_items([id]):
            raise missing_item(id, len(self))
        return id

    def id_of(self, path: str) -> int | None:
        """The id of this file's item; accents may be composed differently than in the index."""
        name = os.fsencode(os.path.abspath(path))
        exact = self._first("path", path_key(name))
        return self._first("name", composed(shown(name))) if exact is None and not name.isascii() else exact

    def _first(self, key: str, value: str) -> int | None:
        from qdrant_client import models

        points = self.store.points(models.Filter(must=[equal(key, value)]), payload=False)
        return min((int(one.id) for one in points), default=None)

    def rows_of(self, content: str) -> Int[np.ndarray, " n"]:
        """Rows of the files whose bytes have this hash."""
        from qdrant_client import models

        points = self.store.points(models.Filter(must=[equal("content", content)]), payload=False)
        return np.array(sorted(int(one.id) for one in points), dtype=np.int64)

    def newest(self, filters: Filters | None, offset: int, count: int) -> tuple[Int[np.ndarray, " n"], int]:
        """One page of the rows that pass the filters, the newest first, and the number of all."""
        from qdrant_client import models

        by_date = models.OrderByQuery(order_by=models.OrderBy(key="date", direction=models.Direction.DESC))
        condition = self.condition(filters)
        with self.store.client() as client:
            found = client.query_points(
                self.store.items, query=by_date, query_filter=condition, limit=count, offset=offset,
                with_payload=False,
            ).points  # fmt: skip
        return np.array([int(one.id) for one in found], dtype=np.int64), self.count_where(filters)

    def sampled_rows(self, most: int) -> Int[np.ndarray, " n"]:
        """At most so many rows, evenly spread."""
        rows = self._all
        places = np.linspace(0, len(rows) - 1, min(most, len(rows)))
        return rows[places.round().astype(np.int64)]

    def items_in(self) -> Counter[bytes]:
        """Number of items directly in each folder of the index."""
        return Counter({os.fsencode(one): n for one, n in self.folders.items() if "\ufffd" not in one})

    def dates(self) -> _Dates:
        return _Dates(self.store)
