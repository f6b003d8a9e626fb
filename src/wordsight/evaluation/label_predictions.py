"""An image (or text) and all texts (images) of a split -> its best matches, and the labels of both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.evaluation.encode import encode_images, encode_texts
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet
from wordsight.sets import EmbeddingSet
from wordsight.similarity.label_agreement import Semantic, Side
from wordsight.tensors import Tensor, torch


@dataclass(frozen=True, eq=False)
class LabelledMatch:
    """One of the best matches of an item; label probabilities of each as seen by the other."""

    row: int  # among the texts, or images, of the split
    score: float
    of_item: Float[Tensor, " label"]
    of_match: Float[Tensor, " label"]


class LabelPredictions:
    """The labels of items among the images and texts of a split; each side is encoded once, when needed.

    Raises InputError for a model whose similarity predicts no labels.
    """

    def __init__(self, matcher: Matcher, pairs: PairSet) -> None:
        self.similarity = label_similarity(matcher)
        self.matcher, self.pairs = matcher, pairs
        self._encoded: dict[Side, EmbeddingSet] = {}

    def best_matches(self, item: EmbeddingSet, side: Side, count: int) -> list[LabelledMatch]:
        """The ``count`` texts that score best with one image, or images with one text (``side``)."""
        others = self._others("text" if side == "image" else "image")
        with inference(self.matcher):
            pair = (item, others) if side == "image" else (others, item)
            best = self.similarity(*pair).flatten().topk(min(count, len(others)))
            same, matches = item[[0] * len(best.indices)], others[best.indices.tolist()]
            images, texts = (same, matches) if side == "image" else (matches, same)
            seen = self.similarity.label_logits(images, texts).sigmoid().cpu()
        own, other = (0, 1) if side == "image" else (1, 0)
        found = zip(best.indices.tolist(), best.values.tolist(), seen, strict=True)
        return [LabelledMatch(row, score, labels[own], labels[other]) for row, score, labels in found]

    def image(self, row: int) -> EmbeddingSet:
        with inference(self.matcher):
            return self.matcher.encode_images(self.matcher.read_images(self.pairs.images.read([row])))

    def _others(self, side: Side) -> EmbeddingSet:
        if side not in self._encoded:
            encode = encode_images if side == "image" else encode_texts
            with inference(self.matcher):
                self._encoded[side] = encode(self.matcher, self.pairs)
        return self._encoded[side]


def label_similarity(matcher: Matcher) -> Semantic:
    """The similarity of a model that predicts semantic labels."""
    if not isinstance(matcher.similarity, Semantic):
        raise InputError(
            f"this model's similarity, {type(matcher.similarity).__name__}, predicts no labels; "
            'train one with [similarity] name = "label-agreement", for instance configs/casc-f30k.toml'
        )
    return matcher.similarity


def mean_labels(matches: Sequence[LabelledMatch]) -> Float[Tensor, " label"]:
    """The label scores of CASC's evaluation: the mean over the best matches of what each finds in it."""
    return torch.stack([match.of_item for match in matches]).mean(0)


def row_of(pairs: PairSet, name: str) -> int | None:
    """The row of an image by its name or id, with or without folders and suffix; None if there is none.

    Raises InputError where a short name fits several images.
    """
    for shorten in (str, _last, _stem):
        rows = [row for row, known in enumerate(pairs.names) if shorten(known) == name]
        if len(rows) > 1:
            some = ", ".join(pairs.names[row] for row in rows[:3])
            raise InputError(f"{name} is the name of {len(rows)} images of {pairs.source}: {some}")
        if rows:
            return rows[0]
    return None


def _last(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _stem(name: str) -> str:
    return _last(name).rsplit(".", 1)[0]
