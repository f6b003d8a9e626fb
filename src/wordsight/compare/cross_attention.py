"""Soft alignment: every word blends the regions it resembles, or every region the words (SCAN, CHAN)."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from wordsight.compare.blocks import SeekingSimilarity, Stack, cosines_of
from wordsight.compare.by_length import EPSILON, ByLength, runs, stack_rows, stacked
from wordsight.compare.gemm import product
from wordsight.compare.pooling import ROUNDING, Pooling
from wordsight.compare.similarity import Seeker

Normalize: TypeAlias = Literal["none", "l2", "clipped_l2", "l1", "clipped_l1", "clipped", "softmax"]


class CrossAttention(SeekingSimilarity):
    """share = softmax over the context of (normalized cosine / temperature); found = cos(query, its blend).

    ``normalize`` is SCAN's ``raw_feature_norm``, per context element over the queries; ``temperature`` is
    1 / its ``lambda_softmax``. SCAN t-i: ``seeker="word"``, 1/9, "clipped_l2"; i-t: ``"region"``, 1/4.
    CHAN's VSA as its code has it: ``seeker="region", normalize="none"`` and alpha as the temperature; its
    author's later TSA: ``seeker="region"``, "clipped_l2".

    No blend is ever made: cos(query, blend) = (share . cosines) / sqrt(share' Gram share), where Gram holds
    the products of the context's items with each other. In training, the backward pass computes the attention
    again, of the pairs whose score has a gradient.
    """

    copies = 8

    def __init__(
        self,
        seeker: Seeker = "word",
        temperature: float = 1 / 9,
        normalize: Normalize = "clipped_l2",
        pooling: str | dict[str, Any] | Pooling = "mean",
        memory_mb: float = 64.0,
    ):
        super().__init__(seeker, pooling, memory_mb)
        if not temperature > 0:
            raise ValueError(f"temperature = {temperature}; it must be above 0, e.g. 0.111 (SCAN's lambda 9)")
        if normalize not in get_args(Normalize):
            raise ValueError(f'normalize = "{normalize}"; expected one of {", ".join(get_args(Normalize))}')
        self.temperature, self.normalize = temperature, normalize

    def attend(
        self,
        cosines: Float[Tensor, "pair context query"],
        contexts: Float[Tensor, "pair context dim"],
        context_mask: Bool[Tensor, "pair context"],
        query_mask: Bool[Tensor, "pair query"],
    ) -> tuple[Float[Tensor, "pair context query"], Float[Tensor, "pair query"]]:
        logits = _normalized(cosines[:, :, None], query_mask[:, None, None], self.normalize).squeeze(2)
        return self._blend(cosines, logits, torch.bmm(contexts, contexts.transpose(1, 2)), context_mask)

    def find(
        self, contexts: Stack, queries: Float[Tensor, "row dim"], lengths: Sequence[int]
    ) -> Float[Tensor, "context row"]:
        cosines = cosines_of(contexts.vectors, queries)
        return self.found(cosines, _gram(contexts.vectors), contexts.mask, lengths)

    def found(
        self,
        cosines: Float[Tensor, "n context row"],
        gram: Float[Tensor, "n context context"],
        mask: Bool[Tensor, "n context"] | None,
        lengths: Sequence[int],
    ) -> Float[Tensor, "n row"]:
        """For queries of these lengths one after another; differentiable."""
        if self.normalize in ("none", "clipped"):
            logits = _normalized(cosines[:, :, None], None, self.normalize).squeeze(2)
        else:
            logits = torch.cat(list(self._normalized_runs(cosines, lengths)), 2)
        return self._blend(cosines, logits, gram, mask)[1]

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

    def found_error(self, dim: int) -> float:
        """An allowance many times above what is seen, not a proof: the attention has no useful bound."""
        return 4.0 * (dim + 8) * ROUNDING

    def find_with_gradient(
        self, contexts: ByLength, queries: ByLength, dtype: torch.dtype | None
    ) -> Float[Tensor, "context row"]:
        looked_at, looking = contexts.unit_rows(0, len(contexts)), queries.unit_rows(0, len(queries))
        found: Tensor = _Attended.apply(  # type: ignore[no-untyped-call]
            looked_at, looking, self, contexts, queries, dtype
        )
        return found


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


class _Attended(torch.autograd.Function):
    """(rows of contexts, rows of queries) -> how well each query is found in each context; keeps no more."""

    @staticmethod
    def forward(
        ctx: Any,
        looked_at: Float[Tensor, "context_row dim"],
        looking: Float[Tensor, "query_row dim"],
        similarity: CrossAttention,
        contexts: ByLength,
        queries: ByLength,
        dtype: torch.dtype | None,
    ) -> Float[Tensor, "context query_row"]:
        ctx.save_for_backward(looked_at, looking)
        ctx.similarity, ctx.contexts, ctx.queries, ctx.dtype = similarity, contexts, queries, dtype
        found = looking.new_empty(len(contexts), len(looking))
        for stack, members, rows, lengths in _blocks(ctx, looked_at, 1):
            found[members, rows] = similarity.find(
                Stack(stack.vectors.to(dtype), stack.mask), looking[rows].to(dtype), lengths
            )
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "context query_row"]
    ) -> tuple[Tensor, Tensor, None, None, None, None]:
        looked_at, looking = ctx.saved_tensors
        pairs = _pairs_with_gradient(gradient, ctx.queries)
        with torch.autocast(looking.device.type, enabled=False):
            if len(pairs) * 4 <= len(ctx.contexts) * len(ctx.queries):
                both = _gradient_of_pairs(ctx, looked_at, looking, gradient, pairs)
            else:
                both = _gradient_of_all(ctx, looked_at, looking, gradient)
        return *both, None, None, None, None


def _blocks(ctx: Any, looked_at: Tensor, share: int) -> Iterator[tuple[Stack, slice, slice, Sequence[int]]]:
    """Contexts with queries, in blocks of a stated share of the budget."""
    contexts, queries = ctx.contexts, ctx.queries
    most = ctx.similarity.cosines_at_once(looked_at.device) // share
    for start, stop in contexts.pieces(ctx.similarity.context_rows(looked_at.device)):
        rows = looked_at[contexts.starts[start] : contexts.starts[stop]]
        stack = Stack(*stacked(rows, contexts.lengths[start:stop]))
        for a, b in queries.pieces(max(1, most // stack.vectors.shape[:2].numel())):
            yield stack, slice(start, stop), slice(queries.starts[a], queries.starts[b]), queries.lengths[a:b]


def _gradient_of_all(ctx: Any, looked_at: Tensor, looking: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Block by block: the cosines again, autograd through what is pointwise in them, two products back."""
    for_contexts, for_queries = torch.zeros_like(looked_at), torch.zeros_like(looking)
    contexts = ctx.contexts
    for stack, members, rows, lengths in _blocks(ctx, looked_at, 3):
        vectors, mask = stack
        cosines = cosines_of(vectors, looking[rows])
        cosines, gram = cosines.requires_grad_(), _gram(vectors).requires_grad_()
        with torch.enable_grad():
            found = ctx.similarity.found(cosines, gram, mask, lengths)
        for_cosines, for_gram = torch.autograd.grad(found, (cosines, gram), gradient[members, rows])
        flat = for_cosines.flatten(0, 1)
        for_queries[rows] += product(flat.T.contiguous(), vectors.flatten(0, 1).T.contiguous())
        for_vectors = product(flat, looking[rows].T.contiguous()).view_as(vectors)
        for_vectors += torch.bmm(for_gram + for_gram.transpose(1, 2), vectors)
        where, _ = stack_rows(contexts.lengths[members], looking.device)
        own = slice(contexts.starts[members.start], contexts.starts[members.stop])
        for_contexts[own].index_add_(0, where.flatten(), for_vectors.flatten(0, 1))
    return for_contexts, for_queries


def _gradient_of_pairs(
    ctx: Any, looked_at: Tensor, looking: Tensor, gradient: Tensor, pairs: Int[Tensor, "pair 2"]
) -> tuple[Tensor, Tensor]:
    """Only the pairs whose score counts, gathered."""
    for_contexts, for_queries = torch.zeros_like(looked_at), torch.zeros_like(looking)
    widest = ctx.contexts.lengths[-1] + ctx.queries.lengths[-1]
    budget = ctx.similarity.memory_mb * 2**20 / 2 / looking.element_size()
    for some in torch.split(pairs, max(1, int(budget / (3 * widest * looking.shape[1])))):
        context_rows, context_mask = _rows_of(ctx.contexts, some[:, 0])
        query_rows, query_mask = _rows_of(ctx.queries, some[:, 1])
        vectors = looked_at[context_rows].requires_grad_()
        queries = looking[query_rows].requires_grad_()
        with torch.enable_grad():
            cosines = torch.bmm(vectors, queries.transpose(1, 2))
            _, found = ctx.similarity.attend(cosines, vectors, context_mask, query_mask)
        arriving = gradient[some[:, :1], query_rows].masked_fill(~query_mask, 0)
        for_vectors, for_words = torch.autograd.grad(found, (vectors, queries), arriving)
        for_contexts.index_add_(0, context_rows.flatten(), for_vectors.flatten(0, 1))
        for_queries.index_add_(0, query_rows.flatten(), for_words.flatten(0, 1))
    return for_contexts, for_queries


def _pairs_with_gradient(gradient: Float[Tensor, "context row"], queries: ByLength) -> Int[Tensor, "pair 2"]:
    row, parts = 0, []
    for count, length in runs(queries.lengths):
        values = gradient[:, row : row + count * length].reshape(len(gradient), count, length)
        parts.append(values.ne(0).any(2))
        row += count * length
    return torch.cat(parts, 1).T.nonzero().flip(1)  # by query, so that neighbours are of about one length


def _rows_of(
    side: ByLength, members: Int[Tensor, " pair"]
) -> tuple[Int[Tensor, "pair item"], Bool[Tensor, "pair item"]]:
    starts = torch.tensor(side.starts, device=members.device)
    length = (starts[members + 1] - starts[members])[:, None]
    item = torch.arange(int(length.max()), device=members.device)
    return starts[members][:, None] + torch.minimum(item, length - 1), item < length
