"""Hard alignment: every word picks its single best region, or every region its single best word (CHAN)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor
from torch.nn import functional as F

from wordsight.compare.blocks import SeekingSimilarity, Stack, cosines_of
from wordsight.compare.by_length import ByLength, stacked
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
        looked_at, looking = contexts.unit_rows(0, len(contexts)), queries.unit_rows(0, len(queries))
        sizes = self.context_rows(contexts.device), self.cosines_at_once(contexts.device)
        found: Tensor = _Best.apply(  # type: ignore[no-untyped-call]
            looked_at, looking, contexts, dtype, *sizes
        )
        return found


class _Best(torch.autograd.Function):
    """(rows of contexts, rows of queries) -> how well each query is found in each context."""

    @staticmethod
    def forward(
        ctx: Any,
        looked_at: Float[Tensor, "context_row dim"],
        looking: Float[Tensor, "query_row dim"],
        contexts: ByLength,
        dtype: torch.dtype | None,
        rows_at_once: int,
        most: int,
    ) -> Float[Tensor, "context query_row"]:
        found = looking.new_empty(len(contexts), len(looking))
        places = torch.empty(found.shape, dtype=_place_dtype(contexts.lengths[-1]), device=looking.device)
        columns = looking.to(dtype)
        for start, stop in contexts.pieces(rows_at_once):
            rows = looked_at[contexts.starts[start] : contexts.starts[stop]].to(dtype)
            stack, _ = stacked(rows, contexts.lengths[start:stop])
            wide = max(1, most // stack.shape[:2].numel())
            for a in range(0, len(looking), wide):
                cosines = cosines_of(stack, columns[a : a + wide])
                best = cosines.amax(1)
                found[start:stop, a : a + wide] = best
                places[start:stop, a : a + wide] = _first_place(cosines, best, places.dtype)
        ctx.save_for_backward(looked_at, looking, places)
        ctx.contexts, ctx.most = contexts, most
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "context query_row"]
    ) -> tuple[Tensor, Tensor, None, None, None, None]:
        looked_at, looking, places = ctx.saved_tensors
        contexts: ByLength = ctx.contexts
        for_contexts, for_queries = torch.zeros_like(looked_at), torch.zeros_like(looking)
        starts = torch.tensor(contexts.starts, device=places.device)
        pieces = -(-int(gradient.count_nonzero()) // ctx.most) or 1
        for members in torch.arange(len(contexts), device=places.device).chunk(pieces):
            # Every nonzero gradient belongs to one query and the one item it picked; query after query.
            query, member = gradient[members].T.nonzero(as_tuple=True)
            context = members[member]
            picked = torch.minimum(starts[context] + places[context, query], starts[context + 1] - 1)
            weight = gradient[context, query]
            for_queries += _weighted_sums(len(looking), query, picked, weight, looked_at)
            own = slice(contexts.starts[int(members[0])], contexts.starts[int(members[-1]) + 1])
            by_item = picked.argsort(stable=True)
            for_contexts[own] = _weighted_sums(
                own.stop - own.start, picked[by_item] - own.start, query[by_item], weight[by_item], looking
            )
        return for_contexts, for_queries, None, None, None, None


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
