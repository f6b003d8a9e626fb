"""Scores -> the hinge loss of VSE++, SCAN and CHAN: every pair must beat its negatives by a margin."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.errors import InputError
from wordsight.learn.loss import Loss
from wordsight.learn.negatives import matches, square, with_negative_texts
from wordsight.pairs import EncodedPairs
from wordsight.registry.limits import Whole


class Triplet(Loss):
    """Sum over images, and over texts, of max(0, margin + negative - pair) (VSE++, equations 5 and 6).

    ``negatives``      of each image and of each text: "hardest" counts the highest-scored one, "all" counts
                       every one, a number counts that many of the hardest (1 = hardest)
    ``warmup_epochs``  epochs in which all negatives count first; the hardest alone, from the first step on,
                       often push all scores to one value and stay there
    ``ramp_epochs``    epochs after them in which the count shrinks, by equal factors, to ``negatives``
    ``mask_matches``   other pairs of the same identity are not negatives; the papers keep them as negatives
    ``reduction``      "sum" (the papers), or "mean" over the negatives that count, of images plus of texts:
                       one scale whatever their number and the batch size
    ``scale``          multiplies the loss

    Texts of no image (``EncodedPairs.negative_scores``) are negatives of every image.
    Pairs that do not count get a gradient of exactly zero: with the hardest negatives at most three scores
    per pair have one, and similarities compute their backward pass for those alone.
    """

    takes_negative_texts = True

    def __init__(
        self,
        margin: float = 0.2,
        negatives: str | int = "hardest",
        warmup_epochs: Whole = 0,
        ramp_epochs: Whole = 0,
        mask_matches: bool = False,
        reduction: str = "sum",
        scale: float = 1.0,
    ):
        super().__init__()
        if not (negatives in ("hardest", "all") or (isinstance(negatives, int) and negatives >= 1)):
            raise InputError(f'negatives = {negatives!r}; expected "hardest", "all" or a count of at least 1')
        if reduction not in ("sum", "mean"):
            raise InputError(f'reduction "{reduction}" is not known; known: mean, sum')
        self.margin = margin
        self.negatives = negatives
        self.warmup_epochs = warmup_epochs
        self.ramp_epochs = ramp_epochs
        self.mask_matches = mask_matches
        self.reduction = reduction
        self.scale = scale
        self.epoch = 0

    def begin(self, epoch: int) -> None:
        self.epoch = epoch

    def counted(self, pairs: int) -> int:
        """How many negatives of each image and text count in this epoch, in a batch of so many pairs."""
        everyone = max(pairs - 1, 1)
        named: dict[str | int, int] = {"hardest": 1, "all": everyone}
        goal = min(named.get(self.negatives) or int(self.negatives), everyone)
        still_to_go = 1 - (self.epoch - self.warmup_epochs + 1) / (self.ramp_epochs + 1)
        return round(math.pow(everyone / goal, min(max(still_to_go, 0.0), 1.0)) * goal)

    def forward(self, pairs: EncodedPairs) -> Float[Tensor, ""]:
        scores = square(pairs.scores)
        negatives = scores.masked_fill(matches(pairs, self.mask_matches), -torch.inf)
        count = self.counted(len(scores))
        own = scores.diagonal()
        of_all_texts = with_negative_texts(negatives, pairs)
        everyone = count == max(len(scores) - 1, 1) and self.negatives != "hardest"
        further = of_all_texts.shape[1] - len(scores) if everyone else 0
        of_images = hinge(of_all_texts, own, self.margin, count + further)
        of_texts = hinge(negatives.T, own, self.margin, count)
        return (of_images + of_texts) * (self.scale / self._shared_by(len(scores)))

    def collapsed_at(self, pairs: int) -> float:
        """Equal scores cost the margin per counted negative: 2 x pairs x margin for the hardest."""
        terms = 2 * pairs * self.counted(pairs) if pairs > 1 else 0
        return self.scale * self.margin * terms / self._shared_by(pairs)

    def _shared_by(self, pairs: int) -> int:
        return pairs * self.counted(pairs) if self.reduction == "mean" else 1


def hinge(
    negatives: Float[Tensor, "query candidate"],
    own: Float[Tensor, " query"],
    margin: float,
    count: int,
) -> Float[Tensor, ""]:
    """Sum of max(0, margin + negative - own) over the ``count`` highest negatives of every row.

    What is no negative holds -inf: its cost is 0, and so is its gradient.
    """
    if count == 1:
        negatives = negatives.max(1, keepdim=True).values  # one entry has the gradient, also among ties
    elif count < negatives.shape[1] - 1:
        negatives = negatives.topk(count, dim=1).values
    return torch.relu(margin + negatives - own[:, None]).sum()
