"""A similarity -> how its scores follow from each word's best region, if they do."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float

from wordsight.similarity.base import Similarity
from wordsight.similarity.cosine import Cosine
from wordsight.similarity.dual_encoder import Dual
from wordsight.similarity.pooling import Max
from wordsight.tensors import Tensor


@dataclass(frozen=True)
class Decomposition:
    """Score = ``pool`` of each query vector's largest cosine with the vectors of a picture.

    ``first_only``  only the first vector of the query and of the picture counts
    """

    pool: Callable[[Float[Tensor, "row query"]], Float[Tensor, " row"]]
    first_only: bool = False


def decomposition(similarity: Similarity) -> Decomposition | None:
    """None for a similarity whose scores do not follow from maxima over regions, such as soft attention."""
    if similarity.pooling_of_maxima is not None:
        return Decomposition(similarity.pooling_of_maxima.pool)
    if isinstance(similarity, Cosine):
        return Decomposition(Max()) if similarity.normalize_images and similarity.normalize_texts else None
    if isinstance(similarity, Dual) and similarity.words == 0:
        return Decomposition(Max(), first_only=True)
    return None
