"""Rows that passed the last filters, so that a query with the same filters need not find them again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from jaxtyping import Integer

MAX_BYTES = 64 * 2**20  # of all remembered rows together


class RecentRows:
    """The last results, up to so many bytes; safe to use from several threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes, self._bytes = max_bytes, 0
        self._lock, self._found = threading.Lock(), OrderedDict[Hashable, np.ndarray]()

    def get(self, key: Hashable, find: Callable[[], Integer[np.ndarray, " n"]]) -> Integer[np.ndarray, " n"]:
        """The rows of this key, found now or before. They must not be changed."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        rows = find()
        with self._lock:
            if key not in self._found and rows.nbytes <= self.max_bytes:
                self._found[key] = rows
                self._bytes += rows.nbytes
            while self._bytes > self.max_bytes:
                self._bytes -= self._found.popitem(last=False)[1].nbytes
        return rows
