"""A snapshot -> its rows ready for scoring, block by block; blocks that fit into memory are prepared once.

Reading float16, converting to float32 and normalizing takes many times as long as scoring. So the first scan
caches its blocks up to half the memory budget; the other blocks are read again by each scan. On a GPU the
budget is that of its free memory: what fits stays there, the rest is sent block by block.
"""

import logging
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from wordsight.runtime.device import PROCESSOR, cache_mb, on_gpu
from wordsight.runtime.halving import free_cached, is_out_of_memory
from wordsight.search.engine.brute_force import BLOCK_COPIES, Places
from wordsight.search.index.snapshot import Snapshot
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.similarity.kernels.packed import scale_to_unit
from wordsight.tensors import torch

CACHED_BLOCK_NUMBERS = 1 << 22  # numbers of a cached block
PREPARED_NUMBERS = 1 << 18  # numbers that stay in a processor's cache while they are read and scaled
GPU_BLOCK_NUMBERS = 1 << 26  # likewise on a GPU, which small blocks leave idle
_log = logging.getLogger("wordsight.device")


class RowCache:
    """Rows of a snapshot; safe to use from several threads.

    ``unit``   vectors may be normalized, because the model's similarity does not depend on their lengths
    ``taken``  bytes of half the budget that are in use elsewhere
    ``device`` where the rows are scored
    """

    def __init__(
        self,
        snapshot: Snapshot,
        unit: bool,
        memory_mb: float,
        taken: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.snapshot, self.unit = snapshot, unit
        self.device = torch.device(PROCESSOR) if device is None else device
        self.ids = snapshot.ids
        self.numbers, self.taken = cache_mb(memory_mb, self.device) * 2**20 / 4, taken / 4
        self._plan = list(self._plan_blocks())
        self._cached: dict[int, EmbeddingSet] = {}
        self._is_full = False  # whether the device has no room for what was planned

    def __len__(self) -> int:
        return len(self.snapshot)

    def embeddings(self, start: int, stop: int) -> EmbeddingSet:
        return self.snapshot.embeddings(start, stop)

    def gather(self, rows: np.ndarray) -> EmbeddingSet:
        return self.snapshot.gather(rows)

    def ready(self, extra_numbers: int = 0) -> Iterator[tuple[Places, EmbeddingSet]]:
        """All rows as (positions, sets); sets of equal length come together, without padding.

        ``extra_numbers``: numbers that the query needs for each row in addition to its set.
        """
        for number, (places, is_cached) in enumerate(self._plan):
            block = self._cached.get(number)
            if block is None:
                block = self._moved(self._read_block(places))
                if is_cached and not self._is_full:
                    self._cached[number] = block
            rows_per_block = self._rows_per_block(block.vectors[0].numel(), extra_numbers)
            for start in range(0, len(block), rows_per_block):
                some = slice(start, min(len(block), start + rows_per_block))
                yield _part(places, some), block if len(block) <= rows_per_block else block[some]

    def _moved(self, block: EmbeddingSet) -> EmbeddingSet:
        """The block on the device; where memory ends, in place of all that is cached there."""
        try:
            return block.to(self.device)
        except RuntimeError as error:
            if not self._cached or not is_out_of_memory(error):
                raise
        _log.warning(
            "out of memory: the GPU had %d of the %d blocks of the index; all are sent for each query now, "
            "which is slower",
            len(self._cached), len(self._plan),
        )  # fmt: skip
        self._is_full = True
        self._cached.clear()
        free_cached()
        return block.to(self.device)

    def _read_block(self, places: Places) -> EmbeddingSet:
        rows = np.arange(places.start, places.stop) if isinstance(places, slice) else places
        length, dim = int(self.snapshot.lengths[rows[0]]), self.snapshot.layout.dim
        vectors, at_once = torch.empty(len(rows), length, dim), max(1, PREPARED_NUMBERS // (length * dim))
        for start in range(0, len(rows), at_once):
            some = vectors[start : start + at_once]
            self.snapshot.fill(rows[start : start + at_once], some)
            if self.unit:
                scale_to_unit(some)
        mask = torch.ones(len(rows), length, dtype=torch.bool)
        return UnitSet(vectors, mask) if self.unit else EmbeddingSet(vectors, mask)

    def _rows_per_block(self, numbers: int, extra_numbers: int = 0) -> int:
        return max(1, int(self.numbers / 4 / (BLOCK_COPIES * numbers + extra_numbers)))

    def _plan_blocks(self) -> Iterator[tuple[Places, bool]]:
        """The rows of each block, and whether the block is cached."""
        lengths, dim = self.snapshot.lengths, self.snapshot.layout.dim
        order, cached_numbers = np.argsort(lengths, kind="stable"), 0
        most_numbers = GPU_BLOCK_NUMBERS if on_gpu(self.device) else CACHED_BLOCK_NUMBERS
        for length in np.unique(lengths).tolist():
            rows = order[np.searchsorted(lengths[order], length) :][: np.count_nonzero(lengths == length)]
            rows_per_block = max(1, min(self._rows_per_block(length * dim), most_numbers // (length * dim)))
            for start in range(0, len(rows), rows_per_block):
                some = rows[start : start + rows_per_block]
                cached_numbers += len(some) * (length + 1) * dim  # and their means
                yield _as_slice(some), cached_numbers <= self.numbers / 2 - self.taken


def _as_slice(rows: Int[np.ndarray, " row"]) -> Places:
    """The rows as a slice if they are neighbours."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _part(places: Places, some: slice) -> Places:
    if isinstance(places, slice):
        return slice(places.start + some.start, places.start + some.stop)
    return places[some]
