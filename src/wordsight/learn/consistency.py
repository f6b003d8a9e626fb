"""Scores and label logits -> a ranking loss, plus how wrong image and text are about the labels (CASC)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from wordsight.errors import InputError
from wordsight.learn.loss import Loss
from wordsight.pairs import EncodedPairs
from wordsight.registry import build
from wordsight.registry.limits import Limits


class Consistency(Loss):
    """``ranking`` + weight x (binary cross entropy of the text's label logits + that of the image's).

    Image and text have one target and, in the similarity ``semantic``, one network: that makes them
    consistent. A cross entropy is the mean over pairs and labels, while the papers' hinge loss is a sum over
    pairs, so their balance changes with the batch size.

    ``ranking``           a loss of the scores, by its name or table
    ``positive_weights``  how much the labels that an image has count against those that it has not: one
                          number, or one per label. Left out of a configuration, they come from the data
    """

    each: Tensor  # the positive weights
    ranking: Loss

    def __init__(
        self,
        ranking: str | Mapping[str, Any] | Loss = "triplet",
        weight: float = 10.0,
        positive_weights: Annotated[float | Sequence[float], Limits(0)] = 1.0,
    ):
        super().__init__()
        self.ranking = ranking if isinstance(ranking, Loss) else _loss(ranking)
        self.takes_negative_texts = self.ranking.takes_negative_texts
        self.weight = weight
        self.positive_weights = positive_weights
        self.register_buffer("each", torch.tensor(self.positive_weights), persistent=False)

    def begin(self, epoch: int) -> None:
        self.ranking.begin(epoch)

    def forward(self, pairs: EncodedPairs) -> Float[Tensor, ""]:
        ranked: Tensor = self.ranking(pairs)
        return ranked + self.weight * (self.of_labels(pairs, 1) + self.of_labels(pairs, 0))

    def parts(self, pairs: EncodedPairs) -> Mapping[str, Float[Tensor, ""]]:
        """Both terms, unweighted, and how right the labels with a probability above 0.5 are, as CASC logs."""
        terms = {"ranking_loss": self.ranking(pairs)}
        terms["label_loss"] = self.of_labels(pairs, 0) + self.of_labels(pairs, 1)
        return {**terms, **self.ranking.parts(pairs), **_label_counts(pairs)}

    def of_labels(self, pairs: EncodedPairs, side: int) -> Float[Tensor, ""]:
        """The cross entropy of the images' labels (side 0), or of the texts' (1)."""
        if pairs.labels is None or pairs.label_logits is None:
            raise InputError(_absent(pairs))
        logits = pairs.label_logits[:, side].to(torch.promote_types(pairs.label_logits.dtype, torch.float32))
        count = logits.shape[1]
        if pairs.labels.shape[1] != count or self.each.numel() not in (1, count):
            raise InputError(
                f"the model predicts {count} labels, the data has {pairs.labels.shape[1]}, and there are "
                f"{self.each.numel()} positive_weights; all must be of one label vocabulary"
            )
        each = self.each.to(logits)
        return F.binary_cross_entropy_with_logits(logits, pairs.labels.to(logits), pos_weight=each)


def _label_counts(pairs: EncodedPairs) -> dict[str, Float[Tensor, ""]]:
    """Accuracy, recall and precision, in percent, of the images' and of the texts' labels."""
    if pairs.labels is None or pairs.label_logits is None:
        return {}
    found: dict[str, Tensor] = {}
    has = pairs.labels > 0.5
    for side, name in enumerate(("image", "text")):
        said = pairs.label_logits[:, side] > 0  # a probability above 0.5
        right = (said & has).sum()
        found[f"{name}_label_accuracy"] = 100 * (said == has).float().mean()
        found[f"{name}_label_recall"] = 100 * right / has.sum().clamp_min(1)
        found[f"{name}_label_precision"] = 100 * right / said.sum().clamp_min(1)
    return found


def positive_weights(labels: Float[Tensor, "image label"], largest: float = 1000.0) -> list[float]:
    """How many images are without each label per image that has it, at most ``largest``: (N - n) / n."""
    having = labels.sum(0)
    weights = (len(labels) - having) / having.clamp_min(1 / largest)
    return [round(weight, 6) for weight in weights.clamp_max(largest).tolist()]


def _absent(pairs: EncodedPairs) -> str:
    if pairs.labels is None:
        return "the loss consistency needs labels, and these pairs have none; add a [labels] table"
    return (
        'the loss consistency needs a similarity that predicts labels: [similarity] name = "label-agreement"'
    )


def _loss(given: str | Mapping[str, Any]) -> Loss:
    made: Loss = build("loss", {"name": given} if isinstance(given, str) else given)
    return made
