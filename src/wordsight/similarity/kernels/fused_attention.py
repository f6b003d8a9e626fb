"""Packed contexts and queries -> cross attention's scores, values and gradients by Triton programs.

Where those cannot run, the functions return None, and the blocks of ``blockwise.py`` do the work, as for
``fused.py``. The attention of every row with every query row is never stored: going forward none of it is;
the backward pass stores that of some contexts, as many as the memory of a block holds, and multiplies them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxtyping import Float

from wordsight.runtime.device import block_mb
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
from wordsight.similarity.kernels.packed import PackedTexts, runs
from wordsight.similarity.pooling import Pooling
from wordsight.tensors import Tensor, torch

USUAL = 1 << 12  # products of a tile, where sets are short: more do not stay in registers
HIGHEST = 128  # rows of a tile of contexts, unless one context is longer
GRAM_ROWS = 32  # of a Gram matrix at a time
PRECISION = "tf32x3"  # three products on tensor cores for one in float32: as exact, and twice as fast
NORMS = {"l2": 1, "l1": 2, "softmax": 3}
UNPOOLED = {"POOL": -1, "SCALED": True, "CONTEXTS": CONTEXTS}


class Attention(NamedTuple):
    """Settings of cross attention that the programs need."""

    normalize: str
    temperature: float

    def sizes(self) -> dict[str, Any]:
        clipped = self.normalize.startswith("clipped")
        return {"NORM": NORMS.get(self.normalize.removeprefix("clipped_"), 0), "CLIPPED": clipped}


@leaves_to_blocks
def attention_scores(
    contexts: PackedTexts,
    queries: PackedTexts,
    attention: Attention,
    pooling: Pooling,
    factors: Float[Tensor, " query_row"],
    dtype: torch.dtype | None = None,
    part: tuple[int, int] | None = None,
) -> Float[Tensor, "context query"] | None:
    """Scores, each where its members stand in their sets, of sides that ``can_fuse``; None where it failed.

    ``factors``: what each query row's value is multiplied by before it is pooled. ``part``: only the contexts
    from the first number to before the second, and in packed order.
    """
    if type(pooling) not in POOLINGS:
        return None
    start, stop = part or (0, len(contexts))
    orders = [contexts.order, queries.order]
    if part is not None:
        orders = [torch.arange(len(side), device=side.device) for side in (contexts, queries)]
        orders[0] = orders[0] - start
    scores = torch.empty(stop - start, len(queries), dtype=torch.float32, device=contexts.device)
    run = _Run(contexts, queries, attention, dtype)
    done = run.attend(
        (start, stop), orders, factors, scores[:0], scores, pool_temperature(pooling), pool_sizes(pooling)
    )
    return scores if done else None


@leaves_to_blocks
def attention_values(
    contexts: PackedTexts, queries: PackedTexts, attention: Attention, dtype: torch.dtype | None
) -> Float[Tensor, "context query_row"] | None:
    """How well each query row finds itself in each context, in packed order; None where blocks do it."""
    if not can_fuse(contexts.items.vectors, contexts.lengths, queries.lengths):
        return None
    run = _Run(contexts, queries, attention, dtype)
    found = torch.empty(len(contexts), len(run.right), dtype=torch.float32, device=contexts.device)
    factors = torch.ones(len(run.right), device=contexts.device)
    orders = [contexts.order, queries.order]
    done = run.attend((0, len(contexts)), orders, factors, found, found[:0], 1.0, UNPOOLED)
    return found if done else None


@leaves_to_blocks
def attention_gradients(
    contexts: PackedTexts,
    queries: PackedTexts,
    attention: Attention,
    gradient: Float[Tensor, "context query_row"],
    memory_mb: float,
) -> tuple[Tensor, Tensor] | None:
    """Gradients of both sets' vectors, without a race: repeated, the bits are the same."""
    if not can_fuse(contexts.items.vectors, contexts.lengths, queries.lengths):
        return None
    run, count = _Run(contexts, queries, attention, None), gradient.shape[1]
    for_queries = torch.zeros_like(run.right)
    totals = torch.zeros_like(contexts.items.vectors), torch.zeros_like(queries.items.vectors)
    memory = block_mb(memory_mb, contexts.device) * 2**20
    for start, stop in contexts.packed_pieces(int(memory / 3 / 4 / count)):
        found = run.gradients(start, stop, gradient[start:stop].float().contiguous())
        if found is None:
            return None
        for_rows, for_products = found
        for_queries += torch.mm(for_products.T, run.left[contexts.starts[start] : contexts.starts[stop]])
        contexts.add_gradient(totals[0], start, stop, for_rows)
    queries.add_gradient(totals[1], 0, len(queries), for_queries)
    return totals


class _Run:
    """Both sides, ready for the programs."""

    def __init__(
        self, contexts: PackedTexts, queries: PackedTexts, attention: Attention, dtype: torch.dtype | None
    ) -> None:
        self.contexts, self.queries, self.attention = contexts, queries, attention
        self.left, self.right = (
            side.unit_rows(0, len(side)).to(dtype).contiguous() for side in (contexts, queries)
        )
        lengths = torch.tensor(contexts.lengths, device=contexts.device)
        self.starts = make_starts(contexts)
        self.owners = torch.arange(len(contexts), device=contexts.device).repeat_interleave(lengths).int()
        self.gram_starts = lengths.square().cumsum(0) - lengths.square()
        self.grams = torch.cat(
            [torch.bmm(rows, rows.transpose(1, 2)).flatten() for _, _, rows in self._by_length(self.left)]
        )
        self.height, self.width = _tile(contexts.lengths[-1], queries.lengths[-1])
        self.query_tiles = make_tiles(queries, self.width, self.width, 0, len(queries))
        self.query_starts = make_starts(queries)

    def attend(
        self,
        part: tuple[int, int],
        orders: list[Tensor],
        factors: Tensor,
        found: Tensor,
        scores: Tensor,
        pool_temperature: float,
        pool: dict[str, Any],
    ) -> bool:
        from wordsight.similarity.kernels.triton_cross_attention import attention_program

        tiles = make_tiles(self.contexts, self.height, CONTEXTS, *part)
        return launch(
            attention_program, (len(tiles.first) * len(self.query_tiles.first),), self.left,
            self.left, self.right, self.grams, factors, found, scores,
            *tiles, self.starts, self.owners, self.gram_starts, orders[0],
            *self.query_tiles, self.query_starts, orders[1], len(tiles.first), len(self.queries),
            len(self.right), self.left.shape[1], self.attention.temperature, pool_temperature,
            **self._sizes(), **pool,
        )  # fmt: skip

    def gradients(self, start: int, stop: int, gradient: Tensor) -> tuple[Tensor, Tensor] | None:
        """Gradients of the rows of some contexts, and of their products with all query rows."""
        from wordsight.similarity.kernels.triton_cross_attention import attention_gradient_program

        rows = slice(self.contexts.starts[start], self.contexts.starts[stop])
        for_products = torch.empty(rows.stop - rows.start, len(self.right), device=self.left.device)
        shares, for_squares = torch.empty_like(for_products), torch.empty_like(gradient)
        tiles = make_tiles(self.contexts, self.height, CONTEXTS, start, stop)
        if not launch(
            attention_gradient_program, (len(tiles.first) * len(self.query_tiles.first),), self.left,
            self.left, self.right, self.grams, gradient, for_products, shares, for_squares,
            *tiles, self.starts, self.owners, self.gram_starts, *self.query_tiles, self.query_starts,
            len(tiles.first), start, len(self.right), self.left.shape[1], self.attention.temperature,
            **self._sizes(),
        ):  # fmt: skip
            return None
        for_rows = torch.mm(for_products, self.right)
        for members, own, vectors in self._by_length(self.left[rows], start, stop):
            share = shares[own].view(*vectors.shape[:2], -1)
            for_gram = torch.bmm(share * for_squares[members, None], share.transpose(1, 2))
            for_rows[own] += 2 * torch.bmm(for_gram, vectors).flatten(0, 1)
        return for_rows, for_products

    def _by_length(
        self, rows: Float[Tensor, "row dim"], start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[slice, slice, Float[Tensor, "n item dim"]]]:
        """Neighbours of one length: which they are, which their rows, and these in float32."""
        member = row = 0
        for count, length in runs(self.contexts.lengths[start:stop]):
            own = slice(row, row + count * length)
            yield slice(member, member + count), own, rows[own].float().view(count, length, rows.shape[1])
            member, row = member + count, own.stop

    def _sizes(self) -> dict[str, Any]:
        half = self.left.element_size() == 2
        return {
            "BM": self.height, "BN": self.width, "BK": 64 if half else 32,
            "BG": min(self.height, GRAM_ROWS), "WIDE": interpreted(), "PRECISION": PRECISION,
            "num_warps": 8, "num_stages": 3, **self.attention.sizes(),
        }  # fmt: skip


def _tile(longest: int, longest_query: int) -> tuple[int, int]:
    """Rows of contexts and of queries in a tile that holds the longest of both."""
    height, width = (max(SMALLEST, power_of_two(count)) for count in (longest, longest_query))
    while height < HIGHEST and 2 * height * width <= USUAL:
        height *= 2
    return height, max(width, USUAL // height)
