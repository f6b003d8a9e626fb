"""A consistent view of an index: items and embeddings by row, unaffected by writers.

Rows have the order of the vectors in the files, so a scan reads from front to back. In memory are a few
numbers per item; vectors are memory-mapped.
"""

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, Integer

from wordsight.errors import InputError
from wordsight.search.index import database, photo_columns
from wordsight.search.index.database import Filters, Item
from wordsight.search.index.filter_sql import conditions, date_bounds
from wordsight.search.index.gather_sets import fill_vectors, gather_sets
from wordsight.search.index.recent_rows import RecentRows
from wordsight.search.index.row_places import groups_by_segment, vector_places
from wordsight.search.index.schema_check import REMEDY, check_places
from wordsight.search.index.stored_rows import item_of, missing_item, numbers
from wordsight.search.index.vector_files import Extent, Layout, Place, Segment, is_much_of
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch

ITEMS_PER_QUERY = 500  # items selected in one statement
MAX_TRIES = 10  # a compaction may remove files before they are opened
_ITEM = """SELECT i.id, i.path, c.content, i.bytes, i.changed, c.width, c.height, {photo}, i.beside, i.told
FROM items i JOIN contents c ON c.key = i.content WHERE i.id IN ({marks})"""


class Snapshot:
    """Rows 0 to len - 1; safe to use from several threads. ``close`` it, or use it in a with block.

    ``generation``  number of commits; the index has a higher one after a change
    ``ids``         the item of every row
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self.layout = folder, layout
        self._lock = threading.Lock()
        with database.wrap_errors(folder):
            self._open()

    def _open(self) -> None:
        for last in [False] * (MAX_TRIES - 1) + [True]:
            self._facts = database.connect(self.folder)
            try:
                self._facts.execute("BEGIN")  # from the first read on, this connection sees one state
                self.generation = database.generation(self._facts)
                self._segments = self._mapped()
                self.photo_columns = photo_columns.selected(self._facts)
                self._date = photo_columns.expression(self._facts)
                break
            except BaseException as error:
                self._facts.close()
                if last or not isinstance(error, FileNotFoundError):
                    raise
        self._read_rows()

    def _mapped(self) -> dict[int, Segment]:
        rows = numbers(self._facts.execute("SELECT number, vectors, contents, boxes FROM segments"), 4)
        if len(rows) and rows.min() < 0:
            raise InputError("the index is damaged: it has a negative number of vectors", REMEDY)
        extents = [Extent(*row) for row in rows.tolist()]
        is_much = is_much_of(self.layout, extents)
        return {extent.number: Segment(self.folder, self.layout, extent, is_much) for extent in extents}

    def _read_rows(self) -> None:
        query = """SELECT i.id, c.segment, c.place, c.start, c.count
        FROM items i JOIN contents c ON c.key = i.content"""
        table = numbers(self._facts.execute(query), 5)
        extents = {number: one.extent for number, one in self._segments.items()}
        check_places(table[:, 1:], {number: (one.vectors, one.contents) for number, one in extents.items()})
        table = table[np.lexsort((table[:, 0], table[:, 2], table[:, 1]))]
        self.ids = table[:, 0].copy()
        self._segment, self._place = table[:, 1].astype(np.int32), table[:, 2].astype(np.int32)
        self._start, self._count = table[:, 3].copy(), table[:, 4].astype(np.int32)
        self._by_id = np.argsort(self.ids)
        self._recent = RecentRows()
        self._all_boxed = all(s.boxes is not None for s in self._segments.values()) and bool(self._segments)
        self._any_labels = self._all_boxed and any(s.has_labels for s in self._segments.values())

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database connection."""
        self._facts.close()

    @property
    def lengths(self) -> Integer[np.ndarray, " row"]:
        """Number of vectors of every row."""
        return self._count

    def embeddings(self, start: int, stop: int) -> EmbeddingSet:
        """The rows from start to stop - 1, in float32."""
        return self._gather(np.arange(start, min(stop, len(self))))

    def gather(self, rows: Integer[np.ndarray, " n"] | Sequence[int]) -> EmbeddingSet:
        """The named rows, in that order, in float32."""
        return self._gather(np.asarray(rows, dtype=np.int64))

    def _gather(self, rows: np.ndarray) -> EmbeddingSet:
        where = (self._segment[rows], self._start[rows], self._count[rows])
        return gather_sets(self._segments, where, self.layout.dim, self._all_boxed, self._any_labels)

    def fill(self, rows: Integer[np.ndarray, " n"], out: Float[Tensor, "n item dim"]) -> None:
        """Write the vectors of the named rows, which all have as many, in float32."""
        fill_vectors(self._segments, self._segment[rows], self._start[rows], out)

    def item(self, row: int) -> Item:
        return self.items([row])[0]

    def items(self, rows: Integer[np.ndarray, " n"] | Sequence[int]) -> list[Item]:
        """The items of the named rows, in that order."""
        ids = [int(self.ids[row]) for row in rows]
        found: dict[int, Item] = {}
        for start in range(0, len(ids), ITEMS_PER_QUERY):
            part = ids[start : start + ITEMS_PER_QUERY]
            query = _ITEM.format(marks=",".join("?" * len(part)), photo=self.photo_columns)
            found |= {record[0]: item_of(record) for record in self._select(query, part)}
        return [found[id_] for id_ in ids]

    def row_of(self, id: int) -> int:
        """Row of an item. Raises MissingItemError for an unknown one."""
        place = int(np.searchsorted(self.ids, min(id, 2**63 - 1), sorter=self._by_id))
        if place == len(self) or self.ids[self._by_id[place]] != id:
            raise missing_item(id, len(self))
        return int(self._by_id[place])

    def id_of(self, path: str) -> int | None:
        """The id of this file's item; accents may be composed differently than in the index."""
        name = os.fsencode(os.path.abspath(path))
        exact = self._select("SELECT id FROM items WHERE path = ?", (name,))
        if not exact and not name.isascii():
            exact = self._select("SELECT id FROM items WHERE composed(path) = ?", (database.composed(name),))
        return int(exact[0][0]) if exact else None

    def rows_of(self, content: str) -> Integer[np.ndarray, " n"]:
        """Rows of the files whose bytes have this hash."""
        query = "SELECT i.id FROM items i JOIN contents c ON c.key = i.content WHERE c.content = ?"
        return np.array([self.row_of(id_) for (id_,) in self._select(query, (content,))], dtype=np.int64)

    def rows_where(self, filters: Filters | None) -> Integer[np.ndarray, " n"] | None:
        """The rows that pass the filters, ascending; None: all rows."""
        filters = filters or Filters()
        if (filters.camera or filters.near) and "NULL" in self.photo_columns:
            raise photo_columns.not_stored(self.folder)
        rows = None if filters.ids is None else self._rows_of_ids(filters.ids)
        passing, parameters = conditions(filters)
        if passing:
            query = f"SELECT i.id FROM items i WHERE {' AND '.join(passing)}"
            selected = self._recent.get((query, *parameters), lambda: self._rows_by(query, parameters))
            rows = selected if rows is None else np.intersect1d(rows, selected)
        if filters.after is None and filters.before is None:
            return rows
        after, before = date_bounds(filters)
        in_time = (self._dates >= after) & (self._dates < before)
        return np.flatnonzero(in_time) if rows is None else rows[in_time[rows]]

    def _rows_by(self, query: str, parameters: Sequence[Any]) -> Integer[np.ndarray, " n"]:
        """Rows of the items that a statement selects, ascending."""
        with self._reading():
            ids = numbers(self._facts.execute(query, parameters), 1)[:, 0]
        return np.sort(self._by_id[np.searchsorted(self.ids, ids, sorter=self._by_id)])

    def _rows_of_ids(self, ids: Sequence[int]) -> Integer[np.ndarray, " n"]:
        """Rows of the items with these ids, ascending; others are left out."""
        return np.flatnonzero(np.isin(self.ids, np.asarray(list(ids), dtype=np.int64)))

    def items_in(self) -> Counter[bytes]:
        """Number of items directly in each folder of the index."""
        with self._reading():
            return Counter(os.path.dirname(path) for (path,) in self._facts.execute("SELECT path FROM items"))

    def newest(self, filters: Filters, offset: int, count: int) -> tuple[Integer[np.ndarray, " n"], int]:
        """One page of the rows that pass the filters, the newest first, and the number of all."""
        passing = self.rows_where(filters)
        rows = np.arange(len(self)) if passing is None else passing
        order = np.lexsort((self.ids[rows], -self.dates()[rows]))
        return rows[order[offset : offset + count]], len(rows)

    def dates(self) -> Float[np.ndarray, " row"]:
        """Date of every row: taken, or else its file changed; seconds since 1970."""
        return self._dates / 1e9

    @cached_property
    def _dates(self) -> Integer[np.ndarray, " row"]:
        """Date of every row in nanoseconds since 1970."""
        with self._reading():
            table = numbers(self._facts.execute(f"SELECT id, {self._date} FROM items i"), 2)
        found = np.zeros(len(self), np.int64)
        found[self._by_id[np.searchsorted(self.ids, table[:, 0], sorter=self._by_id)]] = table[:, 1]
        return found

    def mean_vectors(self, rows: Integer[np.ndarray, " n"] | Sequence[int]) -> Float16[np.ndarray, "n dim"]:
        """The mean of the unit vectors of each named row, as stored."""
        rows = np.asarray(rows, dtype=np.int64)
        out = np.zeros((len(rows), self.layout.dim), np.float16)
        for number, chosen in groups_by_segment(self._segment[rows]):
            out[chosen] = self._segments[number].pooled(self._place[rows[chosen]])
        return out

    def contents(self) -> Iterator[tuple[str, int, Place]]:
        """Hash, checksum and place of every content, in the order of the files."""
        query = "SELECT content, checksum, segment, place, start, count FROM contents ORDER BY segment, place"
        for content, checksum, *place in self._facts.execute(query):
            yield content, checksum, Place(*place)

    def contents_table(self) -> Integer[np.ndarray, "content 4"]:
        """Segment, place, start and count of every content, in the order of the files."""
        query = "SELECT segment, place, start, count FROM contents ORDER BY segment, place"
        with self._reading():
            table = numbers(self._facts.execute(query), 4)
        check_places(table, {e.number: (e.vectors, e.contents) for e in self.extents()})
        return table

    def content_places(self) -> tuple[Integer[np.ndarray, " row"], Integer[np.ndarray, " row"]]:
        """Segment and place of the content of every row; rows ascend by them."""
        return self._segment, self._place

    def vectors_of(
        self, rows: Integer[np.ndarray, " row"], count: Integer[np.ndarray, " row"]
    ) -> Float[Tensor, "vector dim"]:
        """The first so many vectors of each row, one row after another, in float32."""
        return self.vectors_at(self._segment[rows], self._start[rows], count)

    def vectors_at(
        self,
        segment: Integer[np.ndarray, " content"],
        start: Integer[np.ndarray, " content"],
        count: Integer[np.ndarray, " content"],
    ) -> Float[Tensor, "vector dim"]:
        """Vectors of contents one after another, in float32, by the place where each begins."""
        ends = np.cumsum(count)
        vectors = torch.empty(int(count.sum()), self.layout.dim)
        for number, chosen in groups_by_segment(segment):
            found = self._segments[number].vectors(vector_places(start[chosen], count[chosen]))
            if len(chosen) == len(segment):
                return found
            vectors[vector_places((ends - count)[chosen], count[chosen])] = found
        return vectors

    def extents(self) -> list[Extent]:
        """The committed sizes of the segments, in order."""
        return [self._segments[number].extent for number in sorted(self._segments)]

    def segment(self, number: int) -> Segment:
        return self._segments[number]

    @property
    def connection(self) -> sqlite3.Connection:
        return self._facts

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time; what is damaged in the database is said with the next step."""
        with self._lock, database.wrap_errors(self.folder):
            yield

    def _select(self, query: str, parameters: Sequence[Any]) -> list[Any]:
        with self._reading():
            return self._facts.execute(query, parameters).fetchall()
