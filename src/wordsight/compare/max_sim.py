"""Hard alignment: every word picks its single best region, or every region its single best word (CHAN)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor
from torch.nn import functional as F

from wordsight.compare.blocks import SeekingSimilarity, Stack, cosines_of
from wordsight.compare.by_length import ByLength
from wordsight.compare.pooling import ROUNDING, Pooling
from wordsight.compare.similarity import Seeker


class MaxSim(SeekingSimilarity):
    """found_q = max over the context of the cosine; score = pooling of found over the queries.

    ``seeker="word"`` is CHAN's visual hard assignment (VHA, all its published runs), ``seeker="region"`` the
    textual one (THA). In training, the place of each maximum is kept (one byte per image and word), so that
    the backward pass touches one region per word, and only those words whose score has a gradient.
    """

    def __init__(
        self,
        seeker: Seeker = "word",
        pooling: str | dict[str, Any] | Pooling = "log-sum-exp",
        memory_mb: float = 64.0,
    ):
        super().__init__(seeker, pooling, memory_mb)

    def attend(
        self,
        cosines: Float[Tensor, "pair context query"],
        contexts: Float[Tensor, "pair context dim"],  # noqa: ARG002
        context_mask: Bool[Tensor, "pair context"],
        query_mask: Bool[Tensor, "pair query"],  # noqa: ARG002
    ) -> tuple[Float[Tensor, "pair context query"], Float[Tensor, "pair query"]]:
        found, place = cosines.masked_fill(~context_mask[..., None], -float("inf")).max(-2)
        return torch.zeros_like(cosines).scatter(-2, place[..., None, :], 1.0), found

    def find(
        self,
        contexts: Stack,
        queries: Float[Tensor, "row dim"],
        lengths: Sequence[int],  # noqa: ARG002
    ) -> Float[Tensor, "context row"]:
        # Over the middle axis, and without places: anything else is 15 times slower than this maximum.
        return cosines_of(contexts.vectors, queries).amax(1)

    def found_error(self, dim: int) -> float:
        """Two roundings of each number of either vector, one per addition in whatever order: a proof."""
        return 1.01 * (dim + 8) * ROUNDING

    def find_with_gradient(
        self, contexts: ByLength, queries: ByLength, dtype: torch.dtype | None
    ) -> Float[Tensor, "context row"]:
        found: Tensor = _Best.apply(  # type: ignore[no-untyped-call]
            contexts.items.vectors, queries.items.vectors, self, contexts, queries, dtype
        )
        return found


class _Best(torch.autograd.Function):
    """How well each query is found in each context; backward keeps the places of the best, no more."""

    @staticmethod
    def forward(
        ctx: Any,
        context_vectors: Float[Tensor, "context context_item dim"],
        query_vectors: Float[Tensor, "query query_item dim"],
        similarity: MaxSim,
        contexts: ByLength,
        queries: ByLength,
        dtype: torch.dtype | None,
    ) -> Float[Tensor, "context query_row"]:
        looking = queries.unit_rows(0, len(queries))
        found = looking.new_empty(len(contexts), len(looking))
        looking = looking.to(dtype)
        places = torch.empty(found.shape, dtype=_place_dtype(contexts.lengths[-1]), device=looking.device)
        most = similarity.cosines_at_once(looking.device)
        for start, stop in contexts.pieces(similarity.context_rows(looking.device)):
            stack = similarity.stack(contexts, start, stop, dtype).vectors
            wide = max(1, most // stack.shape[:2].numel())
            for a in range(0, len(looking), wide):
                cosines = cosines_of(stack, looking[a : a + wide])
                best = cosines.amax(1)
                found[start:stop, a : a + wide] = best
                places[start:stop, a : a + wide] = _first_place(cosines, best, places.dtype)
        ctx.save_for_backward(context_vectors, query_vectors, places)
        ctx.sides, ctx.similarity = (contexts, queries), similarity
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "context query_row"]
    ) -> tuple[Tensor, Tensor, None, None, None, None]:
        *_, places = ctx.saved_tensors  # raises if the vectors were changed meanwhile
        contexts, queries = ctx.sides
        totals = [torch.zeros_like(side.items.vectors) for side in ctx.sides]
        looking = queries.unit_rows(0, len(queries))
        for_queries = torch.zeros_like(looking)
        entries_per_row = int(gradient.count_nonzero()) / contexts.starts[-1]
        rows_at_once = ctx.similarity.cosines_at_once(places.device) / max(1, entries_per_row)
        most = min(int(rows_at_once), ctx.similarity.rows_at_once(contexts) // 2)
        for start, stop in contexts.pieces(max(1, most)):
            looked_at = contexts.unit_rows(start, stop)
            query, picked, weight = _entries(contexts, start, stop, places, gradient)
            for_queries += _weighted_sums(len(looking), query, picked, weight, looked_at)
            by_item = picked.argsort(stable=True)
            for_contexts = _weighted_sums(
                len(looked_at), picked[by_item], query[by_item], weight[by_item], looking
            )
            contexts.add_gradient(totals[0], start, stop, for_contexts)
        queries.add_gradient(totals[1], 0, len(queries), for_queries)
        return totals[0], totals[1], None, None, None, None


def _entries(
    contexts: ByLength, start: int, stop: int, places: Tensor, gradient: Tensor
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"], Float[Tensor, " entry"]]:
    """Every gradient that is not zero: its query (ascending), the context's row that it picked, its value."""
    starts = torch.tensor(contexts.starts, device=places.device)
    query, context = gradient[start:stop].T.nonzero(as_tuple=True)
    context += start
    picked = torch.minimum(starts[context] + places[context, query], starts[context + 1] - 1)
    return query, picked - starts[start], gradient[context, query]


def _place_dtype(longest: int) -> torch.dtype:
    return torch.uint8 if longest < 256 else torch.int32


def _first_place(
    cosines: Float[Tensor, "n context row"], best: Float[Tensor, "n row"], dtype: torch.dtype
) -> Integer[Tensor, "n row"]:
    """Where the maximum is: a comparison and an integer maximum, which vectorize (argmax does not)."""
    width = cosines.shape[1]
    from_last = torch.arange(width, 0, -1, dtype=dtype, device=cosines.device)[:, None]
    return width - (cosines == best[:, None]).to(dtype).mul_(from_last).amax(1)


def _weighted_sums(
    count: int,
    groups: Int[Tensor, " entry"],
    rows: Int[Tensor, " entry"],
    weights: Float[Tensor, " entry"],
    table: Float[Tensor, "row dim"],
) -> Float[Tensor, "{count} dim"]:
    """sums[g] = sum of weight x table[row] over the entries of group g; ``groups`` ascends."""
    if not len(groups):
        return table.new_zeros(count, table.shape[1])
    ends = torch.bincount(groups, minlength=count).cumsum(0)
    return F.embedding_bag(
        rows, table, ends.roll(1).index_fill_(0, ends.new_zeros(1), 0), mode="sum", per_sample_weights=weights
    )
