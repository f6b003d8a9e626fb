"""A query and an index -> the exact score of every row, block by block under a memory budget.

Memory: one block of sets, and four bytes per row of the index for its score.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.runtime.halving import Halving
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment, Similarity, on_device
from wordsight.similarity.word_alignment import found_by_word
from wordsight.tensors import Tensor, torch

Side: TypeAlias = Literal["image", "text"]  # what the rows of an index are
Places: TypeAlias = slice | np.ndarray  # positions of some rows
SUBSET_DIVISOR = 4  # a subset above 1/4 of the rows is scored by scoring all rows, which are ready
ASSUMED_REGIONS = 64  # regions of a picture, to estimate the memory of an alignment
BLOCK_NUMBERS = 1 << 20  # numbers of a block; allocating a larger one costs more than its scores
BLOCK_COPIES = 4  # copies of a block at once: as stored, in float32, of unit length, stacked
SCORE_DIGITS = 9  # digits of a float64 score that count for the order
RECHECK_MARGIN = 1e-4  # float32 scores that differ by less are scored again in float64


@runtime_checkable
class Rows(Protocol):
    """Embedding sets by row (an index's Snapshot)."""

    ids: Any  # of the items, by row

    def __len__(self) -> int: ...
    def embeddings(self, start: int, stop: int) -> EmbeddingSet: ...
    def gather(self, rows: np.ndarray) -> EmbeddingSet: ...


@runtime_checkable
class ReadyRows(Rows, Protocol):
    """Rows that are ready for scoring (engine/row_cache.py)."""

    def ready(self, extra_numbers: int = 0) -> Iterator[tuple[Places, EmbeddingSet]]: ...


@runtime_checkable
class RowScorer(Protocol):
    """Scorer of rows by a sentence, a picture, or both."""

    @property
    def query(self) -> EmbeddingSet: ...
    def scores(self, rows: EmbeddingSet) -> Float[Tensor, " row"]: ...
    def aligned_numbers(self) -> int: ...


Keep: TypeAlias = Callable[[EmbeddingSet], Bool[Tensor, " row"]]  # the rows of a block that pass


@dataclass(frozen=True)
class QueryScorer:
    """Scorer by one query set; ``side`` is the side of the rows."""

    similarity: Similarity
    query: EmbeddingSet  # one
    side: Side = "image"

    def scores(self, rows: EmbeddingSet) -> Float[Tensor, " row"]:
        query = _like(self.query, rows)
        sides = (rows, query) if self.side == "image" else (query, rows)
        scores: Tensor = on_device(self.similarity, rows.device)(*sides)
        return scores.flatten()

    def align(self, rows: EmbeddingSet) -> list[Alignment]:
        """Alignments row by row; their scores add up to ``scores``."""
        repeated = _like(self.query, rows)[[0] * len(rows)]
        similarity = on_device(self.similarity, rows.device)
        return similarity.align(rows, repeated) if self.side == "image" else similarity.align(repeated, rows)

    def found(self, rows: EmbeddingSet) -> Float[Tensor, "row item"]:
        """Strength of each of the query's items in each row; ``side`` must be "image"."""
        cheaply = on_device(self.similarity, rows.device).words_found(rows, _like(self.query, rows))
        return found_by_word(self.align(rows)) if cheaply is None else cheaply

    def aligned_numbers(self) -> int:
        """Numbers that ``found`` needs for each row besides its set: copies of the query, and its result."""
        return BLOCK_COPIES * (self.query.vectors.numel() + self.query.vectors.shape[1] * ASSUMED_REGIONS)


def _like(query: EmbeddingSet, rows: EmbeddingSet) -> EmbeddingSet:
    """The query in the precision and on the device of the rows."""
    moved = query.to(rows.device)
    return EmbeddingSet(moved.vectors.to(rows.vectors.dtype), moved.mask, moved.boxes)


def score_rows(
    scorer: RowScorer,
    stored: Rows,
    rows: Int[np.ndarray, " row"] | None = None,
    keep: Keep | None = None,
    memory_mb: float = 256.0,
) -> Float[np.ndarray, " row"]:
    """Scores of the rows (None: of all, in order); -inf where ``keep`` is False."""
    if rows is not None and isinstance(stored, ReadyRows) and SUBSET_DIVISOR * len(rows) >= len(stored):
        named: Float[np.ndarray, " row"] = score_rows(scorer, stored, None, keep, memory_mb)[rows]
        return named
    scores = np.empty(len(stored) if rows is None else len(rows), np.float32)
    extra_numbers = 0 if keep is None else scorer.aligned_numbers()

    def score(block: EmbeddingSet) -> Tensor:
        scored = scorer.scores(block)
        if keep is not None:
            scored = scored.masked_fill(~keep(block).to(scored.device), -torch.inf)
        return scored

    halving = Halving("rows of the index")
    with torch.no_grad():
        for places, block in to_score(stored, rows, memory_mb, extra_numbers):
            scores[places] = in_parts(score, block, halving)
    check_numbers(scores)
    return scores


def in_parts(
    score: Callable[[EmbeddingSet], Float[Tensor, "row *query"]], block: EmbeddingSet, halving: Halving
) -> Float[np.ndarray, "row *query"]:
    """Scores of a block's rows: together, or in parts where the memory of its device is too small."""
    parts: list[np.ndarray] = []

    def work(start: int, stop: int) -> None:
        some = block if stop - start == len(block) else block[start:stop]
        parts.append(score(some).float().cpu().numpy())

    halving.run(work, 0, len(block))
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def check_numbers(scores: Float[np.ndarray, "*row"]) -> None:
    """Raise InputError for scores that are NaN."""
    if np.isnan(scores).any():
        raise InputError("some scores are not numbers; check the index: wordsight index --verify")


def to_score(
    stored: Rows, rows: Int[np.ndarray, " row"] | None, memory_mb: float, extra_numbers: int = 0
) -> Iterator[tuple[Places, EmbeddingSet]]:
    """The sets of these rows block by block, with their positions among the scores."""
    if rows is None and isinstance(stored, ReadyRows):
        yield from stored.ready(extra_numbers)
        return
    for start, stop, block in blocks(stored, rows, memory_mb, extra_numbers):
        yield slice(start, stop), block


def blocks(
    stored: Rows, rows: Int[np.ndarray, " row"] | None, memory_mb: float, extra_numbers: int = 0
) -> Iterator[tuple[int, int, EmbeddingSet]]:
    """The sets of these rows in blocks that fit into the budget; a single set may be larger.

    ``extra_numbers``: numbers that each row needs in addition to its set.
    """
    count = len(stored) if rows is None else len(rows)
    start, rows_per_block = 0, 1
    while start < count:
        stop = min(count, start + rows_per_block)
        block = stored.embeddings(start, stop) if rows is None else stored.gather(rows[start:stop])
        yield start, stop, block
        numbers = _numbers(block)
        most = memory_mb * 2**20 / 4 / (BLOCK_COPIES * numbers + extra_numbers)
        start, rows_per_block = stop, max(1, min(int(most), BLOCK_NUMBERS // numbers))


def _numbers(block: EmbeddingSet) -> int:
    return max(1, block.vectors[0].numel())


def best_rows(
    scorer: RowScorer,
    stored: Rows,
    rows: Int[np.ndarray, " row"] | None,
    scores: Float[np.ndarray, " row"],
    count: int,
    memory_mb: float = 256.0,
) -> tuple[Int[np.ndarray, " best"], Float[np.ndarray, " best"]]:
    """The ``count`` best rows and their scores, best first, ties by id; rows at -inf are left out.

    Float32 scores of one pair differ in the last bits with the block size. So all candidates are scored again
    in float64, and the order is the same for any block size.
    """
    chosen = best_candidates(scores, count)
    named = chosen if rows is None else rows[chosen]
    exact = np.empty(len(named))
    with torch.no_grad():
        for start, stop, block in blocks(stored, named, memory_mb / 2):
            doubled = EmbeddingSet(block.vectors.double(), block.mask, block.boxes)
            exact[start:stop] = scorer.scores(doubled).double().cpu().numpy()
    exact = exact.round(SCORE_DIGITS)
    order = np.lexsort((stored.ids[named], -exact))[:count]
    return named[order], exact[order]


def best_candidates(scores: Float[np.ndarray, " row"], count: int) -> Int[np.ndarray, " candidate"]:
    """Positions of scores that may be among the best ``count``, in whatever precision."""
    alive = int(np.isfinite(scores).sum())
    count = min(count, alive)
    if count == 0:
        return np.empty(0, np.int64)
    last = np.partition(scores, len(scores) - count)[len(scores) - count]
    return np.flatnonzero(scores >= last - RECHECK_MARGIN * max(1.0, abs(float(last))))
