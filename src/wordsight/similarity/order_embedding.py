"""One vector each -> how far the text is from being more general than the image: order embeddings."""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float

from wordsight.registry.limits import Positive
from wordsight.runtime.device import on_gpu
from wordsight.similarity.kernels.blocks import CACHED_COSINES
from wordsight.similarity.single_vector import SingleVectorSimilarity
from wordsight.tensors import F, Tensor, torch


class Order(SingleVectorSimilarity):
    """score = -|max(0, text - image)|: 0 where no number of the text is above that of the image.

    ``absolute``    takes absolute values after scaling: all vectors lie in one corner of the sphere, as in
                    the paper and in Order0; VSE++'s Order++ is without
    ``normalize_images``, ``normalize_texts``   whether vectors are scaled to length 1 first
    ``memory_mb``   bounds what a block of differences needs, in training too; one pair is the smallest block

    (Vendrov et al., Order-Embeddings of Images and Language, ICLR 2016, equation 2; the root is VSE++'s.)
    """

    def __init__(
        self,
        absolute: bool = True,
        normalize_images: bool = True,
        normalize_texts: bool = True,
        memory_mb: Positive = 64.0,
    ):
        super().__init__(normalize_images, normalize_texts, memory_mb)
        self.absolute = absolute

    def prepared(self, vectors: Float[Tensor, "n dim"], normalize: bool) -> Float[Tensor, "n dim"]:
        vectors = super().prepared(vectors, normalize)
        return vectors.abs() if self.absolute else vectors

    def compare(
        self, images: Float[Tensor, "image dim"], texts: Float[Tensor, "text dim"]
    ) -> Float[Tensor, "image text"]:
        scores: Tensor = _Penalty.apply(images, texts, self.differences_at_once(images))  # type: ignore[no-untyped-call]
        return scores

    def compare_pairs(
        self, images: Float[Tensor, "pair dim"], texts: Float[Tensor, "pair dim"]
    ) -> Float[Tensor, " pair"]:
        penalty: Tensor = torch.linalg.vector_norm(F.relu(texts - images), dim=1)
        return -penalty

    def differences_at_once(self, vectors: Float[Tensor, "n dim"]) -> int:
        """Numbers of a block; more than a processor's cache holds would be slower."""
        most = self.numbers_at_once // 4
        return max(1, most if on_gpu(vectors.device) else min(most, CACHED_COSINES))


class _Penalty(torch.autograd.Function):
    """Backward, the differences are made again, and only for pairs whose score has a gradient."""

    @staticmethod
    def forward(
        ctx: Any, images: Float[Tensor, "image dim"], texts: Float[Tensor, "text dim"], most: int
    ) -> Float[Tensor, "image text"]:
        scores = images.new_empty(len(images), len(texts))
        width = max(1, most // images.shape[1])
        for column in range(0, len(texts), width):
            some = texts[column : column + width]
            height = max(1, width // len(some))
            for row in range(0, len(images), height):
                above = (some - images[row : row + height, None]).clamp_min_(0)
                scores[row : row + height, column : column + width] = -torch.linalg.vector_norm(above, dim=2)
        ctx.save_for_backward(images, texts, scores)
        ctx.most = most
        return scores

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "image text"]) -> tuple[Tensor, Tensor, None]:
        images, texts, scores = ctx.saved_tensors
        for_images, for_texts = torch.zeros_like(images), torch.zeros_like(texts)
        weights = torch.where(scores < 0, gradient / scores, 0)  # at a distance of 0 it is flat from one side
        for image, text in _pieces(weights, max(1, ctx.most // images.shape[1])):
            above = F.relu(texts[text] - images[image]) * weights[image, text, None]
            for_texts.index_add_(0, text, above)
            for_images.index_add_(0, image, above, alpha=-1)
        return for_images, for_texts, None


def _pieces(weights: Float[Tensor, "image text"], most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs whose weight is not 0, so many at a time."""
    image, text = weights.nonzero(as_tuple=True)
    yield from zip(torch.split(image, most), torch.split(text, most), strict=True)
