"""Every context with every query, in blocks under a memory budget: what the similarities share."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from jaxtyping import Bool, Float, Integer

from wordsight.errors import InputError
from wordsight.registry import build
from wordsight.runtime.device import block_mb, on_gpu
from wordsight.runtime.halving import Halving
from wordsight.sets import EmbeddingSet, UnitSet
from wordsight.similarity.base import Alignment, AttentionDirection, Similarity
from wordsight.similarity.kernels.best_matches import QueryMatches
from wordsight.similarity.kernels.blocks import CACHED_COSINES, Chunk, Stack, pooled
from wordsight.similarity.kernels.few_shapes import column_size, full_columns
from wordsight.similarity.kernels.packed import PackedTexts, masked_unit, stacked, unscaled
from wordsight.similarity.pooling import Pooling
from wordsight.tensors import Tensor, torch

NUMBERS_AT_ONCE = 1 << 20  # of the contexts in a block that few queries attend to


class AttentionSimilarity(Similarity):
    """Every query (a word, or a region) attends to the context; pooling adds up what each finds.

    ``memory_mb`` bounds what a forward pass without gradients needs in addition to its input and its
    scores, and what a block of cosines needs in training; one image with one text is the smallest block.
    ``normalize_images``, ``normalize_texts``: False leaves the vectors of that side at their lengths, so that
    a "cosine" is a dot product (``no_imgnorm`` and ``no_txtnorm`` of SCAN, CHAN and CASC).
    """

    copies = 2  # how many tensors of a block's size are alive at once

    def __init__(
        self,
        direction: AttentionDirection,
        pooling: str | dict[str, Any] | Pooling,
        memory_mb: float,
        normalize_images: bool,
        normalize_texts: bool,
    ):
        super().__init__()
        if direction not in ("word", "region"):
            raise InputError(f'direction = "{direction}"; expected "word" or "region"')
        if not memory_mb > 0:
            raise InputError(f"memory_mb = {memory_mb}; blocks need some memory, e.g. 64")
        self.direction: AttentionDirection = direction
        table = {"name": pooling} if isinstance(pooling, str) else pooling
        self.pooling: Pooling = table if isinstance(table, Pooling) else build("pooling", table)
        self.memory_mb = memory_mb
        self.normalize_images, self.normalize_texts = normalize_images, normalize_texts
        self.halving = Halving("vectors of a block of scores")

    @property
    def prepares(self) -> tuple[bool, bool]:
        """Whether images, and texts, are scaled to length 1."""
        return self.normalize_images, self.normalize_texts

    @property
    def keeps_lengths(self) -> bool:
        """Whether the length of any vector changes a score."""
        return not all(self.prepares)

    def prepare(self, images: EmbeddingSet, texts: EmbeddingSet) -> tuple[EmbeddingSet, EmbeddingSet]:
        """Both sets; one whose lengths count as a UnitSet, which nothing scales."""
        return (
            images if self.normalize_images else unscaled(images),
            texts if self.normalize_texts else unscaled(texts),
        )

    def per_query(
        self,
        found: Float[Tensor, "*n query"],
        queries: Float[Tensor, "*m query dim"],  # noqa: ARG002
    ) -> Float[Tensor, "*n query"]:
        """The value that pooling takes for each query, from that of ``best_match`` or ``attend_pairs``."""
        return found

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        contexts, queries = self.sides(images, texts)
        dtype = _product_dtype(contexts.device)
        with torch.autocast(contexts.device.type, enabled=False):
            learned = (contexts.items.vectors, queries.items.vectors, *self.parameters())
            if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in learned):
                scores = self._scores_with_gradient(contexts, queries, dtype)
            else:
                scores = self._scores(contexts, queries, dtype)
        return scores if self.direction == "word" else scores.T

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        with torch.autocast(images.device.type, enabled=False):
            _, shares, found = self._attended(images, texts)
            queries = texts if self.direction == "word" else images
            return [Alignment(self.direction, shares, found, self.pooling(found, queries.mask))]

    def attended_mean(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "pair dim"]:
        """The context as its queries attend to it: unit vectors, blended for each query, averaged.

        The shares are averaged first, so that no query's own blend is ever made. Differentiable.
        """
        with torch.autocast(images.device.type, enabled=False):
            context_units, shares, _ = self._attended(images, texts)
            queries = texts if self.direction == "word" else images
            return torch.bmm((shares.sum(2) / queries.lengths[:, None])[:, None], context_units).squeeze(1)

    def _attended(
        self, images: EmbeddingSet, texts: EmbeddingSet
    ) -> tuple[
        Float[Tensor, "pair context dim"], Float[Tensor, "pair context query"], Float[Tensor, "pair query"]
    ]:
        """The unit vectors of the contexts, and what ``attend_pairs`` says of them, with 0 for padding."""
        images, texts = self.prepare(images, texts)
        contexts, queries = (images, texts) if self.direction == "word" else (texts, images)
        context_units, query_units = masked_unit(contexts), masked_unit(queries)
        cosines = torch.bmm(context_units, query_units.transpose(1, 2))
        shares, found = self.attend_pairs(cosines, context_units, contexts.mask, queries.mask)
        shares = shares.masked_fill(~queries.mask[:, None], 0)
        return context_units, shares, self.per_query(found, query_units).masked_fill(~queries.mask, 0)

    @torch.no_grad()
    def words_found(self, images: EmbeddingSet, text: EmbeddingSet) -> Float[Tensor, "image word"] | None:
        if self.direction != "word":
            return None
        contexts, queries = self.sides(images, text)
        kind = torch.promote_types(images.vectors.dtype, torch.float32)
        found = torch.zeros(len(images), text.mask.shape[1], dtype=kind, device=images.device)
        real, query_units = text.mask[0].nonzero().flatten(), queries.unit_rows(0, 1)
        for start, stop in contexts.pieces(self._rows_for(contexts, len(query_units))):
            of_block = self.best_match(self.stack(contexts, start, stop), query_units, queries.lengths)
            found[contexts.order[start:stop, None], real] = self.per_query(of_block, query_units)
        return found

    def sides(self, images: EmbeddingSet, texts: EmbeddingSet) -> tuple[PackedTexts, PackedTexts]:
        """The contexts and the queries, packed."""
        images, texts = self.prepare(images, texts)
        by_length = PackedTexts(images, "image"), PackedTexts(texts, "text")
        return by_length if self.direction == "word" else by_length[::-1]

    def attend_pairs(
        self,
        cosines: Float[Tensor, "pair context query"],
        contexts: Float[Tensor, "pair context dim"],
        context_mask: Bool[Tensor, "pair context"],
        query_mask: Bool[Tensor, "pair query"],
    ) -> tuple[Float[Tensor, "pair context query"], Float[Tensor, "pair query"]]:
        """Attention of each query of a pair over its context, and how well the query is found."""
        raise NotImplementedError

    def best_match(
        self, contexts: Stack, queries: Float[Tensor, "row dim"], lengths: Sequence[int]
    ) -> Float[Tensor, "context row"]:
        """How well each query is found in each context, for queries of these lengths one after another."""
        return self.attend(contexts, queries, lengths)[1]

    def attend(
        self, contexts: Stack, queries: Float[Tensor, "row dim"], lengths: Sequence[int]
    ) -> tuple[Float[Tensor, "n context row"], Float[Tensor, "n row"]]:
        """Attention of each query over each context, and how well the query is found."""
        raise NotImplementedError

    def place_dtype(self, contexts: PackedTexts) -> torch.dtype | None:  # noqa: ARG002
        """The type of the places that the backward pass needs; None if it needs none."""
        return None

    def fused_matches(
        self,
        contexts: PackedTexts,  # noqa: ARG002
        queries: PackedTexts,  # noqa: ARG002
        dtype: torch.dtype | None,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "n row"], Integer[Tensor, "n row"] | None] | None:
        """How well each query is found, and where (for ``gradients``), by one program; None: by blocks."""
        return None

    def fused_scores(
        self,
        contexts: PackedTexts,  # noqa: ARG002
        queries: PackedTexts,  # noqa: ARG002
        dtype: torch.dtype | None,  # noqa: ARG002
        part: tuple[int, int] | None = None,  # noqa: ARG002
    ) -> Float[Tensor, "context query"] | None:
        """All scores by one program, without a gradient, in the sets' order; None: by blocks.

        ``part``: of the contexts from the first number to before the second, in packed order.
        """
        return None

    def best_match_with_places(
        self,
        contexts: Stack,
        queries: Float[Tensor, "row dim"],
        lengths: Sequence[int],
        dtype: torch.dtype,
    ) -> tuple[Float[Tensor, "n row"], Integer[Tensor, "n row"]]:
        """How well each query is found, and where: the backward pass needs the place."""
        raise NotImplementedError

    def gradients(
        self,
        contexts: PackedTexts,
        queries: PackedTexts,
        gradient: Float[Tensor, "context row"],
        places: Integer[Tensor, "context row"] | None,
    ) -> tuple[Tensor, Tensor]:
        """From the gradient of what was found to those of both sets' vectors."""
        raise NotImplementedError

    def found_error(self, dim: int) -> float:
        """Largest error of a float32 ``best_match``, for unit vectors of so many numbers."""
        raise NotImplementedError

    def chunks(self, queries: PackedTexts, dtype: torch.dtype | None = None) -> Iterator[Chunk]:
        """All queries, some at a time; ``dtype`` is that of the products."""
        for first, last in queries.pieces(self.rows_at_once(queries)):
            yield Chunk(queries.unit_rows(first, last).to(dtype), first, last)

    def rows_at_once(self, side: PackedTexts) -> int:
        """As many as a third of the budget holds."""
        bytes_per_row = side.items.dim * max(4, side.items.vectors.element_size())
        return max(1, int(block_mb(self.memory_mb, side.device) * 2**20 / 3 / bytes_per_row))

    def stack(self, contexts: PackedTexts, start: int, stop: int, dtype: torch.dtype | None = None) -> Stack:
        return Stack(*stacked(contexts.unit_rows(start, stop).to(dtype), contexts.lengths[start:stop]))

    def scores_of(self, stack: Stack, chunk: Chunk, queries: PackedTexts) -> Float[Tensor, "context query"]:
        most = self.cosines_at_once(stack.vectors.device) // prod(stack.vectors.shape[:2])
        stack, scores = stack.for_many(len(chunk.vectors)), []
        for start, stop in queries.packed_pieces(full_columns(most), chunk.first, chunk.last):
            before = queries.starts[chunk.first]
            rows = chunk.vectors[queries.starts[start] - before : queries.starts[stop] - before]
            lengths = queries.lengths[start:stop]
            found = self.per_query(self.best_match(stack, rows, lengths), rows)
            scores.append(pooled(self.pooling, found, lengths))
        return torch.cat(scores, 1)

    def blocks_of(
        self,
        contexts: PackedTexts,
        start: int,
        stop: int,
        chunk: Chunk,
        queries: PackedTexts,
        dtype: torch.dtype | None,
    ) -> Iterator[tuple[int, int, Float[Tensor, "context query"]]]:
        """Scores of some contexts with a chunk: together, or in parts where the memory is too small."""
        parts: list[tuple[int, int, Tensor]] = []

        def score(a: int, b: int) -> None:
            parts.append((a, b, self.scores_of(self.stack(contexts, a, b, dtype), chunk, queries)))

        self.halving.run(score, start, stop)
        return iter(parts)

    def cosines_at_once(self, device: torch.device) -> int:
        """A block's size; half the budget is for what is packed."""
        most = int(block_mb(self.memory_mb, device) * 2**17 / self.copies)
        return most if on_gpu(device) else min(most, CACHED_COSINES)

    def context_rows(self, device: torch.device) -> int:
        """Context rows of a block, about twice as many as columns: 36 regions of 30 images, 500 words."""
        return max(1, int((2 * self.cosines_at_once(device)) ** 0.5))

    def _rows_for(self, contexts: PackedTexts, queries: int) -> int:
        """Context rows for a block of so many queries; few queries take larger blocks."""
        many = self.cosines_at_once(contexts.device) // column_size(queries)
        if not isinstance(contexts.items, UnitSet):  # the rows are copied
            many = min(many, self.rows_at_once(contexts), NUMBERS_AT_ONCE // contexts.items.dim)
        return max(many, self.context_rows(contexts.device))

    @torch.no_grad()
    def _scores(self, contexts: PackedTexts, queries: PackedTexts, dtype: torch.dtype | None) -> Tensor:
        fused = self.fused_scores(contexts, queries, dtype)
        if fused is not None:
            return fused
        kind = torch.promote_types(contexts.items.vectors.dtype, torch.float32)
        scores = torch.empty(len(contexts), len(queries), dtype=kind, device=contexts.device)
        for chunk in self.chunks(queries, dtype):
            columns = queries.order[chunk.first : chunk.last]
            for start, stop in contexts.pieces(self._rows_for(contexts, len(chunk.vectors))):
                for a, b, block in self.blocks_of(contexts, start, stop, chunk, queries, dtype):
                    scores[contexts.order[a:b, None], columns] = block
        return scores

    def _scores_with_gradient(
        self, contexts: PackedTexts, queries: PackedTexts, dtype: torch.dtype | None
    ) -> Tensor:
        found: Tensor = QueryMatches.apply(  # type: ignore[no-untyped-call]
            contexts.items.vectors, queries.items.vectors, self, contexts, queries, dtype
        )
        if self.keeps_lengths:
            found = self.per_query(found, queries.rows(0, len(queries)))
        scores = pooled(self.pooling, found, queries.lengths)
        return scores[contexts.order.argsort()][:, queries.order.argsort()]


def _product_dtype(device: torch.device) -> torch.dtype | None:
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None
