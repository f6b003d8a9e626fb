"""A file of equal rows -> a memory map of it for reading rows here and there.

Where a program touches a mapped page, the system also reads what is around it, up to megabytes. Of a file
larger than memory that throws out what the next row needs. Here only the pages of the wanted rows are read,
all at once. Windows maps files without such advice.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np


class RowMap:
    """Rows of a file, as they are there now; the array is writable in memory only, which torch requires."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        rows, width = shape
        self._row_bytes = np.dtype(dtype).itemsize * width
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), rows * self._row_bytes, access=mmap.ACCESS_COPY)
        self._rows = np.frombuffer(self._map, dtype).reshape(shape)
        _advise(self._map, "MADV_RANDOM")

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        first = rows * self._row_bytes // mmap.PAGESIZE
        last = (rows * self._row_bytes + self._row_bytes - 1) // mmap.PAGESIZE
        fetch(self._map, first, last + 1)
        found: np.ndarray = self._rows[rows]
        return found


def fetch(mapped: mmap.mmap, first: np.ndarray, stop: np.ndarray) -> None:
    """Begin to read these ranges of pages, without waiting for them."""
    if not len(first) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    order = np.argsort(first, kind="stable")
    first, until = first[order], np.maximum.accumulate(stop[order])
    begins = np.flatnonzero(np.concatenate([[True], first[1:] > until[:-1]]))
    ends = until[np.concatenate([begins[1:] - 1, [len(first) - 1]])]
    starts, sizes = first[begins] * mmap.PAGESIZE, (ends - first[begins]) * mmap.PAGESIZE
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        _advise(mapped, "MADV_WILLNEED", start, min(size, len(mapped) - start))


def _advise(mapped: Any, advice: str, *where: int) -> None:
    """Tell the system how pages will be read, where it can be told."""
    if hasattr(mmap, advice):
        mapped.madvise(getattr(mmap, advice), *where)
