"""Any similarity's float32 scores -> ranks; what is too close to call is scored again in float64."""

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from jaxtyping import Float, Int

from wordsight.runtime.halving import Halving
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity
from wordsight.similarity.pooling import ROUNDING
from wordsight.similarity.ranking.count import BestMatches, RankCounter, ScoreBlock, Ties, finite
from wordsight.tensors import Tensor, torch

Progress: TypeAlias = Callable[[int, int], None]

SCORES_AT_ONCE = 2**22
NUMBERS_AT_ONCE = 2**20  # of the vectors that are compared in float64
CAUTION = 16  # times the largest error seen


class Pairs(NamedTuple):
    """Images with texts, by row, and their scores in float64."""

    image: Int[Tensor, " pair"]
    text: Int[Tensor, " pair"]
    score: Float[Tensor, " pair"]


def rank_any(
    similarity: Similarity,
    images: EmbeddingSet,
    texts: EmbeddingSet,
    best: BestMatches,
    ties: Ties,
    progress: Progress | None = None,
) -> tuple[Int[Tensor, " image"], Int[Tensor, " text"]]:
    """Every pair once in float32; in float64 the matching pairs, and what comes near the best of them.

    How near is near, the errors of a block's matching pairs say, times 16: an allowance, not a proof.
    """
    exact = _Exact(similarity, images, texts)
    blocks = torch.split(torch.arange(len(images)), max(1, SCORES_AT_ONCE // len(texts)))
    right = [exact.matches(rows, best) for rows in blocks]
    largest = max(1.0, max(float(pairs.score.abs().max()) for pairs in right))
    best.equal = CAUTION * (images.dim + 8) * ROUNDING * 2.0**-29 * largest  # float64 rounds 2^29 times finer
    for pairs in right:
        best.add(*pairs)
    counter, every, halving = RankCounter(best, ties), torch.arange(len(texts)), Halving("images of a block")
    for rows, pairs in zip(blocks, right, strict=True):
        parts: list[Tensor] = []

        def score(start: int, stop: int, rows: Tensor = rows, parts: list[Tensor] = parts) -> None:
            some = rows[start:stop]
            parts.append(finite(ScoreBlock(some, every, similarity(images[some.to(images.device)], texts))))

        halving.run(score, 0, len(rows))
        scores = torch.cat(parts)
        error = float((scores[pairs.image - rows[0], pairs.text] - pairs.score).abs().max())
        near = _near(scores, rows, best, CAUTION * max(error, 8 * ROUNDING * largest))
        scores[near] = exact.scores(rows[near[0]], near[1])
        counter.count(ScoreBlock(rows, every, scores))
        if progress:
            progress((int(rows[-1]) + 1) * len(texts), len(images) * len(texts))
    return counter.image_ranks, counter.text_ranks


def _near(
    scores: Float[Tensor, "image text"], rows: Int[Tensor, " image"], best: BestMatches, error: float
) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """The wrong pairs, by place in the block, that may or may not come before the best match of either."""
    wrong = best.image_identities[rows][:, None] != best.text_identities
    near = (scores - best.image_scores[rows][:, None]).abs() <= error
    image, text = (wrong & (near | ((scores - best.text_scores).abs() <= error))).nonzero(as_tuple=True)
    return image, text


class _Exact:
    """Scores of chosen pairs in float64, independent of which pairs are scored together."""

    def __init__(self, similarity: Similarity, images: EmbeddingSet, texts: EmbeddingSet):
        self.similarity = copy.deepcopy(similarity).double()
        self.images, self.texts, self.halving = images, texts, Halving("pairs of a block")
        self.lengths = texts.lengths.cpu()

    def matches(self, rows: Int[Tensor, " image"], best: BestMatches) -> Pairs:
        image, text = (best.image_identities[rows][:, None] == best.text_identities).nonzero(as_tuple=True)
        return Pairs(rows[image], text, self.scores(rows[image], text))

    def scores(self, image: Int[Tensor, " pair"], text: Int[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        scores = torch.empty(len(image), dtype=torch.float64)
        for piece in self._pieces(text):

            def score(start: int, stop: int, piece: Tensor = piece) -> None:
                some = piece[start:stop]
                pair = self._double(self.images, image[some]), self._double(self.texts, text[some])
                parts = [one.score for one in self.similarity.align(*pair)]
                scores[some] = torch.stack(parts).sum(0).cpu()

            self.halving.run(score, 0, len(piece))
        return scores

    def _pieces(self, text: Int[Tensor, " pair"]) -> Iterator[Int[Tensor, " piece"]]:
        """Texts of about one length together: the short ones are not padded to the longest of all."""
        most_items = self.images.vectors.shape[1] + self.texts.vectors.shape[1]
        at_once = max(1, NUMBERS_AT_ONCE // (most_items * self.images.dim))
        by_length = self.lengths[text].argsort(stable=True)
        yield from torch.split(by_length, at_once) if len(text) else ()

    def _double(self, items: EmbeddingSet, rows: Int[Tensor, " pair"]) -> EmbeddingSet:
        chosen = items[rows.to(items.device)]
        width = int(chosen.mask.any(0).nonzero().max()) + 1
        return EmbeddingSet(chosen.vectors[:, :width].double(), chosen.mask[:, :width])
