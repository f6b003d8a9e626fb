"""A snapshot's rows in int8 -> scores with proven error bounds; only undecided rows are scored in float32.

A page shows ten of many thousand pictures. Int8 scores exclude most of the others at a quarter of the memory
traffic: similarity/kernels/int8.py bounds their errors.
"""

import threading
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from wordsight.runtime.device import PROCESSOR
from wordsight.search.engine.brute_force import BLOCK_NUMBERS, check_numbers
from wordsight.search.index.snapshot import Snapshot
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity
from wordsight.similarity.kernels.int8 import (
    Quantized,
    best_of_int8,
    cosine_error,
    pack,
    quantize_each,
    quantize_together,
    worst_of,
)
from wordsight.similarity.kernels.integer_product import IntegerProduct, int8_is_faster, integer_product
from wordsight.similarity.kernels.packed import PackedTexts, masked_unit
from wordsight.tensors import torch

FLOAT32_SLACK = 2e-6  # difference of two float32 scores of one pair
MIN_NUMBERS = 1 << 22  # a smaller index is scored in float32 as quickly
MAX_OPEN_SHARE = 0.2  # with more undecided rows, all rows are scored
MAX_FAILURES = 8  # queries in a row with too many undecided rows; then the screen is dropped
Bounds = tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]  # scores, and the error bound of each


class Int8Screen:
    """Int8 screen for similarities with ``pooling_of_maxima``; safe to use from several threads.

    It is built at the second query: a single query is quicker without it.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        similarity: Similarity,
        unit: bool,
        memory_mb: float,
        device: torch.device | None = None,
    ) -> None:
        kind = PROCESSOR if device is None else device.type  # a GPU has no integer product here
        self.snapshot = snapshot
        self.bytes = len(snapshot) * int(snapshot.lengths.max(initial=1)) * snapshot.layout.dim
        self.pooling = similarity.pooling_of_maxima
        fits = unit and MIN_NUMBERS <= self.bytes <= memory_mb * 2**20 / 2
        is_useful = fits and self.pooling is not None and int8_is_faster(kind)
        self.integers = integer_product(kind) if is_useful else None
        self._lock = threading.Lock()
        self._queries = self._failures = 0
        self._rows: list[Quantized] = []

    @property
    def is_useful(self) -> bool:
        """Whether a screen exists or will be built."""
        return self.integers is not None

    def prepare(self) -> None:
        """Build the int8 rows, before the second query needs them."""
        with self._lock:
            if self.integers is not None and not self._rows:
                self._rows = list(self._quantized_blocks(self.integers))

    def settle(
        self, query: EmbeddingSet, best: int, threshold: float, above: bool
    ) -> tuple[Float[np.ndarray, " row"], Int[np.ndarray, " open"]] | None:
        """Int8 scores of all rows, and the undecided rows; None without a screen or with too many of them.

        See ``left_open``. After MAX_FAILURES such queries in a row the screen is dropped.
        """
        bounds = self.scores(query)
        if bounds is None:
            return None
        rows = np.flatnonzero(left_open(bounds, best, threshold, above))
        if len(rows) <= MAX_OPEN_SHARE * len(bounds[0]):
            self._failures = 0
            return bounds[0], rows
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self.integers, self._rows = None, []
        return None

    def scores(self, query: EmbeddingSet) -> Bounds | None:
        """Bounds of all rows, in order; None without a screen."""
        self._queries += 1
        if self.is_useful and self._queries > 1:
            self.prepare()
        integers, blocks = self.integers, self._rows
        if self.pooling is None or integers is None or not blocks:
            return None
        queries = PackedTexts(query.to(PROCESSOR), "text")
        words = quantize_each(queries.unit_rows(0, 1).float())
        worst, packed = worst_of(words, queries.lengths), pack(words, slice(None), integers)
        scores, errors = [], []
        for rows in blocks:
            scores.append(self.pooling(best_of_int8(rows, packed, integers)))
            errors.append(self.pooling.error(cosine_error(rows, worst)[:, 0], queries.lengths[0]))
        of_rows = torch.cat(scores).numpy()
        check_numbers(of_rows)
        return of_rows, torch.cat(errors).numpy() + FLOAT32_SLACK

    def _quantized_blocks(self, integers: IntegerProduct) -> Iterator[Quantized]:
        """Blocks of pictures; short ones repeat a vector, which changes no maximum."""
        lengths, dim = self.snapshot.lengths, self.snapshot.layout.dim
        rows_per_block = max(1, BLOCK_NUMBERS // (int(lengths.max()) * dim))
        for start in range(0, len(lengths), rows_per_block):
            block = self.snapshot.embeddings(start, start + rows_per_block)
            units = masked_unit(block)
            yield quantize_together(torch.where(block.mask[..., None], units, units[:, :1]), integers)


def left_open(bounds: Bounds, best: int, threshold: float, above: bool) -> Bool[np.ndarray, " row"]:
    """Rows that may be among the ``best``, or on either side of the threshold; ``above``: or above it."""
    scores, errors = bounds
    low, high = scores - errors, scores + errors
    best = min(best, len(scores))
    last = np.partition(low, len(low) - best)[len(low) - best]
    undecided: Bool[np.ndarray, " row"] = (high >= last) | ((high >= threshold) & (above | (low < threshold)))
    return undecided
