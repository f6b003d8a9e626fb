"""Soft alignment: every word blends the regions it resembles, or every region the words (SCAN, CHAN)."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args

from jaxtyping import Bool, Float, Int, Integer

from wordsight.errors import InputError
from wordsight.registry.limits import Positive
from wordsight.similarity.base import AttentionDirection
from wordsight.similarity.kernels.blocks import Stack, cosines_of, query_blocks
from wordsight.similarity.kernels.blockwise import AttentionSimilarity
from wordsight.similarity.kernels.fused_attention import (
    Attention,
    attention_gradients,
    attention_scores,
    attention_values,
)
from wordsight.similarity.kernels.launch import can_fuse
from wordsight.similarity.kernels.packed import EPSILON, PackedTexts, runs, stack_rows
from wordsight.similarity.pooling import ROUNDING, Pooling
from wordsight.tensors import F, Tensor, torch

Normalize: TypeAlias = Literal["none", "l2", "clipped_l2", "l1", "clipped_l1", "clipped", "softmax"]


class CrossAttention(AttentionSimilarity):
    """share = softmax over the context of (normalized cosine / temperature); found = cos(query, its blend).

    ``normalize`` is SCAN's ``raw_feature_norm``, per context element over the queries; ``temperature`` is
    1 / its ``lambda_softmax``. SCAN t-i: ``direction="word"``, 1/9, "clipped_l2"; i-t: ``"region"``, 1/4.
    CHAN's VSA as its code has it: ``direction="region", normalize="none"`` and alpha as the temperature; its
    author's later TSA: ``direction="region"``, "clipped_l2".

    Where lengths count (``normalize_images`` or ``normalize_texts`` = False), they count in the attention
    only; with ``keep_query_length`` found = |query| cos(query, its blend) as in CHAN's VSA.

    No blend is ever made: cos(query, blend) = (share . cosines) / sqrt(share' Gram share), where Gram holds
    the products of the context's items with each other. In training, the backward pass computes the attention
    again, of the pairs whose score has a gradient.
    """

    copies = 8

    def __init__(
        self,
        direction: AttentionDirection = "word",
        temperature: Positive = 1 / 9,
        normalize: Normalize = "clipped_l2",
        pooling: str | dict[str, Any] | Pooling = "mean",
        memory_mb: Positive = 64.0,
        normalize_images: bool = True,
        normalize_texts: bool = True,
        keep_query_length: bool = False,
    ):
        super().__init__(direction, pooling, memory_mb, normalize_images, normalize_texts)
        if not temperature > 0:
            raise InputError(f"temperature = {temperature}; it must be above 0, e.g. 0.111 (SCAN's lambda 9)")
        if normalize not in get_args(Normalize):
            raise InputError(f'normalize = "{normalize}"; expected one of {", ".join(get_args(Normalize))}')
        self.temperature, self.normalize = temperature, normalize
        self.keep_query_length = keep_query_length

    def per_query(
        self, found: Float[Tensor, "*n query"], queries: Float[Tensor, "*m query dim"]
    ) -> Float[Tensor, "*n query"]:
        """The cosine with the blend, of what is a product with a query of any length until here."""
        scaled = self.normalize_texts if self.direction == "word" else self.normalize_images
        if scaled or self.keep_query_length:
            return found
        length: Tensor = torch.linalg.vector_norm(queries, dim=-1)
        return found / length.clamp_min(EPSILON)

    def attend_pairs(
        self,
        cosines: Float[Tensor, "pair context query"],
        contexts: Float[Tensor, "pair context dim"],
        context_mask: Bool[Tensor, "pair context"],
        query_mask: Bool[Tensor, "pair query"],
    ) -> tuple[Float[Tensor, "pair context query"], Float[Tensor, "pair query"]]:
        logits = _normalized(cosines[:, :, None], query_mask[:, None, None], self.normalize).squeeze(2)
        return self._blend(cosines, logits, torch.bmm(contexts, contexts.transpose(1, 2)), context_mask)

    def attend(
        self, contexts: Stack, queries: Float[Tensor, "row dim"], lengths: Sequence[int]
    ) -> tuple[Float[Tensor, "n context row"], Float[Tensor, "n row"]]:
        cosines = cosines_of(contexts.vectors, queries, contexts.rows)
        return self.found(cosines, _gram(contexts.vectors), contexts.mask, lengths)

    def found(
        self,
        cosines: Float[Tensor, "n context row"],
        gram: Float[Tensor, "n context context"],
        mask: Bool[Tensor, "n context"] | None,
        lengths: Sequence[int],
    ) -> tuple[Float[Tensor, "n context row"], Float[Tensor, "n row"]]:
        """Where queries of these lengths look, one after another, and how well found; differentiable."""
        if self.normalize in ("none", "clipped"):
            logits = _normalized(cosines[:, :, None], None, self.normalize).squeeze(2)
        else:
            logits = torch.cat(list(self._normalized_runs(cosines, lengths)), 2)
        return self._blend(cosines, logits, gram, mask)

    def _normalized_runs(self, cosines: Tensor, lengths: Sequence[int]) -> Iterator[Tensor]:
        row = 0
        for count, length in runs(lengths):
            one_length = cosines[:, :, row : row + count * length].reshape(*cosines.shape[:2], count, length)
            yield _normalized(one_length, None, self.normalize).flatten(2)
            row += count * length

    def _blend(
        self,
        cosines: Float[Tensor, "n context row"],
        logits: Float[Tensor, "n context row"],
        gram: Float[Tensor, "n context context"],
        mask: Bool[Tensor, "n context"] | None,
    ) -> tuple[Float[Tensor, "n context row"], Float[Tensor, "n row"]]:
        logits = logits / self.temperature
        if mask is not None:
            logits = logits.masked_fill(~mask[..., None], -float("inf"))
        shares = logits.softmax(1)
        square = (shares * torch.bmm(gram, shares)).sum(1)
        return shares, (shares * cosines).sum(1) / square.clamp_min(EPSILON**2).sqrt()

    @property
    def _attention(self) -> Attention:
        return Attention(self.normalize, self.temperature)

    def fused_matches(
        self, contexts: PackedTexts, queries: PackedTexts, dtype: torch.dtype | None
    ) -> tuple[Tensor, None] | None:
        found = attention_values(contexts, queries, self._attention, dtype)
        return None if found is None else (found, None)

    def fused_scores(
        self,
        contexts: PackedTexts,
        queries: PackedTexts,
        dtype: torch.dtype | None,
        part: tuple[int, int] | None = None,
    ) -> Float[Tensor, "context query"] | None:
        if not can_fuse(contexts.items.vectors, contexts.lengths, queries.lengths):
            return None
        factors = torch.ones(queries.starts[-1], device=queries.device)
        if self.keeps_lengths:
            factors = self.per_query(factors, queries.rows(0, len(queries)))
        return attention_scores(contexts, queries, self._attention, self.pooling, factors, dtype, part)

    def found_error(self, dim: int) -> float:
        """An allowance many times above what is seen, not a proof: the attention has no useful bound."""
        return 4.0 * (dim + 8) * ROUNDING

    def gradients(
        self,
        contexts: PackedTexts,
        queries: PackedTexts,
        gradient: Float[Tensor, "context row"],
        places: Integer[Tensor, "context row"] | None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """The attention is computed again: all of it, or where few scores have a gradient, those pairs'."""
        pairs = _pairs_with_gradient(gradient, queries)
        if len(pairs) * 4 <= len(contexts) * len(queries):
            return _gradient_of_pairs(self, contexts, queries, gradient, pairs)
        fused = attention_gradients(contexts, queries, self._attention, gradient, self.memory_mb)
        if fused is not None:
            return fused
        return _gradient_of_all(self, contexts, queries, gradient)


def _gram(vectors: Float[Tensor, "n context dim"]) -> Float[Tensor, "n context context"]:
    vectors = vectors.float() if vectors.dtype in (torch.bfloat16, torch.float16) else vectors
    return torch.bmm(vectors, vectors.transpose(1, 2))


def _normalized(
    cosines: Float[Tensor, "n context text query"],
    mask: Bool[Tensor, "n 1 1 query"] | None,
    how: Normalize,
) -> Float[Tensor, "n context text query"]:
    """Per context element over the queries of each text."""
    if how == "softmax":
        return (cosines if mask is None else cosines.masked_fill(~mask, -float("inf"))).softmax(-1)
    values = F.leaky_relu(cosines, 0.1) if how.startswith("clipped") else cosines
    values = values if mask is None else values.masked_fill(~mask, 0)
    if how.endswith("l2"):
        length: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        return values / (length + EPSILON)
    if how.endswith("l1"):
        return values / (values.abs().sum(-1, keepdim=True) + EPSILON)
    return values


def _gradient_of_all(
    similarity: CrossAttention,
    contexts: PackedTexts,
    queries: PackedTexts,
    gradient: Float[Tensor, "context row"],
) -> tuple[Tensor, Tensor]:
    """Block by block: the cosines again, autograd through what is pointwise in them, two products back."""
    totals = torch.zeros_like(contexts.items.vectors), torch.zeros_like(queries.items.vectors)
    query_units = queries.unit_rows(0, len(queries))
    for_queries = torch.zeros_like(query_units)
    most = similarity.cosines_at_once(query_units.device) // 3
    for start, stop in contexts.pieces(similarity.context_rows(query_units.device)):
        vectors, mask, _ = similarity.stack(contexts, start, stop)
        gram, flat = _gram(vectors), vectors.flatten(0, 1)
        for_gram, for_flat = torch.zeros_like(gram), torch.zeros_like(flat)
        for rows, lengths in query_blocks(queries, most // len(flat)):
            cosines = cosines_of(vectors, query_units[rows]).requires_grad_()
            with torch.enable_grad():
                _, found = similarity.found(cosines, gram.requires_grad_(), mask, lengths)
            back, also = torch.autograd.grad(found, (cosines, gram), gradient[start:stop, rows])
            back = back.flatten(0, 1)
            for_gram += also
            for_queries[rows] += torch.mm(back.T, flat)
            for_flat += torch.mm(back, query_units[rows])
        for_flat += torch.bmm(for_gram + for_gram.transpose(1, 2), vectors).flatten(0, 1)
        where, _ = stack_rows(contexts.lengths[start:stop], query_units.device)
        for_rows = query_units.new_zeros(contexts.starts[stop] - contexts.starts[start], query_units.shape[1])
        contexts.add_gradient(totals[0], start, stop, for_rows.index_add_(0, where.flatten(), for_flat))
    queries.add_gradient(totals[1], 0, len(queries), for_queries)
    return totals


def _gradient_of_pairs(
    similarity: CrossAttention,
    contexts: PackedTexts,
    queries: PackedTexts,
    gradient: Float[Tensor, "context row"],
    pairs: Int[Tensor, "pair 2"],
) -> tuple[Tensor, Tensor]:
    """Only the pairs whose score counts, gathered."""
    context_units, query_units = (side.unit_rows(0, len(side)) for side in (contexts, queries))
    for_contexts, for_queries = torch.zeros_like(context_units), torch.zeros_like(query_units)
    widest = contexts.lengths[-1] + queries.lengths[-1]
    at_once = max(1, similarity.rows_at_once(contexts) // (3 * widest))
    for start in range(0, len(pairs), at_once):  # no pair at all where a hinge loss is met everywhere
        some = pairs[start : start + at_once]
        context_rows, context_mask = _rows_of(contexts, some[:, 0])
        query_rows, query_mask = _rows_of(queries, some[:, 1])
        vectors = context_units[context_rows].requires_grad_()
        words = query_units[query_rows].requires_grad_()
        with torch.enable_grad():
            cosines = torch.bmm(vectors, words.transpose(1, 2))
            _, found = similarity.attend_pairs(cosines, vectors, context_mask, query_mask)
        arriving = gradient[some[:, :1], query_rows].masked_fill(~query_mask, 0)
        for_vectors, for_words = torch.autograd.grad(found, (vectors, words), arriving)
        for_contexts.index_add_(0, context_rows.flatten(), for_vectors.flatten(0, 1))
        for_queries.index_add_(0, query_rows.flatten(), for_words.flatten(0, 1))
    totals = torch.zeros_like(contexts.items.vectors), torch.zeros_like(queries.items.vectors)
    contexts.add_gradient(totals[0], 0, len(contexts), for_contexts)
    queries.add_gradient(totals[1], 0, len(queries), for_queries)
    return totals


def _pairs_with_gradient(
    gradient: Float[Tensor, "context row"], queries: PackedTexts
) -> Int[Tensor, "pair 2"]:
    row, parts = 0, []
    for count, length in runs(queries.lengths):
        values = gradient[:, row : row + count * length].reshape(len(gradient), count, length)
        parts.append(values.ne(0).any(2))
        row += count * length
    return torch.cat(parts, 1).T.nonzero().flip(1)  # by query, so that neighbours are of about one length


def _rows_of(
    side: PackedTexts, members: Int[Tensor, " pair"]
) -> tuple[Int[Tensor, "pair item"], Bool[Tensor, "pair item"]]:
    starts = torch.tensor(side.starts, device=members.device)
    length = (starts[members + 1] - starts[members])[:, None]
    item = torch.arange(int(length.max()), device=members.device)
    return starts[members][:, None] + torch.minimum(item, length - 1), item < length
