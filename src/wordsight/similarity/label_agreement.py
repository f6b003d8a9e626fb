"""Alignment mixed with agreement on labels: what image and text, each seen by the other, show (CASC)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isqrt
from typing import Any, Literal, NamedTuple, TypeAlias

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.registry import build
from wordsight.registry.limits import Positive, Size
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment, Similarity
from wordsight.similarity.bidirectional import both_directions
from wordsight.similarity.kernels.blocks import Stack, pooled
from wordsight.similarity.kernels.blockwise import AttentionSimilarity
from wordsight.similarity.kernels.packed import EPSILON, PackedTexts, masked_unit, stacked
from wordsight.similarity.pooling import Mean
from wordsight.tensors import F, Tensor, nn, torch

Side: TypeAlias = Literal["image", "text"]


class Semantic(Similarity):
    """In training the score of ``similarity``; measured, mix x that + (1 - mix) x the labels' agreement.

    Seen by a text's words, an image is the mean of what they find in it; seen by an image's regions, a text
    likewise. One small network, shared by both, says which labels each is about, and the agreement is the
    cosine of the two rows of probabilities. Where one side does not look, the other is the mean of its own
    vectors. The network learns by a loss that reads ``label_logits``; the measured score has no gradient.

    ``labels``      their names, or how many there are
    ``similarity``  one with attention, by name or table: "cross-attention", "max-sim" or "bidirectional"
    ``hidden``      units inside the network; by default half of ``dim``
    ``memory_mb``   bounds what the agreement of a block of pairs needs, in addition to ``similarity``
    """

    def __init__(
        self,
        dim: Size,
        labels: Size | Sequence[str],
        similarity: str | Mapping[str, Any] | Similarity = "bidirectional",
        mix: float = 0.8,
        hidden: Size | None = None,
        memory_mb: Positive = 64.0,
    ):
        super().__init__()
        if not 0 <= mix <= 1:
            raise InputError(f"mix = {mix}, the share of the alignment in the score; expected 0 to 1")
        self.dim, self.mix, self.hidden, self.memory_mb = dim, mix, hidden, memory_mb
        self.labels = labels if isinstance(labels, int) else tuple(labels)
        self.similarity = _that_looks(similarity)
        self.head = LabelHead(dim, hidden or dim // 2, len(self.label_names))

    @property
    def label_names(self) -> Sequence[str]:
        if isinstance(self.labels, int):
            return [f"label {number + 1}" for number in range(self.labels)]
        return self.labels

    def forward(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "image text"]:
        if self.training:
            scores: Tensor = self.similarity(images, texts)
            return scores
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            images, texts = self._prepare(images, texts)
            return self._mixed(PackedTexts(images, "image"), PackedTexts(texts, "text"))

    def words_found(self, images: EmbeddingSet, text: EmbeddingSet) -> Float[Tensor, "image word"] | None:
        return self.similarity.words_found(images, text)

    def align(self, images: EmbeddingSet, texts: EmbeddingSet) -> list[Alignment]:
        """Those of ``similarity``; measured, also each label's part of the agreement."""
        parts = self.similarity.align(images, texts)
        if self.training:
            return parts
        logits = self.label_logits(images, texts)
        each = _agreement(logits[:, 0].sigmoid(), logits[:, 1].sigmoid())
        of_labels = Alignment("label", torch.ones_like(each)[:, None], each, (1 - self.mix) * each.sum(1))
        return [*(replace(part, score=self.mix * part.score) for part in parts), of_labels]

    def label_logits(self, images: EmbeddingSet, texts: EmbeddingSet) -> Float[Tensor, "pair 2 label"]:
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.head(torch.stack(self.contexts(images, texts), 1))
            return logits

    def contexts(
        self, images: EmbeddingSet, texts: EmbeddingSet
    ) -> tuple[Float[Tensor, "pair dim"], Float[Tensor, "pair dim"]]:
        """Image i as seen by text i, and text i as seen by image i; not of unit length."""
        looking = self._looking()
        images, texts = self._prepare(images, texts)
        return (
            looking["word"].attended_mean(images, texts) if "word" in looking else _own(images),
            looking["region"].attended_mean(images, texts) if "region" in looking else _own(texts),
        )

    def predict(self, items: EmbeddingSet, side: Side = "image") -> Float[Tensor, "n label"]:
        """Each label's probability for images, or texts, by their own mean vector, which no attention forms.

        ``side`` matters only where the lengths of one side count.
        """
        prepared = self._prepare(items, items)[0 if side == "image" else 1]
        with torch.autocast(items.device.type, enabled=False):
            logits: Tensor = self.head(_own(prepared))
            return logits.sigmoid()

    def _prepare(self, images: EmbeddingSet, texts: EmbeddingSet) -> tuple[EmbeddingSet, EmbeddingSet]:
        """Both sets as the attention reads them; both directions agree on it."""
        return both_directions(self.similarity)[0][0].prepare(images, texts)

    def _looking(self) -> dict[str, AttentionSimilarity]:
        return {one.direction: one for one, _ in both_directions(self.similarity)}

    def _mixed(self, images: PackedTexts, texts: PackedTexts) -> Float[Tensor, "image text"]:
        kind = torch.promote_types(images.items.vectors.dtype, torch.float32)
        scores = torch.empty(len(images), len(texts), dtype=kind, device=images.device)
        for (a, b), (c, d), some_images, some_texts in self._blocks(images, texts):
            block = self._block(some_images, some_texts)
            scores[images.order[a:b, None], texts.order[c:d]] = block
        return scores

    def _blocks(
        self, images: PackedTexts, texts: PackedTexts
    ) -> Iterator[tuple[tuple[int, int], tuple[int, int], "_Some", "_Some"]]:
        """All pairs, so many at once as the memory holds of cosines and of probabilities."""
        looking = [one for one, _ in both_directions(self.similarity)]
        cosines = min(one.cosines_at_once(images.device) for one in looking)
        rows = min(one.context_rows(images.device) for one in looking)
        numbers = 4 * (
            self.head.first.out_features + self.head.last.out_features
        )  # alive at once, of each pair
        pairs = max(1, int(self.memory_mb * 2**20 / 4 / numbers))
        for image_piece in images.pieces(rows, most=isqrt(pairs)):
            some_images = self._some(images, *image_piece)
            count, longest = some_images.stack.vectors.shape[:2]
            for text_piece in texts.pieces(max(1, cosines // (count * longest)), most=max(1, pairs // count)):
                yield image_piece, text_piece, some_images, self._some(texts, *text_piece)

    def _some(self, side: PackedTexts, start: int, stop: int) -> "_Some":
        rows, lengths = side.unit_rows(start, stop), side.lengths[start:stop]
        stack = Stack(*stacked(rows, lengths))
        return _Some(rows, lengths, stack, self.head.project(stack.vectors))

    def _block(self, images: "_Some", texts: "_Some") -> Float[Tensor, "image text"]:
        """The network's first map is linear, so it is taken once per region and word, not once per pair."""
        hidden = {"word": images.own()[:, None], "region": texts.own()[None]}
        aligned: Tensor | float = 0.0
        for looking, weight in both_directions(self.similarity):
            by_word = looking.direction == "word"
            contexts, queries = (images, texts) if by_word else (texts, images)
            shares, found = looking.attend(contexts.stack, queries.rows, queries.lengths)
            found = looking.per_query(found, queries.rows)
            scores = weight * pooled(looking.pooling, found, queries.lengths)
            mean = pooled(Mean(), shares.flatten(0, 1), queries.lengths).view(*shares.shape[:2], -1)
            attended_mean = torch.bmm(mean.transpose(1, 2), contexts.hidden)
            aligned = aligned + (scores if by_word else scores.T)
            hidden[looking.direction] = attended_mean if by_word else attended_mean.transpose(0, 1)
        agreed = _agreement(*(self.head.of_projected(side).sigmoid() for side in hidden.values())).sum(-1)
        return self.mix * aligned + (1 - self.mix) * agreed


class LabelHead(nn.Module):
    """Label network: linear, tanh, linear, in the precision of its input."""

    def __init__(self, dim: int, hidden: int, labels: int):
        super().__init__()
        self.first = nn.Linear(dim, hidden)
        self.last = nn.Linear(hidden, labels)

    def forward(self, vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n label"]:
        return self.of_projected(self.project(vectors))

    def project(self, vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n hidden"]:
        """First map of the network; averaging commutes with it."""
        return F.linear(vectors, self.first.weight.to(vectors.dtype))

    def of_projected(self, projected: Float[Tensor, "*n hidden"]) -> Float[Tensor, "*n label"]:
        kind = projected.dtype
        hidden = (projected + self.first.bias.to(kind)).tanh()
        return F.linear(hidden, self.last.weight.to(kind), self.last.bias.to(kind))


class _Some(NamedTuple):
    """Some images, or texts."""

    rows: Float[Tensor, "row dim"]  # their unit vectors, one after another
    lengths: Sequence[int]
    stack: Stack
    hidden: Float[Tensor, "n item hidden"]  # the stack through the network's first map

    def own(self) -> Float[Tensor, "n hidden"]:
        """The mean of each one's own vectors, through that map."""
        real = self.hidden if self.stack.mask is None else self.hidden * self.stack.mask[..., None]
        return real.sum(1) / torch.tensor(self.lengths, device=real.device)[:, None]


def _that_looks(given: str | Mapping[str, Any] | Similarity) -> Similarity:
    if isinstance(given, str | Mapping):
        given = build("similarity", {"name": given} if isinstance(given, str) else given)
    if not isinstance(given, Similarity) or not both_directions(given):
        raise InputError(
            f"semantic needs a similarity in which somebody looks, not {type(given).__name__}; "
            'take "cross-attention", "max-sim" or "bidirectional"'
        )
    return given


def _own(items: EmbeddingSet) -> Float[Tensor, "n dim"]:
    return masked_unit(items).sum(1) / items.lengths[:, None]


def _agreement(
    images: Float[Tensor, "*#n label"], texts: Float[Tensor, "*#n label"]
) -> Float[Tensor, "*m label"]:
    """Share of each label in the cosine of two rows of probabilities."""
    lengths = [torch.linalg.vector_norm(side, dim=-1, keepdim=True) for side in (images, texts)]
    each: Tensor = images * texts / (lengths[0] * lengths[1]).clamp_min(EPSILON)
    return each
