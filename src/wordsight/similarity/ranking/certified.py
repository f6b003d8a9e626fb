"""Scores with bounded errors -> counts of who comes before the best match; what is open is scored again."""

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeAlias

from jaxtyping import Float, Int

from wordsight.runtime.halving import Halving
from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels.blocks import Chunk, Stack, pooled
from wordsight.similarity.kernels.blockwise import AttentionSimilarity
from wordsight.similarity.kernels.int8 import (
    Quantized,
    Queries,
    Worst,
    best_of_int8,
    cosine_error,
    pack,
    quantize_each,
    quantize_together,
    worst_of,
)
from wordsight.similarity.kernels.integer_product import IntegerProduct
from wordsight.similarity.kernels.packed import make_unit
from wordsight.similarity.ranking.count import BestMatches, Ties
from wordsight.similarity.ranking.fused_screen import Screen, contexts_at_once, fused_screen, pair_scores
from wordsight.similarity.ranking.sides import Open, Side, by_context
from wordsight.tensors import Tensor, torch

Progress: TypeAlias = Callable[[int, int], None]

TOO_MANY = 0.3  # of a strip's pairs left open by int8: scoring all of it again is cheaper than gathering them
ROWS_AT_ONCE = 1024  # vectors to quantize, images to compare by name


class IntegerChunk(NamedTuple):
    """The queries of a chunk in int8, packed in pieces for the products with every block of contexts."""

    pieces: list[Queries]
    worst: Worst


class Ranking:
    """All pairs of two sets, screened in blocks; with ``integers`` first.

    They are given up when ``patience`` blocks in a row leave too much open.
    """

    def __init__(
        self,
        similarity: AttentionSimilarity,
        images: EmbeddingSet,
        texts: EmbeddingSet,
        best: BestMatches,
        ties: Ties,
        integers: IntegerProduct | None,
        patience: int,
        progress: Progress | None,
    ):
        self.similarity, self.best, self.ties, self.progress = similarity, best, ties, progress
        self.contexts, self.queries = similarity.sides(images, texts)
        self.by_word = similarity.direction == "word"
        self.integers, self.patience, self.failed = integers, patience, 0
        identities = best.image_identities, best.text_identities
        sides = (self.contexts, self.queries) if self.by_word else (self.queries, self.contexts)
        names = [ids.to(side.device)[side.order] for ids, side in zip(identities, sides, strict=True)]
        self.context_names, self.query_names = names if self.by_word else names[::-1]
        each = torch.tensor(similarity.found_error(images.dim))
        self.error = float(similarity.pooling.error(each, self.queries.lengths[-1]))
        self.fused = fused_screen(similarity, self.contexts, self.queries, self.error)
        self.equal = best.equal = 2 * self.error * 2.0**-29  # float64 rounds 2^29 times finer
        self.quantized: dict[int, Quantized] = {}

    def run(self) -> tuple[Int[Tensor, " image"], Int[Tensor, " text"]]:
        self._find_best_matches()
        for_images = self.best.image_scores, self.best.image_places
        for_texts = self.best.text_scores, self.best.text_places
        of_contexts, of_queries = (for_images, for_texts) if self.by_word else (for_texts, for_images)
        self.context_side = Side(*of_contexts, self.contexts.order)
        self.query_side = Side(*of_queries, self.queries.order)
        leftover = [open_ for open_ in self._screen() if len(open_.context)]
        if leftover:
            self._settle_exactly(Open(*map(torch.cat, zip(*leftover, strict=True))))
        ranks = self.context_side.ranks(), self.query_side.ranks()
        return ranks if self.by_word else ranks[::-1]

    def _find_best_matches(self) -> None:
        for start in range(0, len(self.contexts), ROWS_AT_ONCE):
            belong = self.context_names[start : start + ROWS_AT_ONCE, None] == self.query_names
            context, query = belong.nonzero(as_tuple=True)
            context += start
            scores = self._exact(context, query)
            numbers = self.contexts.order[context].cpu(), self.queries.order[query].cpu()
            self.best.add(*(numbers if self.by_word else numbers[::-1]), scores.cpu())

    def _screen(self) -> Iterator[Open]:
        """Every pair once; what is left open after float32."""
        similarity, contexts, queries = self.similarity, self.contexts, self.queries
        first = 0
        if self.fused is not None:
            first = yield from self._by_programs(self.fused)
        done, every = first * len(queries), len(contexts) * len(queries)
        for chunk in similarity.chunks(queries, torch.float32):
            in_integers = self._quantize_queries(chunk, self.integers) if self.integers else None
            for start, stop in contexts.pieces(similarity.context_rows(contexts.device), first):
                if in_integers is not None and self.integers is not None:
                    yield from self._by_integers(start, stop, chunk, in_integers, self.integers)
                else:
                    yield from self._by_floats(start, stop, chunk)
                done += (stop - start) * (chunk.last - chunk.first)
                if self.progress:
                    self.progress(done, every)

    def _by_floats(self, start: int, stop: int, chunk: Chunk) -> Iterator[Open]:
        blocks = self.similarity.blocks_of(self.contexts, start, stop, chunk, self.queries, torch.float32)
        for first, _, scores in blocks:
            yield self._count(scores, torch.tensor(self.error, device=scores.device), first, chunk)

    def _by_programs(self, screen: Screen) -> Generator[Open, None, int]:
        """A GPU's program first; what it leaves open in float32, many pairs at a time.

        Returns how many contexts that were: fewer than all where the GPU does not take the program.
        """
        chunk, done = Chunk(self.queries.items.vectors[:0, 0], 0, len(self.queries)), 0
        found: list[Open] = []

        def count_some(start: int, stop: int) -> None:
            nonlocal done
            block = screen(start, stop) if done == start else None
            if block is not None:
                found.append(self._count(block.scores, block.error, start, chunk))
                done = stop

        halving, most = (
            Halving("contexts of a block of scores"),
            contexts_at_once(self.contexts, self.queries),
        )
        for first in range(0, len(self.contexts), most):
            halving.run(count_some, first, min(len(self.contexts), first + most))
            for open_ in found:
                yield self._count_again(open_, chunk)
            found.clear()
            if self.progress:
                self.progress(done * len(self.queries), len(self.contexts) * len(self.queries))
        return done

    def _by_integers(
        self, start: int, stop: int, chunk: Chunk, queries: IntegerChunk, integers: IntegerProduct
    ) -> Iterator[Open]:
        """int8 first; what it leaves open again in float32, all of it or pair by pair."""
        contexts = self._quantize_contexts(start, stop, integers)
        found = torch.cat([best_of_int8(contexts, piece, integers) for piece in queries.pieces], 1)
        scores = pooled(self.similarity.pooling, found, self.queries.lengths[chunk.first : chunk.last])
        each = cosine_error(contexts, queries.worst)
        error = self.similarity.pooling.error(each, self.queries.lengths[chunk.last - 1])
        before = [(side.count, side.count.clone()) for side in (self.context_side, self.query_side)]
        open_ = self._count(scores, error, start, chunk)
        if len(open_.context) <= TOO_MANY * scores.numel():
            self.failed = 0
            yield self._count_again(open_, chunk)
            return
        self.failed += 1
        if self.failed >= self.patience:
            self.integers = None
        for count, old in before:
            count.copy_(old)
        yield from self._by_floats(start, stop, chunk)

    def _quantize_queries(self, chunk: Chunk, integers: IntegerProduct) -> IntegerChunk:
        parts = [quantize_each(some) for some in torch.split(chunk.vectors, ROWS_AT_ONCE)]
        words = Quantized(*map(torch.cat, zip(*parts, strict=True)))
        block = max(self.similarity.context_rows(words.scale.device), self.contexts.lengths[-1])
        most, starts = self.similarity.cosines_at_once(words.scale.device) // block, self.queries.starts
        pieces = [
            pack(
                words,
                slice(starts[start] - starts[chunk.first], starts[stop] - starts[chunk.first]),
                integers,
            )
            for start, stop in self.queries.pieces(max(1, most), chunk.first, chunk.last)
        ]
        return IntegerChunk(pieces, worst_of(words, self.queries.lengths[chunk.first : chunk.last]))

    def _quantize_contexts(self, start: int, stop: int, integers: IntegerProduct) -> Quantized:
        """Kept for the next chunk of queries while all of them fit into the budget."""
        if start in self.quantized:
            return self.quantized[start]
        stack = self.similarity.stack(self.contexts, start, stop, torch.float32)
        made = quantize_together(stack.vectors, integers)
        if self.contexts.starts[-1] * made.values.shape[-1] <= self.similarity.memory_mb * 2**20:
            self.quantized[start] = made
        return made

    def _count(
        self,
        scores: Float[Tensor, "context query"],
        error: Float[Tensor, "*#block"],
        start: int,
        chunk: Chunk,
    ) -> Open:
        """Count the wrong items that certainly come before the best match; return what is not certain."""
        rows, columns = slice(start, start + len(scores)), slice(chunk.first, chunk.last)
        wrong = self.context_names[rows, None] != self.query_names[columns]
        low, high = scores - error.double() - self.equal, scores + error.double() + self.equal
        open_, counted = [], []
        for side, own, axis in ((self.context_side, rows, 1), (self.query_side, columns, 0)):
            best = side.best[own].unsqueeze(axis)
            before = wrong & (low > best)
            counted.append((side.count[own], before.sum(axis)))
            open_.append(wrong & (high >= best) & ~before)
        context, query = (open_[0] | open_[1]).nonzero(as_tuple=True)
        found = Open(context + start, query + chunk.first, *(side[context, query] for side in open_))
        for count, more in counted:  # last: what runs out of memory before has changed nothing
            count += more
        return found

    def _count_again(self, open_: Open, chunk: Chunk) -> Open:
        """Count single pairs again, in float32."""
        if not len(open_.context):
            return open_
        if self.fused is not None:
            pairs = open_.context, open_.query
            found = pair_scores(self.similarity, self.contexts, self.queries, pairs, torch.float32)
        else:
            found = torch.cat([self._scores_of_some(*some, chunk) for some in by_context(open_)])
        scores = found.double()
        still = []
        for side, own, concerned in self._sides_of(open_):
            before = concerned & (scores - self.error - self.equal > side.best[own])
            side.count.index_add_(0, own, before.long())
            still.append(concerned & (scores + self.error + self.equal >= side.best[own]) & ~before)
        keep = still[0] | still[1]
        return Open(open_.context[keep], open_.query[keep], still[0][keep], still[1][keep])

    def _settle_exactly(self, open_: Open) -> None:
        scores = self._exact(open_.context, open_.query)
        for side, own, concerned in self._sides_of(open_):
            other = open_.query if side is self.context_side else open_.context
            number = (self.queries if side is self.context_side else self.contexts).order[other]
            ahead = scores - side.best[own]
            tied = ahead.abs() <= self.equal
            loses = tied if self.ties == "pessimistic" else tied & (number > side.places[own])
            side.count.index_add_(0, own, (concerned & ((ahead > self.equal) | loses)).long())

    def _sides_of(self, open_: Open) -> tuple[tuple[Side, Tensor, Tensor], ...]:
        return (
            (self.context_side, open_.context, open_.for_context),
            (self.query_side, open_.query, open_.for_query),
        )

    def _scores_of_some(self, context: int, members: Tensor, chunk: Chunk) -> Float[Tensor, " pair"]:
        stack = self.similarity.stack(self.contexts, context, context + 1, torch.float32)
        rows = self.queries.places_of(members) - self.queries.starts[chunk.first]
        return self._scores(stack, chunk.vectors[rows], members)

    def _exact(self, context: Int[Tensor, " pair"], query: Int[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """In float64, by context and then by length, whatever the order of the pairs."""
        if self.fused is not None:
            return pair_scores(self.similarity, self.contexts, self.queries, (context, query), torch.float64)
        order = (context * len(self.queries) + query).argsort()
        nobody = torch.zeros_like(context, dtype=torch.bool)
        scores = torch.empty(len(context), dtype=torch.float64, device=context.device)
        parts = []
        for one, members in by_context(Open(context[order], query[order], nobody, nobody)):
            own = make_unit(self.contexts.rows(one, one + 1).double())
            query_units = make_unit(self.queries.rows_of(members).double())
            parts.append(self._scores(Stack(own[None], None), query_units, members))
        scores[order] = torch.cat(parts) if parts else scores
        return scores

    def _scores(self, stack: Stack, query_units: Tensor, members: Tensor) -> Float[Tensor, " pair"]:
        lengths = [self.queries.lengths[member] for member in members.tolist()]
        return pooled(
            self.similarity.pooling, self.similarity.best_match(stack, query_units, lengths), lengths
        )[0]
