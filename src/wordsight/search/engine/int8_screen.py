"""A snapshot's rows in int8 -> scores of a sentence with proven errors; only what those leave open is scored.

Of many thousand pictures a page shows ten. Which ones cannot be among them, or below the line, is known from
a quarter of the numbers: the bound of similarity/kernels/int8.py says how far a score in int8 may be off.
"""

import threading
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from wordsight.search.engine.brute_force import BLOCK, QueryScorer, check
from wordsight.search.index.snapshot import Snapshot
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
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.pooling import Pooling

SLACK = 2e-6  # what float32 may make of two scores that are alike
WORTH = 1 << 22  # numbers of an index; of fewer, all are scored as soon
TOO_MANY = 0.2  # of the rows left open: then all of them are scored
TRIES = 8  # questions in a row of which that was so
Bounds = tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]  # scores; how far off each may be


class Screen:
    """For MaxSim whose words look. It is made when it is asked for the second time: one question alone costs
    less without. Safe to use from several threads.
    """

    def __init__(self, snapshot: Snapshot, similarity: Similarity, unit: bool, memory_mb: float) -> None:
        self.snapshot = snapshot
        self.bytes = len(snapshot) * int(snapshot.lengths.max(initial=1)) * snapshot.layout.dim
        self.pooling: Pooling | None = None
        if isinstance(similarity, MaxSim) and similarity.direction == "word" and not similarity.keeps_lengths:
            self.pooling = similarity.pooling
        fits = unit and WORTH <= self.bytes <= memory_mb * 2**20 / 2
        pays = fits and self.pooling is not None and int8_is_faster("cpu")
        self.integers = integer_product("cpu") if pays else None
        self._lock = threading.Lock()
        self._asked = self._failed = 0
        self._rows: list[Quantized] = []

    @property
    def pays(self) -> bool:
        """Whether there is, or will be, a screen."""
        return self.integers is not None

    def make(self) -> None:
        """Build the int8 rows, before the second query needs them."""
        with self._lock:
            if self.integers is not None and not self._rows:
                self._rows = list(self._made(self.integers))

    def settle(
        self, asking: QueryScorer, best: int, line: float, above: bool
    ) -> tuple[Float[np.ndarray, " row"], Int[np.ndarray, " open"]] | None:
        """Scores of all rows, and those that must be scored; None where that would be most, or too early.

        See ``left_open``. Where it fails again and again, it is let go.
        """
        bounds = self.scores(asking)
        if bounds is None:
            return None
        rows = np.flatnonzero(left_open(bounds, best, line, above))
        if len(rows) <= TOO_MANY * len(bounds[0]):
            self._failed = 0
            return bounds[0], rows
        self._failed += 1
        if self._failed >= TRIES:
            self.integers, self._rows = None, []
        return None

    def scores(self, asking: QueryScorer) -> Bounds | None:
        """Bounds of all rows, in order; None if there are none."""
        self._asked += 1
        if self.pays and self._asked > 1:
            self.make()
        integers, held = self.integers, self._rows
        if self.pooling is None or integers is None or not held:
            return None
        queries = PackedTexts(asking.query.to("cpu"), "text")
        words = quantize_each(queries.unit_rows(0, 1).float())
        worst, packed = worst_of(words, queries.lengths), pack(words, slice(None), integers)
        scores, errors = [], []
        for rows in held:
            scores.append(self.pooling(best_of_int8(rows, packed, integers)))
            errors.append(self.pooling.error(cosine_error(rows, worst)[:, 0], queries.lengths[0]))
        of_rows = torch.cat(scores).numpy()
        check(of_rows)
        return of_rows, torch.cat(errors).numpy() + SLACK

    def _made(self, integers: IntegerProduct) -> Iterator[Quantized]:
        """As many pictures together as make a block; short ones repeat a vector, which changes no maximum."""
        lengths, dim = self.snapshot.lengths, self.snapshot.layout.dim
        at_once = max(1, BLOCK // (int(lengths.max()) * dim))
        for start in range(0, len(lengths), at_once):
            block = self.snapshot.embeddings(start, start + at_once)
            units = masked_unit(block)
            yield quantize_together(torch.where(block.mask[..., None], units, units[:, :1]), integers)


def left_open(bounds: Bounds, best: int, line: float, above: bool) -> Bool[np.ndarray, " row"]:
    """Rows that may be among the ``best``, or on either side of the line; ``above``: or surely above it."""
    scores, errors = bounds
    low, high = scores - errors, scores + errors
    best = min(best, len(scores))
    last = np.partition(low, len(low) - best)[len(low) - best]
    undecided: Bool[np.ndarray, " row"] = (high >= last) | ((high >= line) & (above | (low < line)))
    return undecided
