"""Losses and scores of the last steps -> a warning in words when training has stopped learning."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.pairs import EncodedPairs

NEAR = 0.03  # of the collapsed loss: this close counts as sitting on it
FLAT = 1e-3  # of the largest score: scores that differ less than this say nothing
SHORTEST, LONGEST = 50, 500  # steps on end before it is called a collapse, whatever an epoch holds

REMEDIES = (
    'What helps, most often first: start with epochs on all negatives (triplet: negatives = "all", or '
    "warmup_epochs = 2 and more); the loss info-nce; a learning_rate 3 to 10 times smaller, with "
    "warmup_steps; a larger batch_size. If none does, see that the texts belong to the images "
    "(wordsight data check)."
)


class CollapseWarning(UserWarning):
    """Training goes on, but has stopped learning."""


@dataclass
class Collapse:
    """Watches one run; its few numbers are part of the resume state. Warns once."""

    patience: int  # steps on end
    at_loss: int = 0  # steps on end with the loss of equal scores
    flat: int = 0  # steps on end with equal scores
    warned: bool = False

    @classmethod
    def over(cls, steps_per_epoch: int) -> "Collapse":
        return cls(min(max(steps_per_epoch, SHORTEST), LONGEST))

    def see(self, loss: float, collapsed: float | None, spread: float) -> str | None:
        """Take in one step; a message when it makes the collapse certain, else None.

        ``collapsed`` is the loss when all scores are equal, ``spread`` how much the scores of this step
        differ (``score_spread``).
        """
        sits = bool(collapsed) and abs(loss - (collapsed or 0)) <= NEAR * abs(collapsed or 0)
        self.at_loss = self.at_loss + 1 if sits else 0
        self.flat = self.flat + 1 if spread < FLAT else 0
        if self.warned or max(self.at_loss, self.flat) < self.patience:
            return None
        self.warned = True
        if self.flat >= self.patience:
            return (
                f"training has collapsed: for {self.flat} steps all pairs, right or wrong, have had the same "
                f"score (they differ by less than {FLAT:.1%}): the model no longer looks. {REMEDIES}"
            )
        return (
            f"training has collapsed: for {self.at_loss} steps the loss has sat at {loss:.4g}, within "
            f"{NEAR:.0%} of {collapsed:.4g}, that of a model that scores all pairs alike. {REMEDIES}"
        )

    def state(self) -> dict[str, Any]:
        return asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        for each in fields(self):
            setattr(self, each.name, state[each.name])


def score_spread(scores: Float[Tensor, "image text"]) -> Float[Tensor, ""]:
    """The standard deviation of the scores as a share of the largest; 1 for a single score."""
    if scores.numel() < 2:
        return torch.ones((), device=scores.device)
    scores = scores.detach().float()
    return scores.std() / scores.abs().amax().clamp(min=1e-12)


def explain_non_finite(value: str, where: str, pairs: EncodedPairs, names: Sequence[str]) -> str:
    """Explain a loss or gradient that is not a number: where it comes from and what to do.

    ``names`` are those of the images of the batch, in its order.
    """
    sick = [name for name, row in zip(names, pairs.images.vectors, strict=False) if not row.isfinite().all()]
    if sick and len(sick) < len(names):
        cause = f"{', '.join(sick[:3])} encode to non-finite numbers: see wordsight data check"
    elif not pairs.scores.isfinite().all():
        cause = 'the scores are not finite: lower learning_rate, or set precision = "float32"'
    else:
        cause = "the scores are finite: lower learning_rate, raise the temperature of the loss, or lower clip"
    return (
        f"{value} at {where}. The weights were not changed by this step and no checkpoint holds it; {cause}"
    )
