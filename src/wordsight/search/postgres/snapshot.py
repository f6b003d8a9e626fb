"""A state of an index on PostgreSQL -> its items and embeddings by row; the row of an item is its id."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wordsight.search.index import database
from wordsight.search.index.database import Filters, Item
from wordsight.search.index.near import place_of
from wordsight.search.index.photo_columns import not_stored
from wordsight.search.index.stored_rows import missing_item
from wordsight.search.index.vector_files import Layout
from wordsight.search.postgres.conditions import Condition, conditions
from wordsight.search.postgres.halfvec import places_and_vectors
from wordsight.search.postgres.server import Server, copied
from wordsight.search.remote.rows import RemoteRows, Vectors
from wordsight.sets import EmbeddingSet

_ITEMS = """SELECT i.id, i.path, i.picture, i.bytes, i.changed, p.width, p.height, p.taken,
  p.camera, p.latitude, p.longitude, i.sidecar, i.caption
FROM item i JOIN picture p USING (picture) WHERE i.id = ANY(%s::bigint[])"""
_VECTORS = """COPY (
  SELECT i.id, r.vector, coalesce(r.box, '[-1,-1,-1,-1]'::halfvec)
  FROM item i JOIN region r USING (picture) WHERE i.id = ANY(%s::bigint[]) ORDER BY i.id, r.slot
) TO STDOUT (FORMAT BINARY)"""


class _Dates:
    """The date of every row, read when it is needed."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __getitem__(self, rows: Any) -> Float[np.ndarray, " n"]:
        wanted = np.asarray(rows, dtype=np.int64)
        query = "SELECT id, date FROM item WHERE id = ANY(%s::bigint[])"
        dates = dict(self.server.rows(query, (wanted.tolist(),)))
        return np.array([dates.get(one, 0) / 1e9 for one in wanted.tolist()])


class PostgresSnapshot(RemoteRows):
    """Rows are ids of items; ``len`` is their number when the snapshot was made."""

    def __init__(self, server: Server, layout: Layout) -> None:
        self.server = server
        query = "SELECT generation, (SELECT count(*) FROM item) FROM state"
        (self.generation, count), *_ = server.rows(query)
        super().__init__(server.url.text, layout, int(count))

    def embeddings(self, start: int, stop: int) -> EmbeddingSet:
        """The rows from start to stop - 1 in the order of their ids, in float32."""
        query = "SELECT id FROM item ORDER BY id OFFSET %s LIMIT %s"
        return self.gather([one for (one,) in self.server.rows(query, (start, max(0, stop - start)))])

    def read_vectors(self, ids: Sequence[int]) -> dict[int, Vectors]:
        with self.server.connection() as connection, connection.cursor() as cursor:
            data = copied(cursor, _VECTORS, (list(ids),))
        places, vectors, boxes = places_and_vectors(data, self.layout.dim)
        starts = np.flatnonzero(np.diff(places, prepend=-1)).tolist()
        return {
            int(places[start]): (vectors[start:stop], boxes[start:stop])
            for start, stop in zip(starts, [*starts[1:], len(places)], strict=True)
        }

    def read_items(self, ids: Sequence[int]) -> dict[int, Item]:
        return {record[0]: _item(record) for record in self.server.rows(_ITEMS, (list(ids),))}

    def row_of(self, id: int) -> int:
        """Row of an item: its id. Raises MissingItemError for an unknown one."""
        if id >= 2**63 or not self.server.rows("SELECT 1 FROM item WHERE id = %s::bigint", (id,)):
            raise missing_item(id, len(self))
        return id

    def id_of(self, path: str) -> int | None:
        """The id of this file's item; accents may be composed differently than in the index."""
        name = os.fsencode(os.path.abspath(path))
        found = self.server.rows("SELECT id FROM item WHERE path = %s ORDER BY id LIMIT 1", (name,))
        if not found and not name.isascii():
            query = "SELECT id FROM item WHERE normalize(shown, NFC) = %s ORDER BY id LIMIT 1"
            found = self.server.rows(query, (database.shown(database.composed(name)),))
        return int(found[0][0]) if found else None

    def rows_of(self, content: str) -> Int[np.ndarray, " n"]:
        """Rows of the files whose bytes have this hash."""
        found = self.server.rows("SELECT id FROM item WHERE picture = %s::uuid", (content,))
        return np.array([one for (one,) in found], dtype=np.int64)

    def condition(self, filters: Filters | None) -> Condition:
        """The condition of these filters. Raises InputError for cameras and places that were never stored."""
        if filters is not None and (filters.camera or filters.near) and not self._has_cameras:
            raise not_stored(self.name)
        return conditions(filters)

    @cached_property
    def _has_cameras(self) -> bool:
        """Whether the EXIF of any picture was read: an older index gains it with its next update."""
        query = "SELECT NOT EXISTS (SELECT 1 FROM picture) OR EXISTS (SELECT 1 FROM picture WHERE {})"
        return bool(self.server.value(query.format("camera IS NOT NULL")))

    def rows_where(self, filters: Filters | None) -> Int[np.ndarray, " n"]:
        """The rows that pass the filters, ascending."""
        condition, parameters = self.condition(filters)
        found = self.server.rows(f"SELECT i.id FROM item i WHERE {condition} ORDER BY i.id", parameters)
        return np.array([one for (one,) in found], dtype=np.int64)

    def count_where(self, filters: Filters | None, most: int) -> int:
        """How many rows pass the filters, counted up to ``most``."""
        condition, parameters = self.condition(filters)
        query = f"SELECT count(*) FROM (SELECT 1 FROM item i WHERE {condition} LIMIT %(most)s) AS passing"
        return int(self.server.value(query, parameters | {"most": most}))

    def newest(self, filters: Filters | None, offset: int, count: int) -> tuple[Int[np.ndarray, " n"], int]:
        """One page of the rows that pass the filters, the newest first, and the number of all."""
        condition, parameters = self.condition(filters)
        total = self.server.value(f"SELECT count(*) FROM item i WHERE {condition}", parameters)
        newest = f"SELECT i.id FROM item i WHERE {condition} ORDER BY i.date DESC, i.id"
        page = f"{newest} LIMIT %(count)s OFFSET %(offset)s"
        found = self.server.rows(page, parameters | {"count": count, "offset": offset})
        return np.array([one for (one,) in found], dtype=np.int64), int(total)

    def sampled_rows(self, most: int) -> Int[np.ndarray, " n"]:
        """At most so many rows, spread over all by their hash, and the same each time."""
        found = self.server.rows("SELECT id FROM item ORDER BY picture, id LIMIT %s", (most,))
        return np.array(sorted(one for (one,) in found), dtype=np.int64)

    def items_in(self) -> Counter[bytes]:
        """Number of items directly in each folder of the index."""
        query = "SELECT regexp_replace(shown, '/[^/]*$', '') AS folder, count(*) FROM item GROUP BY 1"
        found = {folder or "/": count for folder, count in self.server.rows(query)}
        return Counter({os.fsencode(one): count for one, count in found.items() if "\ufffd" not in one})

    def dates(self) -> _Dates:
        return _Dates(self.server)


def _item(record: Sequence[Any]) -> Item:
    id_, path, picture, bytes_, changed, width, height, taken, camera, north, east, *texts = record
    text = "\n".join(text for text in texts if text)
    date = None if taken is None else taken / 1e9
    name, place = os.fsdecode(path), place_of(north, east)
    return Item(id_, name, picture.hex, bytes_, changed / 1e9, width, height, text, date, camera or "", place)
