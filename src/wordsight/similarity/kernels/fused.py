"""Packed contexts and queries -> hard alignment's scores, best matches and gradients by Triton programs.

Where those cannot run, the functions return None, and the blocks of ``blockwise.py`` do the work: on a
processor, on Apple's GPU, without triton, for sets that no tile holds and for vectors in float64.
"""

from typing import NamedTuple

from jaxtyping import Float, Integer

from wordsight.similarity.kernels.launch import (
    CONTEXTS,
    POOLINGS,
    SMALLEST,
    can_fuse,
    interpreted,
    launch,
    leaves_to_blocks,
    make_starts,
    make_tiles,
    pool_sizes,
    pool_temperature,
    power_of_two,
)
from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.similarity.pooling import Pooling
from wordsight.tensors import Tensor, torch

BACKWARD = {"BQ": 32, "BR": 16, "BD": 64}
PRECISION = "ieee"  # of products in float32; benchmarks/gpu.py measures "tf32x3", of tensor cores


class Shape(NamedTuple):
    """Sizes of a tile: rows of contexts, rows of queries, numbers of a vector at a time; and its threads."""

    BM: int
    BN: int
    BK: int
    num_warps: int
    num_stages: int = 3


HALF, FULL = Shape(256, 128, 64, 8), Shape(64, 128, 32, 4)  # of scores, by the precision of the vectors
HALF_PLACES = Shape(128, 128, 64, 8)  # of best matches, whose places need registers too


@leaves_to_blocks
def fused_scores(
    contexts: PackedTexts,
    queries: PackedTexts,
    pooling: Pooling,
    dtype: torch.dtype | None,
    part: tuple[int, int] | None = None,
) -> Float[Tensor, "context query"] | None:
    """Scores of hard alignment, each where its members stand in their sets; None where blocks do it."""
    if type(pooling) not in POOLINGS or not can_fuse(
        contexts.items.vectors, contexts.lengths, queries.lengths
    ):
        return None
    left, right = (side.unit_rows(0, len(side)).to(dtype) for side in (contexts, queries))
    return scores_of_rows(left, right, contexts, queries, pooling, part)


def scores_of_rows(
    left: Float[Tensor, "row dim"],
    right: Float[Tensor, "query_row dim"],
    contexts: PackedTexts,
    queries: PackedTexts,
    pooling: Pooling,
    part: tuple[int, int] | None = None,
) -> Float[Tensor, "context query"] | None:
    """Scores from the packed rows of both sides, in the precision that they have; None if it failed.

    ``part``: only of the contexts from the first number to before the second, and in packed order.
    """
    from wordsight.similarity.kernels.triton_max_sim import score_program

    usual = HALF if left.element_size() == 2 else FULL
    shape = _shape(usual, contexts.lengths[-1], queries.lengths[-1], len(right))
    start, stop = part or (0, len(contexts))
    context_tiles = make_tiles(contexts, shape.BM, CONTEXTS, start, stop)
    query_tiles = make_tiles(queries, shape.BN, shape.BN, 0, len(queries))
    places = [contexts.order, queries.order]
    if part is not None:
        places = [torch.arange(len(side), device=left.device) for side in (contexts, queries)]
        places[0] = places[0] - start
    scores = torch.empty(stop - start, len(queries), dtype=torch.float32, device=left.device)
    done = launch(
        score_program, (len(context_tiles.first) * len(query_tiles.first),), left,
        left.contiguous(), right.contiguous(), scores, *context_tiles, make_starts(contexts), places[0],
        *query_tiles, make_starts(queries), places[1], len(context_tiles.first), len(queries),
        left.shape[1], pool_temperature(pooling), **shape._asdict(), **pool_sizes(pooling),
        WIDE=interpreted(), PRECISION=PRECISION,
    )  # fmt: skip
    return scores if done else None


@leaves_to_blocks
def fused_matches(
    contexts: PackedTexts, queries: PackedTexts, place_dtype: torch.dtype, dtype: torch.dtype | None
) -> tuple[Float[Tensor, "context query_row"], Integer[Tensor, "context query_row"]] | None:
    """How well each query row is found in each context, and where, in packed order; None for blocks."""
    if not can_fuse(contexts.items.vectors, contexts.lengths):
        return None
    from wordsight.similarity.kernels.triton_max_sim import best_match_program

    left, right = (side.unit_rows(0, len(side)).to(dtype).contiguous() for side in (contexts, queries))
    count, usual = len(right), HALF_PLACES if left.element_size() == 2 else FULL
    shape = _shape(usual, contexts.lengths[-1], 1, count)
    context_tiles = make_tiles(contexts, shape.BM, shape.BM, 0, len(contexts))
    found = torch.empty(len(contexts), count, dtype=torch.float32, device=left.device)
    places = torch.empty(found.shape, dtype=place_dtype, device=left.device)
    done = launch(
        best_match_program, (len(context_tiles.first) * -(-count // shape.BN),), left,
        left, right, found, places, *context_tiles, make_starts(contexts), len(context_tiles.first), count,
        left.shape[1], **shape._asdict(), WIDE=interpreted(), PRECISION=PRECISION,
    )  # fmt: skip
    return (found, places) if done else None


@leaves_to_blocks
def fused_gradients(
    contexts: PackedTexts,
    queries: PackedTexts,
    gradient: Float[Tensor, "context query_row"],
    places: Integer[Tensor, "context query_row"],
) -> tuple[Tensor, Tensor] | None:
    """Gradients of both sets' vectors, by products without a race: repeated, the bits are the same."""
    if not can_fuse(contexts.items.vectors, contexts.lengths):
        return None
    from wordsight.similarity.kernels.triton_max_sim import context_gradient_program, query_gradient_program

    left, right = (side.unit_rows(0, len(side)).contiguous() for side in (contexts, queries))
    gradient, begins, dim = gradient.float().contiguous(), make_starts(contexts), left.shape[1]
    for_contexts, for_queries = (torch.empty(side.shape, device=left.device) for side in (left, right))
    columns, count = -(-dim // BACKWARD["BD"]), len(right)
    grids = (-(-count // BACKWARD["BQ"]), columns), (len(contexts), columns)
    for_query = left, begins, gradient, places, for_queries, len(contexts), count, dim
    for_context = right, begins, gradient, places, for_contexts, count, dim
    if not (
        launch(query_gradient_program, grids[0], left, *for_query, **BACKWARD, PRECISION=PRECISION)
        and launch(context_gradient_program, grids[1], left, *for_context, **BACKWARD, PRECISION=PRECISION)
    ):
        return None
    totals = torch.zeros_like(contexts.items.vectors), torch.zeros_like(queries.items.vectors)
    contexts.add_gradient(totals[0], 0, len(contexts), for_contexts)
    queries.add_gradient(totals[1], 0, len(queries), for_queries)
    return totals


def _shape(usual: Shape, longest: int, longest_query: int, query_rows: int) -> Shape:
    """The usual tile, changed so that it holds the longest context and the longest query, and no larger.

    Few queries, as a search has, take a narrow tile: the rest of a wide one would multiply nothing.
    """
    least = max(SMALLEST, power_of_two(longest_query))
    numbers = usual.BM * usual.BN // (2 if least > usual.BN else 1)  # wide tiles take more registers
    height = max(SMALLEST, power_of_two(longest), min(usual.BM, numbers // least))
    width = min(numbers // height, power_of_two(query_rows))
    return usual._replace(BM=height, BN=max(least, width))
