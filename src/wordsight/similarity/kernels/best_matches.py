"""Best matches of all queries in all contexts, with the similarity's own backward pass."""

from math import prod
from typing import Any

from jaxtyping import Float

from wordsight.similarity.kernels.blocks import query_blocks
from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.tensors import Tensor, torch


class QueryMatches(torch.autograd.Function):
    """How well each query is found in each context; the backward pass is the similarity's own."""

    @staticmethod
    def forward(
        ctx: Any,
        context_vectors: Float[Tensor, "context context_item dim"],
        query_vectors: Float[Tensor, "query query_item dim"],
        similarity: Any,  # the AttentionSimilarity, whose module imports this one
        contexts: PackedTexts,
        queries: PackedTexts,
        dtype: torch.dtype | None,
    ) -> Float[Tensor, "context query_row"]:
        ctx.sides, ctx.similarity = (contexts, queries), similarity
        fused = similarity.fused_matches(contexts, queries, dtype)
        if fused is not None:
            ctx.save_for_backward(context_vectors, query_vectors, fused[1])
            found: Tensor = fused[0]
            return found
        query_units = queries.unit_rows(0, len(queries))
        found = query_units.new_empty(len(contexts), len(query_units))
        keep = similarity.place_dtype(contexts)
        places = None if keep is None else torch.empty_like(found, dtype=keep)
        query_units = query_units.to(dtype)
        most = similarity.cosines_at_once(query_units.device)

        def match(start: int, stop: int) -> None:
            stack = similarity.stack(contexts, start, stop, dtype).for_many(len(query_units))
            for rows, lengths in query_blocks(queries, most // prod(stack.vectors.shape[:2])):
                if keep is None or places is None:
                    found[start:stop, rows] = similarity.best_match(stack, query_units[rows], lengths)
                else:
                    found[start:stop, rows], places[start:stop, rows] = similarity.best_match_with_places(
                        stack, query_units[rows], lengths, keep
                    )

        for start, stop in contexts.pieces(similarity.context_rows(query_units.device)):
            similarity.halving.run(match, start, stop)
        ctx.save_for_backward(context_vectors, query_vectors, places)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "context query_row"]
    ) -> tuple[Tensor, Tensor, None, None, None, None]:
        *_, places = ctx.saved_tensors  # raises if the vectors were changed meanwhile
        with torch.autocast(gradient.device.type, enabled=False):
            totals = ctx.similarity.gradients(*ctx.sides, gradient, places)
        return *totals, None, None, None, None
