"""Images and texts of one vector each -> scores, in blocks: what cosine and order have in common."""

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.registry.limits import Positive
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment, Similarity
from wordsight.similarity.kernels.packed import unit
from wordsight.tensors import Tensor, torch


class SingleVectorSimilarity(Similarity):
    """Compares one vector with one; sets of more are an error, ``pool`` of the encoders makes one of them.

    ``normalize_images``, ``normalize_texts``   whether vectors are scaled to length 1 first
    ``memory_mb``   bounds what a forward pass without gradients needs on top of its input and its scores
    """

    def __init__(
        self, normalize_images: bool = True, normalize_texts: bool = True, memory_mb: Positive = 64.0
    ):
        super().__init__()
        if not memory_mb > 0:
            raise InputError(f"memory_mb = {memory_mb}; blocks need some memory, e.g. 64")
        self.normalize_images = normalize_images
        self.normalize_texts = normalize_texts
        self.memory_mb = memory_mb

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        rows, columns = one_each(images, "image"), one_each(texts, "text")
        with torch.autocast(rows.device.type, enabled=False):
            if torch.is_grad_enabled() and (rows.requires_grad or columns.requires_grad):
                return self.compare(
                    self.prepared(rows, self.normalize_images), self.prepared(columns, self.normalize_texts)
                )
            return self._in_blocks(rows, columns)

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        """The text as a whole looks at the picture as a whole, and finds itself as well as the score says."""
        rows, columns = one_each(images, "image"), one_each(texts, "text")
        with torch.autocast(rows.device.type, enabled=False):
            score = self.compare_pairs(
                self.prepared(rows, self.normalize_images), self.prepared(columns, self.normalize_texts)
            )
        shares = (images.mask[:, :, None] & texts.mask[:, None]).to(score.dtype)
        return [Alignment("word", shares, score[:, None] * texts.mask, score)]

    def prepared(self, vectors: Float[Tensor, "n dim"], normalize: bool) -> Float[Tensor, "n dim"]:
        """In float32 at least, and of length 1 if so wanted. Differentiable."""
        if normalize:
            return unit(vectors)
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))

    def compare(
        self, images: Float[Tensor, "image dim"], texts: Float[Tensor, "text dim"]
    ) -> Float[Tensor, "image text"]:
        """Scores of prepared vectors. Differentiable."""
        raise NotImplementedError

    def compare_pairs(
        self, images: Float[Tensor, "pair dim"], texts: Float[Tensor, "pair dim"]
    ) -> Float[Tensor, " pair"]:
        """Scores of image i with text i."""
        raise NotImplementedError

    @torch.no_grad()
    def _in_blocks(
        self, images: Float[Tensor, "image dim"], texts: Float[Tensor, "text dim"]
    ) -> Float[Tensor, "image text"]:
        kind = torch.promote_types(images.dtype, torch.float32)
        scores = torch.empty(len(images), len(texts), dtype=kind, device=images.device)
        at_once = max(
            1, self.numbers_at_once // (4 * images.shape[1])
        )  # of either side, and while it is made
        for column in range(0, len(texts), at_once):
            some_texts = self.prepared(texts[column : column + at_once], self.normalize_texts)
            for row in range(0, len(images), at_once):
                some_images = self.prepared(images[row : row + at_once], self.normalize_images)
                scores[row : row + at_once, column : column + at_once] = self.compare(some_images, some_texts)
        return scores

    @property
    def numbers_at_once(self) -> int:
        """How many float32 numbers the memory holds."""
        return int(self.memory_mb * 2**20 / 4)


def one_each(items: EmbeddingSet, kind: str) -> Float[Tensor, "n dim"]:
    """The one vector of each set. ``kind`` (image, text) is for messages."""
    lengths = items.lengths
    if bool((lengths != 1).any()):
        wrong = int((lengths != 1).nonzero()[0])
        raise InputError(
            f"{kind} {wrong} of {len(items)} has {int(lengths[wrong])} vectors, and this similarity compares "
            f'one with one; set pool in [{kind}_encoder], e.g. pool = "mean" or "gpo", or take a similarity '
            'of sets, e.g. "max-sim"'
        )
    return items.vectors[items.mask]
