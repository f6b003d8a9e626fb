"""Region index of a folder -> inverted lists of its regions, memory-mapped, and faiss's search of them."""

import logging
import mmap
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from wordsight.errors import InputError, MissingPackageError
from wordsight.files.contained import inside
from wordsight.files.row_map import fetch
from wordsight.search.index.region_meta import (
    META,
    REMEDY,
    RegionMeta,
    lists_file,
    means_file,
    read_meta,
    tables_file,
)
from wordsight.tensors import Tensor, torch

ID_BYTES = 8  # of a content in a list
MUCH_LIST_BYTES = 1 << 30  # lists of more are not counted on to stay in memory
_KINDS = {
    "centroids": "<f4",
    "groups": "<f4",
    "starts": "<i8",
    "trained": "<f4",
    "sizes": "<i8",
    "means": "<f4",
}


@dataclass(frozen=True, eq=False)
class Tables:
    """Centroids and quantizer. Lists of one group are adjacent; all centroids have length 1."""

    centroids: Float[np.ndarray, "list dim"]
    groups: Float[np.ndarray, "group dim"]
    starts: Int[np.ndarray, " bound"]  # of each group's lists, and their end
    trained: Float[np.ndarray, " number"]  # faiss's table of the 4-bit quantizer: minima and widths
    sizes: Int[np.ndarray, " list"]  # entries of each list
    means: Float[np.ndarray, " number"]  # as ``trained``, for the means of contents

    @classmethod
    def read(cls, path: Path) -> "Tables":
        """Raises InputError for tables whose shapes contradict each other."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tables = cls(**load_file(path))
        except (SafetensorError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error})", REMEDY) from None
        lists, dim = tables.centroids.shape if tables.centroids.ndim == 2 else (0, 0)
        starts = tables.starts
        floats = (tables.centroids, tables.groups, tables.trained, tables.means)
        kinds = {name: table.dtype.str for name, table in vars(tables).items()}
        fits = (
            kinds == _KINDS
            and lists > 0
            and starts.ndim == 1
            and tables.trained.shape == tables.means.shape == (2 * dim,)
            and tables.sizes.shape == (lists,)
            and tables.groups.shape == (len(starts) - 1, dim)
            and starts[0] == 0
            and starts[-1] == lists
            and bool((np.diff(starts) >= 0).all())
            and tables.sizes.min() >= 0
            and all(np.isfinite(table).all() for table in floats)
        )
        if not fits:
            raise InputError(f"{path} is damaged: its tables contradict each other", REMEDY)
        return tables

    @property
    def code_bytes(self) -> int:
        return (int(self.centroids.shape[1]) + 1) // 2

    @cached_property
    def offsets(self) -> Int[np.ndarray, " bound"]:
        """First byte of each list, and the end of the last."""
        return np.concatenate([[0], np.cumsum(self.sizes * (self.code_bytes + ID_BYTES))])


class RegionLists:
    """Opened region index: memory-mapped lists. ``open`` returns None where there is none."""

    def __init__(self, folder: Path, meta: RegionMeta) -> None:
        self.folder, self.meta = folder, meta
        self.tables = Tables.read(inside(folder, tables_file(folder, meta.number).name))
        self.path = inside(folder, lists_file(folder, meta.number).name)
        size, expected = self.path.stat().st_size, int(self.tables.offsets[-1])
        if size != expected or self.tables.sizes.sum() != meta.vectors:
            raise InputError(f"{self.path} has {size:,} bytes; expected {expected:,}", REMEDY)
        if self.tables.centroids.shape[1] != meta.dim:
            raise InputError(f"{self.path.name} has vectors of another size than {META} says", REMEDY)
        self._means_path = inside(folder, means_file(folder, meta.number).name)
        size, expected = self._means_path.stat().st_size, self._mean_codes_shape[0] * self.tables.code_bytes
        if size != expected:
            raise InputError(f"{self._means_path} has {size:,} bytes; expected {expected:,}", REMEDY)

    @classmethod
    def open(cls, folder: Path) -> "RegionLists | None":
        meta = read_meta(folder)
        return None if meta is None else cls(folder, meta)

    @cached_property
    def bytes(self) -> np.ndarray:
        if not self.meta.vectors:
            return np.zeros(0, np.uint8)
        return np.memmap(self.path, np.uint8, "r")

    def prepare(self) -> None:
        """Open what a search needs, before several threads do. Raises MissingPackageError."""
        _ = self.searcher, self._mean_quantizer, self.mean_codes

    def fetch(self, lists: Int[np.ndarray, "word list"]) -> None:
        """Begin to read these lists from the disk, if all lists are not counted on to stay in memory."""
        if self.tables.offsets[-1] > MUCH_LIST_BYTES:
            some = np.unique(lists)
            first, stop = self.tables.offsets[some], self.tables.offsets[some + 1]
            fetch(self._pages, first // mmap.PAGESIZE, -(-stop // mmap.PAGESIZE))

    @cached_property
    def _pages(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def entries(self, list_: int) -> tuple[UInt8[np.ndarray, "entry byte"], Int[np.ndarray, " entry"]]:
        """Codes and contents of one list."""
        count, start = int(self.tables.sizes[list_]), int(self.tables.offsets[list_])
        middle = start + count * self.tables.code_bytes
        codes = self.bytes[start:middle].reshape(count, self.tables.code_bytes)
        return codes, self.bytes[middle : middle + count * ID_BYTES].view("<i8")

    @property
    def _mean_codes_shape(self) -> tuple[int, int]:
        return 0 if self.meta.first_only else self.meta.numbers, self.tables.code_bytes

    @cached_property
    def mean_codes(self) -> UInt8[np.ndarray, "number byte"]:
        """The codes of the means by number of the content, which every search reads all over."""
        if not self._mean_codes_shape[0]:
            return np.zeros(self._mean_codes_shape, np.uint8)
        return np.memmap(self._means_path, np.uint8, "r", shape=self._mean_codes_shape)

    def means(self, numbers: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n dim"]:
        """Mean vectors of these contents, but for the loss of four bits a number."""
        decoded: np.ndarray = self._mean_quantizer.decode(np.ascontiguousarray(self.mean_codes[numbers]))
        return decoded

    @cached_property
    def _mean_quantizer(self) -> Any:
        return mean_quantizer(self.tables)

    @cached_property
    def centroids(self) -> Float[Tensor, "list dim"]:
        return torch.from_numpy(self.tables.centroids)

    @cached_property
    def searcher(self) -> Any:
        """faiss's inverted-file index over the mapped lists. Raises MissingPackageError."""
        faiss = import_faiss()
        searcher = new_faiss_index(self.tables)
        lists = faiss.OnDiskInvertedLists()
        lists.nlist, lists.code_size = len(self.tables.sizes), self.tables.code_bytes
        lists.lists.resize(lists.nlist)
        sizes = np.ascontiguousarray(self.tables.sizes, dtype=np.uint64)
        lists.set_all_lists_sizes(faiss.swig_ptr(sizes))
        lists.filename, lists.read_only = str(self.path), True
        lists.totsize, lists.prefetch_nthread = int(self.tables.offsets[-1]), 0
        lists.do_mmap()
        lists.this.disown()  # the index frees them
        searcher.replace_invlists(lists, True)
        searcher.ntotal = self.meta.vectors
        return searcher


def import_faiss() -> Any:
    """The module faiss. Raises MissingPackageError."""
    if sys.modules.get("faiss") is not None:  # a change of a log level takes a millisecond
        return sys.modules["faiss"]
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports each build that it does not find
    try:
        import faiss
    except ImportError:
        raise MissingPackageError(
            "an index of regions needs the package faiss", "pip install 'wordsight[faiss]'"
        ) from None
    return faiss


def mean_quantizer(tables: Tables) -> Any:
    """The quantizer of means."""
    faiss = import_faiss()
    made = faiss.ScalarQuantizer(tables.centroids.shape[1], faiss.ScalarQuantizer.QT_4bit)
    faiss.copy_array_to_vector(np.ascontiguousarray(tables.means), made.trained)
    return made


def new_faiss_index(tables: Tables) -> Any:
    """Empty inverted-file index with the tables' quantizer; its lists are probed by number."""
    faiss = import_faiss()
    dim = tables.centroids.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim),
        dim,
        len(tables.centroids),
        faiss.ScalarQuantizer.QT_4bit,
        faiss.METRIC_INNER_PRODUCT,
        True,
    )
    faiss.copy_array_to_vector(np.ascontiguousarray(tables.trained), index.sq.trained)
    index.is_trained = True
    return index
