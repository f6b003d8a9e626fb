"""Base class of losses: encoded pairs in, one number out; a loss never computes a score."""

from jaxtyping import Float
from torch import Tensor, nn

from wordsight.pairs import EncodedPairs


class Loss(nn.Module):
    """A loss receives scores of a stated shape and may change its mind from epoch to epoch."""

    def begin(self, epoch: int) -> None:
        """Called before each epoch, from 0: all negatives first and the hardest later, for instance."""

    def forward(self, pairs: EncodedPairs) -> Float[Tensor, ""]:
        raise NotImplementedError

    def collapsed_at(self, pairs: int) -> float | None:  # noqa: ARG002
        """The loss of a batch of so many pairs when all scores are equal, if training gets stuck there."""
        return None
