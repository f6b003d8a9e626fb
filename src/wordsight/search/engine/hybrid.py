"""Score by a picture and words together: the weighted sum of two standardized scores."""

from dataclasses import dataclass

from jaxtyping import Float

from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.relevance.threshold import background_scores
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch


@dataclass(frozen=True)
class Blend:
    """(1 - weight) x z(picture) + weight x z(words), where z = (score - mean) / deviation over the index."""

    picture: QueryScorer
    words: QueryScorer
    weight: float
    picture_scale: tuple[float, float]  # mean and deviation
    words_scale: tuple[float, float]

    @classmethod
    def of(cls, picture: QueryScorer, words: QueryScorer, weight: float, sample: EmbeddingSet) -> "Blend":
        return cls(picture, words, weight, _scale(picture, sample), _scale(words, sample))

    def scores(self, rows: EmbeddingSet) -> Float[Tensor, " row"]:
        by_picture = _standard(self.picture.scores(rows), self.picture_scale)
        return torch.lerp(by_picture, _standard(self.words.scores(rows), self.words_scale), self.weight)

    def aligned_numbers(self) -> int:
        return self.words.aligned_numbers()

    @property
    def query(self) -> EmbeddingSet:
        """All vectors of both, for a shortlist."""
        return EmbeddingSet.join([self.picture.query, self.words.query])


def _scale(scorer: QueryScorer, sample: EmbeddingSet) -> tuple[float, float]:
    scores = background_scores(scorer, sample)
    if len(scores) < 2:
        return (float(scores.mean()) if len(scores) else 0.0), 1.0
    return float(scores.mean()), max(float(scores.std(correction=0)), 1e-6)


def _standard(scores: Float[Tensor, " row"], scale: tuple[float, float]) -> Float[Tensor, " row"]:
    return (scores - scale[0]) / scale[1]
