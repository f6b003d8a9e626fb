"""Scores by a GPU's programs, with how far they may be off; chosen pairs again, many at a time.

Hard alignment is screened in bfloat16 with a proven bound: products of bfloat16 are exact in float32, so a
score is off by what rounding the vectors loses, and by the sum. Cross attention is screened in float32.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Float, Int

from wordsight.runtime.device import free_mb
from wordsight.runtime.halving import Halving
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels.fused import scores_of_rows
from wordsight.similarity.kernels.int8 import Quantized, worst_of
from wordsight.similarity.kernels.launch import POOLINGS, can_fuse
from wordsight.similarity.kernels.packed import PackedTexts, make_unit
from wordsight.similarity.max_sim import MaxSim
from wordsight.tensors import Tensor, torch

SCORES_AT_ONCE = 1 << 27  # of a block
BYTES_PER_SCORE = 40  # while a block is counted
NUMBERS_AT_ONCE = 1 << 27  # of the vectors that are compared pair by pair
SUM_CAUTION = 8  # a tensor core may cut off where float32 rounds


class ScreenedBlock(NamedTuple):
    """Scores of the contexts from ``start`` on with all queries, in packed order; how far they may be off."""

    start: int
    scores: Float[Tensor, "context query"]
    error: Float[Tensor, "*#block"]


Screen: TypeAlias = Callable[[int, int], ScreenedBlock | None]


def fused_screen(
    similarity: Any, contexts: PackedTexts, queries: PackedTexts, float32_error: float
) -> Screen | None:
    """Scores the contexts from one number to before another; None where no program can.

    The screen returns None where the GPU does not take the program.
    """
    known = isinstance(similarity, MaxSim | CrossAttention) and type(similarity.pooling) in POOLINGS
    if not known or not can_fuse(contexts.items.vectors, contexts.lengths, queries.lengths):
        return None
    if isinstance(similarity, MaxSim):
        return _half_screen(similarity, contexts, queries)
    error = torch.tensor(float32_error, device=contexts.device)

    def screen(start: int, stop: int) -> ScreenedBlock | None:
        scores = similarity.fused_scores(contexts, queries, torch.float32, (start, stop))
        return None if scores is None else ScreenedBlock(start, scores, error)

    return screen


def contexts_at_once(contexts: PackedTexts, queries: PackedTexts) -> int:
    """How many contexts a screen scores together: half of a GPU's free memory holds their counting."""
    free = free_mb(contexts.device)
    most = SCORES_AT_ONCE if free is None else min(SCORES_AT_ONCE, int(free * 2**19 / BYTES_PER_SCORE))
    return max(1, most // len(queries))


def _half_screen(similarity: MaxSim, contexts: PackedTexts, queries: PackedTexts) -> Screen:
    left, right = _rounded(contexts), _rounded(queries)
    worst = worst_of(right, queries.lengths)
    lost = _longest(left.lost, contexts)
    inexact_sum = SUM_CAUTION * similarity.found_error(left.values.shape[1])

    def screen(start: int, stop: int) -> ScreenedBlock | None:
        scores = scores_of_rows(
            left.values, right.values, contexts, queries, similarity.pooling, (start, stop)
        )
        if scores is None:
            return None
        each = lost[start:stop, None] * worst.length + worst.lost + inexact_sum
        return ScreenedBlock(start, scores, similarity.pooling.error(each, queries.lengths[-1]))

    return screen


def pair_scores(
    similarity: Any,
    contexts: PackedTexts,
    queries: PackedTexts,
    pairs: tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]],
    dtype: torch.dtype,
) -> Float[Tensor, " pair"]:
    """Scores of chosen contexts with chosen queries, by packed number, computed in this precision."""
    longest = contexts.lengths[-1] + queries.lengths[-1]
    at_once = max(1, NUMBERS_AT_ONCE // (longest * max(longest, contexts.items.dim)))
    parts = [torch.empty(0, dtype=dtype, device=contexts.device)]

    def score(start: int, stop: int) -> None:
        left, inside = _members(contexts, pairs[0][start:stop], dtype)
        right, real = _members(queries, pairs[1][start:stop], dtype)
        cosines = torch.bmm(left, right.transpose(1, 2))
        found = (
            cosines.amax(1)
            if isinstance(similarity, MaxSim)
            else similarity.attend_pairs(cosines, left, inside, real)[1]
        )
        parts.append(similarity.pooling(found, real))

    halving, count = Halving("pairs of a block"), len(pairs[0])
    for start in range(0, count, at_once):
        halving.run(score, start, min(count, start + at_once))
    return torch.cat(parts)


def _members(side: PackedTexts, numbers: Int[Tensor, " n"], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Unit vectors of some members, padded by repeating the first, which changes no maximum; and the mask."""
    chosen = side.order[numbers]
    mask = side.items.mask[chosen]
    width = int(mask.any(0).nonzero().max()) + 1
    mask = mask[:, :width]
    vectors = side.items.vectors[chosen, :width].to(dtype)
    first = mask.int().argmax(1)
    repeated = vectors[torch.arange(len(chosen), device=vectors.device), first]
    filled = torch.where(mask[..., None], vectors, repeated[:, None])
    return make_unit(filled.flatten(0, 1)).view_as(filled), mask


def _rounded(side: PackedTexts) -> Quantized:
    """Unit vectors in bfloat16, the length of what rounding lost of each, and their lengths."""
    units = side.unit_rows(0, len(side))
    values = units.bfloat16()
    there = values.to(units.dtype)
    length = torch.linalg.vector_norm(there, dim=-1)
    lost = torch.linalg.vector_norm(there - units, dim=-1)
    return Quantized(values, torch.ones_like(lost), lost, length)


def _longest(values: Float[Tensor, " row"], side: PackedTexts) -> Float[Tensor, " member"]:
    """The largest value among the rows of each member."""
    lengths: Sequence[int] = side.lengths
    member = torch.arange(len(lengths), device=values.device).repeat_interleave(
        torch.tensor(lengths, device=values.device)
    )
    return values.new_zeros(len(lengths)).scatter_reduce_(0, member, values, "amax")
