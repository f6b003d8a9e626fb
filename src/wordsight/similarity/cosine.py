"""One vector each -> their cosine: VSE++, VSE-infinity, CMPL."""

from jaxtyping import Float

from wordsight.registry.limits import Positive
from wordsight.similarity.kernels.matmul import product
from wordsight.similarity.single_vector import SingleVectorSimilarity
from wordsight.tensors import Tensor, torch


class Cosine(SingleVectorSimilarity):
    """score = image . text, both of length 1; ``pool`` of the encoders makes one vector of a set.

    ``normalize_images``, ``normalize_texts``   False keeps the length of the vectors: their dot product.
                    VSE0 and VSE++'s ``no_imgnorm`` keep that of the images
    ``memory_mb``   bounds what a forward pass without gradients needs on top of its input and its scores
    """

    def __init__(
        self, normalize_images: bool = True, normalize_texts: bool = True, memory_mb: Positive = 64.0
    ):
        super().__init__(normalize_images, normalize_texts, memory_mb)

    def compare(
        self, images: Float[Tensor, "image dim"], texts: Float[Tensor, "text dim"]
    ) -> Float[Tensor, "image text"]:
        needed = torch.is_grad_enabled() and (images.requires_grad or texts.requires_grad)
        return torch.mm(images, texts.T) if needed else product(images, texts)

    def compare_pairs(
        self, images: Float[Tensor, "pair dim"], texts: Float[Tensor, "pair dim"]
    ) -> Float[Tensor, " pair"]:
        return (images * texts).sum(1)
