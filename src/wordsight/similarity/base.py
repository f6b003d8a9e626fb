"""Base class of similarities: scores of all images with all texts, and their explanation."""

import copy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeVar

from jaxtyping import Float

from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, nn, torch

if TYPE_CHECKING:
    from wordsight.similarity.pooling import Pooling

AttentionDirection = Literal["word", "region"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Why pairs match: where each query (a word, or a region) looks, and how well it finds itself there.

    Where a part of the score is agreement on labels, each label is a query that looks at the pair as a whole.
    """

    direction: AttentionDirection | Literal["label"]  # which side looks
    shares: Float[
        Tensor, "pair context query"
    ]  # where each query looks; sums to 1 over the context, 0 for padding
    found: Float[Tensor, "pair query"]  # how well: a cosine in [-1, 1] if the score is one; 0 for padding
    score: Float[Tensor, " pair"]  # what that adds up to, as a part of the pair's score
    hint: bool = False  # the model was never trained to find the places: the score is of the wholes
    of_wholes: bool = False  # the score is of the wholes; the places are evidence that it does not count


Placed = TypeVar("Placed", bound=nn.Module)


def on_device(module: Placed, device: torch.device) -> Placed:
    """The module itself where it has no weights, or has them there; else a copy on the device."""
    weight = next(chain(module.parameters(), module.buffers()), None)
    if weight is None or weight.device == device:
        return module
    return copy.deepcopy(module).to(device)


class Similarity(nn.Module):
    """Two embedding sets -> scores, and why.

    ``forward`` compares every image with every text in blocks under a memory budget and is differentiable;
    ``align`` explains image i with text i, in parts whose scores add up to that of ``forward``.
    """

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        raise NotImplementedError

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        raise NotImplementedError

    @property
    def has_int8_bound(self) -> bool:
        """Whether int8 products bound the scores: each query's maximum cosine, of unit vectors, is pooled."""
        return False

    @property
    def pooling_of_maxima(self) -> "Pooling | None":
        """The pooling of the words, if ``has_int8_bound`` and the queries are words; else None."""
        return None

    def words_found(
        self,
        images: EmbeddingSet,  # noqa: ARG002
        text: EmbeddingSet,  # noqa: ARG002
    ) -> Float[Tensor, "image word"] | None:
        """How well each word of one text is found in each image, without a gradient: what ``align`` says.

        None where nothing is cheaper than ``align``.
        """
        return None

    def label_logits(
        self,
        images: EmbeddingSet,  # noqa: ARG002
        texts: EmbeddingSet,  # noqa: ARG002
    ) -> Float[Tensor, "pair 2 label"] | None:
        """Label logits of image i (0) and text i (1), each attended by the other; None without labels."""
        return None
