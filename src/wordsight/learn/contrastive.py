"""Scores -> the InfoNCE loss: each pair against all negatives of its image, and of its text, as a softmax."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wordsight.errors import InputError
from wordsight.learn.loss import Loss
from wordsight.learn.negatives import matches, square
from wordsight.pairs import EncodedPairs
from wordsight.registry.limits import Positive

COLDEST, WARMEST = 0.001, 10.0  # what a learned temperature may become


class InfoNCE(Loss):
    """log(1 + sum over negatives of exp((negative - pair + margin) / temperature)), of images and of texts.

    Without a margin this is the symmetric cross entropy of CLIP; with one it is CHAN's InfoNCE loss. It is
    computed as a log-sum-exp, so that no score is too large for it.

    Texts of no image (``EncodedPairs.negative_scores``) are negatives of every image.

    ``learn_temperature``  makes the temperature a weight (of its logarithm, within 0.001 and 10)
    ``mask_matches``       other pairs of the same identity are not negatives
    ``reduction``          "mean" over the pairs (the papers) or "sum", of the images' and of the texts' terms
    """

    takes_negative_texts = True

    def __init__(
        self,
        temperature: Positive = 0.01,
        margin: float = 0.0,
        mask_matches: bool = False,
        learn_temperature: bool = False,
        reduction: str = "mean",
    ):
        super().__init__()
        if not COLDEST <= temperature <= WARMEST:
            raise InputError(f"temperature = {temperature}; expected {COLDEST} to {WARMEST}")
        if reduction not in ("sum", "mean"):
            raise InputError(f'reduction "{reduction}" is not known; known: mean, sum')
        self.temperature = temperature
        self.margin = margin
        self.mask_matches = mask_matches
        self.learn_temperature = learn_temperature
        self.reduction = reduction
        start = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(start) if learn_temperature else None

    def forward(self, pairs: EncodedPairs) -> Float[Tensor, ""]:
        scores = square(pairs.scores)
        itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        others = matches(pairs, self.mask_matches) & ~itself
        pushed = (scores + self.margin).where(~itself, scores)
        temperature = self._temperature()
        logits = (pushed / temperature).masked_fill(others, -torch.inf)
        own, of_all_texts = logits.diagonal(), logits
        if pairs.negative_scores is not None:
            negative = (pairs.negative_scores.to(scores) + self.margin) / temperature
            of_all_texts = torch.cat([logits, negative], 1)
        costs = torch.stack([of_all_texts.logsumexp(1) - own, logits.logsumexp(0) - own]).sum(0)
        return costs.mean() if self.reduction == "mean" else costs.sum()

    def _temperature(self) -> float | Float[Tensor, ""]:
        if self.log_temperature is None:
            return self.temperature
        with (
            torch.no_grad()
        ):  # a clamp inside the graph would keep it at the limit for good: no gradient there
            self.log_temperature.clamp_(math.log(COLDEST), math.log(WARMEST))
        return self.log_temperature.exp()
