"""The whole picture against the whole text, as dual encoders score them; where words look."""

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.registry.limits import Positive
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment, Similarity
from wordsight.similarity.cosine import Cosine
from wordsight.similarity.max_sim import MaxSim
from wordsight.tensors import Tensor, torch


class Dual(Similarity):
    """score = scale x cosine of the first vectors of both sets + bias: the model's own logit.

    ``scale``, ``bias``  what the model learned: CLIP's and SigLIP's exp(logit_scale), SigLIP's logit_bias
    ``words``            how much the words count: 0 the wholes alone, 1 only the mean over words of the
                         cosine with the best patch. No such model was trained for it: try it on your data
    ``memory_mb``        bounds what a forward pass without gradients needs on top of its input and its scores
    ``aligned``          the model was trained so that patches agree with texts (TIPSv2)

    The first vector of a set is the whole, what is behind it are patches or words. The places of words are
    given as a hint, unless the model is aligned: no loss trained them.
    """

    def __init__(
        self,
        scale: float = 1.0,
        bias: float = 0.0,
        words: float = 0.0,
        memory_mb: Positive = 64.0,
        aligned: bool = False,
    ):
        super().__init__()
        if not scale > 0:
            raise InputError(f"scale = {scale}; a score that grows with the cosine needs one above 0")
        if not 0 <= words <= 1:
            raise InputError(f"words = {words}; expected a share from 0 to 1")
        self.scale = scale
        self.bias = bias
        self.words = words
        self.aligned = aligned
        self.memory_mb = memory_mb
        self.of_wholes = Cosine(memory_mb=memory_mb)
        self.of_words = MaxSim("word", "mean", memory_mb)

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        self._check(texts)
        cosines: Tensor = self.of_wholes(_whole(images, "image"), _whole(texts, "text"))
        if self.words:
            found = self.of_words(_patches(images), _words(texts))
            cosines = torch.lerp(cosines, found.to(cosines.dtype), self.words)
        return cosines * self.scale + self.bias

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        """The whole text looks at the whole picture; each word at the patch that is nearest to it."""
        self._check(texts)
        cosine = self.of_wholes.align(_whole(images, "image"), _whole(texts, "text"))[0].score
        shares = cosine.new_zeros(*images.mask.shape, texts.mask.shape[1])
        found = cosine.new_zeros(texts.mask.shape)
        shares[:, 0, 0], found[:, 0] = 1.0, cosine
        has_words = bool(texts.mask[:, 1:].any())
        if has_words:
            words = self.of_words.align(_patches(images), _words(texts))[0]
            shares[:, -words.shares.shape[1] :, 1:], found[:, 1:] = words.shares, words.found
            cosine = torch.lerp(cosine, words.score.to(cosine.dtype), self.words)
        hint, evidence = has_words and not self.aligned, has_words and self.aligned
        return [Alignment("word", shares, found, cosine * self.scale + self.bias, hint, evidence)]

    def _check(self, texts: EmbeddingSet) -> None:
        if self.words and len(texts) and not bool(texts.mask[:, 1:].any()):
            raise InputError(
                f'words = {self.words} counts words, and the texts have none; set items = "both" in '
                "[text_encoder] (and in [image_encoder], for patches)"
            )


def _whole(items: EmbeddingSet, kind: str) -> EmbeddingSet:
    if not bool(items.mask[:, :1].all()):
        raise InputError(
            f"the first vector of every set of {kind}s must be the whole {kind}, and one is masked; set "
            f'items = "both" or "whole" in [{kind}_encoder]'
        )
    return EmbeddingSet(items.vectors[:, :1], items.mask[:, :1])


def _patches(images: EmbeddingSet) -> EmbeddingSet:
    """All but the whole; of pictures that have no patches, the whole."""
    behind = 1 if images.mask.shape[1] > 1 else 0
    return EmbeddingSet(images.vectors[:, behind:], images.mask[:, behind:])


def _words(texts: EmbeddingSet) -> EmbeddingSet:
    return EmbeddingSet(texts.vectors[:, 1:], texts.mask[:, 1:])
