"""A state of an index on a server -> items and embeddings by row; the row of an item is its id.

Nothing is held in memory but the vectors read last. A server answers with what is committed at that time:
where an item that a search has found was deleted meanwhile, IndexReplaced is raised and the search begins
again.
"""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Integer

from wordsight.search.index.database import Item
from wordsight.search.index.replaced import IndexReplaced
from wordsight.search.index.vector_files import Layout
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

CACHE_BYTES = 64 << 20  # of vectors that were read last
Vectors = tuple[np.ndarray, np.ndarray]  # of an item: [slot dim], and its boxes [slot 4], -1 where unknown


class Identity:
    """The id of every row: the row itself."""

    def __getitem__(self, rows: Any) -> Int[np.ndarray, " n"]:
        return np.asarray(rows, dtype=np.int64)


class RemoteRows(ABC):
    """Rows are ids of items; ``len`` is their number when the snapshot was made."""

    generation: int

    def __init__(self, name: str, layout: Layout, count: int) -> None:
        self.name, self.layout, self._count = name, layout, count
        self.ids = Identity()
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Vectors] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> "RemoteRows":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the vectors that were read."""
        with self._lock:
            self._cache.clear()
            self._cached_bytes = 0

    @abstractmethod
    def read_vectors(self, ids: Sequence[int]) -> dict[int, Vectors]:
        """The vectors of those items that are there."""

    @abstractmethod
    def read_items(self, ids: Sequence[int]) -> dict[int, Item]:
        """Those items that are there."""

    def gather(self, rows: Integer[np.ndarray, " n"] | Sequence[int]) -> EmbeddingSet:
        """The named rows, in that order, in float32."""
        ids = [int(row) for row in rows]
        found = self._cached(ids)
        widest = max((len(found[one][0]) for one in ids), default=1)
        vectors = np.zeros((len(ids), widest, self.layout.dim), np.float32)
        boxes, mask = np.zeros((len(ids), widest, 4), np.float32), np.zeros((len(ids), widest), bool)
        for n, one in enumerate(ids):
            its, its_boxes = found[one]
            vectors[n, : len(its)], boxes[n, : len(its)], mask[n, : len(its)] = its, its_boxes, True
        known = not len(ids) or bool((boxes[mask] >= 0).all())
        placed = torch.from_numpy(boxes) if known and len(ids) else None
        return EmbeddingSet(torch.from_numpy(vectors), torch.from_numpy(mask), placed)

    def _cached(self, ids: Sequence[int]) -> dict[int, Vectors]:
        with self._lock:
            found = {one: self._cache[one] for one in ids if one in self._cache}
        missing = sorted(set(ids) - set(found))
        if missing:
            found |= self.read_vectors(missing)
            self._remember(found)
        self._check_all(ids, found)
        return found

    def _remember(self, found: dict[int, Vectors]) -> None:
        with self._lock:
            for one, sets in found.items():
                if one not in self._cache:
                    self._cache[one] = sets
                    self._cached_bytes += sets[0].nbytes
            while self._cached_bytes > CACHE_BYTES and self._cache:
                _, sets = self._cache.popitem(last=False)
                self._cached_bytes -= sets[0].nbytes

    def item(self, row: int) -> Item:
        return self.items([row])[0]

    def items(self, rows: Integer[np.ndarray, " n"] | Sequence[int]) -> list[Item]:
        """The items of the named rows, in that order."""
        ids = [int(row) for row in rows]
        found = self.read_items(ids)
        self._check_all(ids, found)
        return [found[one] for one in ids]

    def _check_all(self, ids: Sequence[int], found: dict[int, Any]) -> None:
        if any(one not in found for one in ids):
            raise IndexReplaced(f"items of {self.name} were deleted during the search; search again")


class SampledRows:
    """Some rows of a snapshot, numbered from 0: for what is measured on a sample of an index."""

    def __init__(self, snapshot: RemoteRows, rows: Int[np.ndarray, " n"]) -> None:
        self.snapshot, self.rows, self.ids = snapshot, rows, rows
        self.layout, self.generation = snapshot.layout, snapshot.generation

    def __len__(self) -> int:
        return len(self.rows)

    def embeddings(self, start: int, stop: int) -> EmbeddingSet:
        return self.snapshot.gather(self.rows[start:stop])

    def gather(self, rows: np.ndarray) -> EmbeddingSet:
        return self.snapshot.gather(self.rows[np.asarray(rows, dtype=np.int64)])

    def items(self, rows: np.ndarray) -> list[Item]:
        return self.snapshot.items(self.rows[np.asarray(rows, dtype=np.int64)])
