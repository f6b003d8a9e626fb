"""Packed contexts and queries -> scores, best matches and gradients by Triton programs, where those can run.

They run on a GPU of CUDA. Triton's interpreter runs them on a processor, slowly: for tests, which set
``ON_PROCESSOR`` and, before triton is imported, ``TRITON_INTERPRET=1``. Where they cannot run, the functions
return None, and the blocks of ``blockwise.py`` do the work: on a processor, on Apple's GPU, without triton,
for contexts longer than LONGEST and for vectors in float64.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from jaxtyping import Float, Integer

from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum
from wordsight.tensors import Tensor, torch

LONGEST = 1024  # rows of a context, or of a query, in one tile
CONTEXTS = 16  # contexts of a tile at most
TILE_NUMBERS = {
    2: 1 << 15,
    4: 1 << 13,
}  # products of a tile, by the bytes of a number: they stay in registers
SMALLEST = 16  # rows of a tile: less is no product of a tensor core
OLDEST = (8, 0)  # compute capability with bfloat16
BACKWARD = {"BQ": 64, "BR": 16, "BD": 64}
POOLINGS: dict[type[Pooling], int] = {Mean: 0, Sum: 1, Max: 2, LogSumExp: 3, Softmax: 4}
ON_PROCESSOR = False  # whether the interpreter may run them
_disabled = ContextVar("disabled", default=False)
_refused: set[torch.device] = set()  # GPUs that did not take a program
_log = logging.getLogger("wordsight.device")


class Shape(NamedTuple):
    """Sizes of a tile: rows of contexts, rows of queries, numbers of a vector at a time."""

    BM: int
    BN: int
    BK: int


class Tiles(NamedTuple):
    """The members of each tile, from the first to before the last."""

    first: Integer[Tensor, " tile"]
    last: Integer[Tensor, " tile"]


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@contextmanager
def disabled() -> Iterator[None]:
    """Leave all to the blocks, to compare with them."""
    before = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(before)


def can_fuse(vectors: Tensor, contexts: Sequence[int], queries: Sequence[int] = (1,)) -> bool:
    """Whether the programs run for such vectors, of contexts and queries of these lengths (ascending)."""
    if (
        _disabled.get()
        or vectors.device in _refused
        or vectors.dtype == torch.float64
        or not contexts
        or not queries
    ):
        return False
    tile = _power_of_two(contexts[-1]) * max(SMALLEST, _power_of_two(queries[-1]))
    if max(contexts[-1], queries[-1]) > LONGEST or tile > TILE_NUMBERS[4]:
        return False
    if ON_PROCESSOR and interpreted():
        return True
    return vectors.device.type == "cuda" and _is_usable(vectors.device.index or 0)


@cache
def _is_usable(number: int) -> bool:
    """Whether triton is there and knows this GPU; says once why not."""
    if interpreted():
        return False
    if find_spec("triton") is None:
        _log.warning(
            "triton is not installed: the GPU scores in blocks, which is slower (pip install triton)"
        )
        return False
    if torch.cuda.get_device_capability(number) < OLDEST:
        _log.warning("the GPU is too old for the fused programs: it scores in blocks, which is slower")
        return False
    return True


def fused_scores(
    contexts: PackedTexts, queries: PackedTexts, pooling: Pooling, dtype: torch.dtype | None
) -> Float[Tensor, "context query"] | None:
    """All scores of hard alignment, each where its members stand in their sets; None where blocks do it."""
    kind = POOLINGS.get(type(pooling))
    if kind is None or not can_fuse(contexts.items.vectors, contexts.lengths, queries.lengths):
        return None
    left, right = (side.unit_rows(0, len(side)).to(dtype) for side in (contexts, queries))
    return scores_of_rows(left, right, contexts, queries, pooling)


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

    shape = _shape(left, contexts.lengths[-1], queries.lengths[-1])
    start, stop = part or (0, len(contexts))
    tiles = _tiles(contexts, shape.BM, CONTEXTS, start, stop)
    query_tiles = _tiles(queries, shape.BN, shape.BN, 0, len(queries))
    places = [contexts.order, queries.order]
    if part is not None:
        places = [torch.arange(len(side), device=left.device) for side in (contexts, queries)]
        places[0] = places[0] - start
    scores = torch.empty(stop - start, len(queries), dtype=torch.float32, device=left.device)
    done = _launch(
        score_program, (len(tiles.first), len(query_tiles.first)), left,
        left.contiguous(), right.contiguous(), scores, *tiles, _starts(contexts), places[0],
        *query_tiles, _starts(queries), places[1], len(queries), left.shape[1],
        float(getattr(pooling, "temperature", 1.0)), **shape._asdict(), CONTEXTS=CONTEXTS,
        POOL=POOLINGS[type(pooling)], SCALED=bool(getattr(pooling, "scaled", True)), **_options(left),
    )  # fmt: skip
    return scores if done else None


def fused_matches(
    contexts: PackedTexts, queries: PackedTexts, place_dtype: torch.dtype, dtype: torch.dtype | None
) -> tuple[Float[Tensor, "context query_row"], Integer[Tensor, "context query_row"]] | None:
    """How well each query row is found in each context, and where, in packed order; None for blocks."""
    if not can_fuse(contexts.items.vectors, contexts.lengths):
        return None
    from wordsight.similarity.kernels.triton_max_sim import best_match_program

    left, right = (side.unit_rows(0, len(side)).to(dtype).contiguous() for side in (contexts, queries))
    shape, count = _shape(left, contexts.lengths[-1], SMALLEST), len(right)
    tiles = _tiles(contexts, shape.BM, shape.BM, 0, len(contexts))
    found = torch.empty(len(contexts), count, dtype=torch.float32, device=left.device)
    places = torch.empty(found.shape, dtype=place_dtype, device=left.device)
    done = _launch(
        best_match_program, (len(tiles.first), -(-count // shape.BN)), left,
        left, right, found, places, *tiles, _starts(contexts), count, left.shape[1],
        **shape._asdict(), PLACES=True, **_options(left),
    )  # fmt: skip
    return (found, places) if done else None


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
    gradient, starts, dim = gradient.float().contiguous(), _starts(contexts), left.shape[1]
    for_contexts, for_queries = (torch.empty(side.shape, device=left.device) for side in (left, right))
    columns, count = -(-dim // BACKWARD["BD"]), len(right)
    grids = (-(-count // BACKWARD["BQ"]), columns), (len(contexts), columns)
    for_query = left, starts, gradient, places, for_queries, len(contexts), count, dim
    for_context = right, starts, gradient, places, for_contexts, count, dim
    if not (
        _launch(query_gradient_program, grids[0], left, *for_query, **BACKWARD)
        and _launch(context_gradient_program, grids[1], left, *for_context, **BACKWARD)
    ):
        return None
    totals = torch.zeros_like(contexts.items.vectors), torch.zeros_like(queries.items.vectors)
    contexts.add_gradient(totals[0], 0, len(contexts), for_contexts)
    queries.add_gradient(totals[1], 0, len(queries), for_queries)
    return totals


def _launch(program: Any, grid: tuple[int, int], rows: Tensor, *arguments: Any, **sizes: Any) -> bool:
    """Start a program; False where the GPU cannot hold or compile it: blocks do the work from now on."""
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources

    try:
        with _current(rows.device):
            program[grid](*arguments, **sizes)
    except (CompilationError, OutOfResources) as error:
        reason = str(error).strip().splitlines()[-1]
        _log.warning(
            "the GPU does not take a fused program (%s): it scores in blocks, which is slower", reason
        )
        _refused.add(rows.device)
        return False
    return True


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Make it the current GPU, where Triton starts its programs."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _shape(rows: Tensor, longest: int, longest_query: int) -> Shape:
    """Tiles whose products fill the registers, and that hold the longest context and the longest query."""
    numbers = TILE_NUMBERS.get(rows.element_size(), TILE_NUMBERS[4])
    usual = 256 if rows.element_size() == 2 else 64
    height = max(usual, _power_of_two(longest))
    return Shape(
        height, max(SMALLEST, numbers // height, _power_of_two(longest_query)), 64 if usual == 256 else 32
    )


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _tiles(side: PackedTexts, most_rows: int, most_members: int, start: int, stop: int) -> Tiles:
    """Neighbours that fit into a tile together."""
    first, last = [], []
    for a, b in side.packed_pieces(most_rows, start, stop):
        for begin in range(a, b, most_members):
            first.append(begin)
            last.append(min(b, begin + most_members))
    return Tiles(*(torch.tensor(part, dtype=torch.int32, device=side.device) for part in (first, last)))


def _starts(side: PackedTexts) -> Integer[Tensor, " start"]:
    return torch.tensor(side.starts, dtype=torch.int32, device=side.device)


def _options(rows: Tensor) -> dict[str, Any]:
    """Whether to multiply in float32, as the interpreter must, and how many threads share a tile."""
    return {"WIDE": interpreted(), "num_warps": 8 if rows.element_size() == 2 else 4, "num_stages": 3}
