"""Hard alignment: every word picks its single best region, or every region its single best word (CHAN)."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Float, Int, Integer

from wordsight.registry.limits import Positive
from wordsight.similarity.base import AttentionDirection
from wordsight.similarity.kernels.blocks import Stack, cosines_of
from wordsight.similarity.kernels.blockwise import AttentionSimilarity
from wordsight.similarity.kernels.fused import fused_gradients, fused_matches, fused_scores
from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.similarity.pooling import ROUNDING, Pooling
from wordsight.tensors import F, Tensor, torch


class MaxSim(AttentionSimilarity):
    """found_q = max over the context of the cosine; score = pooling of found over the queries.

    ``direction="word"`` is CHAN's visual hard assignment (VHA, all its published runs),
    ``direction="region"`` the textual one (THA). In training, the place of each maximum is
    stored (one byte per image and word), so that the backward pass touches one region per word, and only
    those words whose score has a gradient.
    """

    def __init__(
        self,
        direction: AttentionDirection = "word",
        pooling: str | dict[str, Any] | Pooling = "log-sum-exp",
        memory_mb: Positive = 64.0,
        normalize_images: bool = True,
        normalize_texts: bool = True,
    ):
        super().__init__(direction, pooling, memory_mb, normalize_images, normalize_texts)

    @property
    def has_int8_bound(self) -> bool:
        return not self.keeps_lengths

    @property
    def pooling_of_maxima(self) -> Pooling | None:
        return self.pooling if self.direction == "word" and self.has_int8_bound else None

    def attend_pairs(
        self,
        cosines: Float[Tensor, "pair context query"],
        contexts: Float[Tensor, "pair context dim"],  # noqa: ARG002
        context_mask: Bool[Tensor, "pair context"],
        query_mask: Bool[Tensor, "pair query"],  # noqa: ARG002
    ) -> tuple[Float[Tensor, "pair context query"], Float[Tensor, "pair query"]]:
        found, place = cosines.masked_fill(~context_mask[..., None], -float("inf")).max(-2)
        return torch.zeros_like(cosines).scatter(-2, place[..., None, :], 1.0), found

    def best_match(
        self,
        contexts: Stack,
        queries: Float[Tensor, "row dim"],
        lengths: Sequence[int],  # noqa: ARG002
    ) -> Float[Tensor, "context row"]:
        # Over the middle axis, and without places: anything else is 15 times slower than this maximum.
        return cosines_of(contexts.vectors, queries, contexts.rows).amax(1)

    def found_error(self, dim: int) -> float:
        """Two roundings of each number of either vector, one per addition in whatever order: a proof."""
        return 1.01 * (dim + 8) * ROUNDING

    def attend(
        self,
        contexts: Stack,
        queries: Float[Tensor, "row dim"],
        lengths: Sequence[int],  # noqa: ARG002
    ) -> tuple[Float[Tensor, "n context row"], Float[Tensor, "n row"]]:
        cosines = cosines_of(contexts.vectors, queries, contexts.rows)
        best = cosines.amax(1)
        place = _first_place(cosines, best, torch.int32).long()
        return torch.zeros_like(cosines).scatter_(1, place[:, None], 1.0), best

    def place_dtype(self, contexts: PackedTexts) -> torch.dtype:
        """One byte for each place, as long as a byte can count the regions; else two, or four."""
        if contexts.lengths[-1] < 256:
            return torch.uint8
        return torch.int16 if contexts.lengths[-1] < 2**15 else torch.int32

    def fused_matches(
        self, contexts: PackedTexts, queries: PackedTexts, dtype: torch.dtype | None
    ) -> tuple[Tensor, Tensor] | None:
        return fused_matches(contexts, queries, self.place_dtype(contexts), dtype)

    def fused_scores(
        self,
        contexts: PackedTexts,
        queries: PackedTexts,
        dtype: torch.dtype | None,
        part: tuple[int, int] | None = None,
    ) -> Float[Tensor, "context query"] | None:
        return fused_scores(contexts, queries, self.pooling, dtype, part)

    def best_match_with_places(
        self,
        contexts: Stack,
        queries: Float[Tensor, "row dim"],
        lengths: Sequence[int],  # noqa: ARG002
        dtype: torch.dtype,
    ) -> tuple[Float[Tensor, "n row"], Integer[Tensor, "n row"]]:
        cosines = cosines_of(contexts.vectors, queries, contexts.rows)
        best = cosines.amax(1)
        return best, _first_place(cosines, best, dtype)

    def gradients(
        self,
        contexts: PackedTexts,
        queries: PackedTexts,
        gradient: Float[Tensor, "context row"],
        places: Integer[Tensor, "context row"] | None,
    ) -> tuple[Tensor, Tensor]:
        """Each word's goes to the one region that it picked, and that region's to the word."""
        assert places is not None
        fused = fused_gradients(contexts, queries, gradient, places)
        if fused is not None:
            return fused
        totals = torch.zeros_like(contexts.items.vectors), torch.zeros_like(queries.items.vectors)
        query_units = queries.unit_rows(0, len(queries))
        for_queries = torch.zeros_like(query_units)
        entries_per_row = int(gradient.count_nonzero()) / contexts.starts[-1]
        rows_at_once = self.cosines_at_once(places.device) / max(1, entries_per_row)
        most = min(int(rows_at_once), self.rows_at_once(contexts) // 2)
        for start, stop in contexts.pieces(max(1, most)):
            context_units = contexts.unit_rows(start, stop)
            query, picked, weight = _entries(contexts, start, stop, places, gradient)
            for_queries += _weighted_sums(len(query_units), query, picked, weight, context_units)
            by_item = picked.argsort(stable=True)
            for_contexts = _weighted_sums(
                len(context_units), picked[by_item], query[by_item], weight[by_item], query_units
            )
            contexts.add_gradient(totals[0], start, stop, for_contexts)
        queries.add_gradient(totals[1], 0, len(queries), for_queries)
        return totals


def _entries(
    contexts: PackedTexts, start: int, stop: int, places: Tensor, gradient: Tensor
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"], Float[Tensor, " entry"]]:
    """Every gradient that is not zero: its query (ascending), the context's row that it picked, its value."""
    starts = torch.tensor(contexts.starts, device=places.device)
    query, context = gradient[start:stop].T.nonzero(as_tuple=True)
    context += start
    picked = torch.minimum(starts[context] + places[context, query], starts[context + 1] - 1)
    return query, picked - starts[start], gradient[context, query]


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
