"""Two directions -> one score: words look among regions, regions among words, and the two are averaged."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.registry import build
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment, AttentionDirection, Similarity
from wordsight.similarity.kernels.blockwise import AttentionSimilarity
from wordsight.tensors import Tensor, torch

DirectionTable: TypeAlias = str | Mapping[str, Any] | AttentionSimilarity


class BothWays(Similarity):
    """weight x (words look) + (1 - weight) x (regions look).

    ``words`` and ``regions`` are similarities that look, each by its name or its table; who looks need not be
    said again. The score of CASC is cross attention both ways, that of LAPS is ``max-sim`` with mean pooling
    both ways.
    """

    def __init__(
        self,
        words: DirectionTable = "cross-attention",
        regions: DirectionTable = "cross-attention",
        weight: float = 0.5,
    ):
        super().__init__()
        if not 0 < weight < 1:
            raise InputError(f"weight = {weight}, the share of the words; expected more than 0, less than 1")
        self.words, self.regions = one_direction(words, "word"), one_direction(regions, "region")
        self.weight = weight
        if self.words.prepares != self.regions.prepares:
            raise InputError(
                "the words and the regions of bidirectional must have the same normalize_images and "
                f"normalize_texts; they have {self.words.prepares} and {self.regions.prepares}"
            )

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        return torch.lerp(self.regions(images, texts), self.words(images, texts), self.weight)

    def words_found(self, images: EmbeddingSet, text: EmbeddingSet) -> Float[Tensor, "image word"] | None:
        return self.words.words_found(images, text)

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        """The words' and then the regions'; each score is the direction's part of the whole."""
        return [
            replace(one, score=one.score * weight)
            for looking, weight in both_directions(self)
            for one in looking.align(images, texts)
        ]


def one_direction(given: DirectionTable, direction: AttentionDirection) -> AttentionSimilarity:
    """A similarity in which this side looks."""
    if isinstance(given, str | Mapping):
        table = {"name": given} if isinstance(given, str) else given
        given = build("similarity", {"direction": direction, **table})
    if not isinstance(given, AttentionSimilarity) or given.direction != direction:
        looks = (
            f'direction = "{given.direction}"' if isinstance(given, AttentionSimilarity) else "nobody looks"
        )
        raise InputError(
            f'bidirectional needs a similarity with direction = "{direction}" for its {direction}s, but in '
            f'this {type(given).__name__} {looks}; leave the direction out, and take "cross-attention" '
            'or "max-sim"'
        )
    return given


def both_directions(similarity: Similarity) -> list[tuple[AttentionSimilarity, float]]:
    """The attention directions of a similarity, words first, each with its weight; empty if it has none."""
    if isinstance(similarity, BothWays):
        return [(similarity.words, similarity.weight), (similarity.regions, 1 - similarity.weight)]
    return [(similarity, 1.0)] if isinstance(similarity, AttentionSimilarity) else []
