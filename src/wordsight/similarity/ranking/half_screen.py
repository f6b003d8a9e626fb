"""Hard alignment on a GPU -> scores in bfloat16 with a proven bound; chosen pairs again, many at a time.

Products of bfloat16 are exact in float32: a score is off by what rounding the vectors loses, and by the sum.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float, Int

from wordsight.similarity.kernels.fused import POOLINGS, can_fuse, scores_of_rows
from wordsight.similarity.kernels.int8 import Quantized, worst_of
from wordsight.similarity.kernels.packed import PackedTexts, make_unit
from wordsight.similarity.max_sim import MaxSim
from wordsight.tensors import Tensor, torch

SCORES_AT_ONCE = 1 << 27  # of a block; its counting takes five times as much memory
NUMBERS_AT_ONCE = 1 << 27  # of the vectors that are compared pair by pair
SUM_CAUTION = 8  # a tensor core may cut off where float32 rounds


class HalfBlock(NamedTuple):
    """Scores of the contexts from ``start`` on with all queries, in packed order; how far they may be off."""

    start: int
    scores: Float[Tensor, "context query"]
    error: Float[Tensor, "context query"]


def screens_in_half(similarity: Any, contexts: PackedTexts, queries: PackedTexts) -> bool:
    """Whether the programs of a GPU can score these in bfloat16, with a bound."""
    known = isinstance(similarity, MaxSim) and type(similarity.pooling) in POOLINGS
    return known and can_fuse(contexts.items.vectors, contexts.lengths, queries.lengths)


def half_blocks(similarity: Any, contexts: PackedTexts, queries: PackedTexts) -> Iterator[HalfBlock]:
    """All pairs, some contexts at a time; it ends early where the GPU does not take the program."""
    left, right = _rounded(contexts), _rounded(queries)
    worst = worst_of(right, queries.lengths)
    lost = _longest(left.lost, contexts)
    inexact_sum = SUM_CAUTION * similarity.found_error(left.values.shape[1])
    most = max(1, SCORES_AT_ONCE // len(queries))
    for start in range(0, len(contexts), most):
        stop = min(len(contexts), start + most)
        scores = scores_of_rows(
            left.values, right.values, contexts, queries, similarity.pooling, (start, stop)
        )
        if scores is None:
            return
        each = lost[start:stop, None] * worst.length + worst.lost + inexact_sum
        yield HalfBlock(start, scores, similarity.pooling.error(each, queries.lengths[-1]))


def pair_scores(
    similarity: Any,
    contexts: PackedTexts,
    queries: PackedTexts,
    pairs: tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]],
    dtype: torch.dtype,
) -> Float[Tensor, " pair"]:
    """Scores of chosen contexts with chosen queries, by packed number, computed in this precision."""
    longest = contexts.lengths[-1] + queries.lengths[-1]
    at_once = max(1, NUMBERS_AT_ONCE // (longest * contexts.items.dim))
    parts = [torch.empty(0, dtype=dtype, device=contexts.device)]
    for context, query in zip(*(torch.split(one, at_once) for one in pairs), strict=True):
        left, _ = _members(contexts, context, dtype)
        right, real = _members(queries, query, dtype)
        found = torch.bmm(left, right.transpose(1, 2)).amax(1)
        parts.append(similarity.pooling(found, real))
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
