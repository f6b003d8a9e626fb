"""Base class of losses: encoded pairs in, one number out; a loss never computes a score."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from wordsight.errors import InputError
from wordsight.pairs import EncodedPairs


class Loss(nn.Module):
    """A loss receives scores of a stated shape and may change its mind from epoch to epoch.

    ``takes_negative_texts``  it counts ``EncodedPairs.negative_scores``: every image must beat them too
    """

    takes_negative_texts: bool = False

    def begin(self, epoch: int) -> None:
        """Called before each epoch, from 0: all negatives first and the hardest later, for instance."""

    def forward(self, pairs: EncodedPairs) -> Float[Tensor, ""]:
        raise NotImplementedError

    def parts(self, pairs: EncodedPairs) -> Mapping[str, Float[Tensor, ""]]:  # noqa: ARG002
        """Numbers of a batch to log beside the loss, by name: the terms that it adds up, for instance."""
        return {}

    def collapsed_at(self, pairs: int) -> float | None:  # noqa: ARG002
        """The loss of a batch of so many pairs when all scores are equal, if training gets stuck there."""
        return None


def value_of(loss: Loss, pairs: EncodedPairs) -> Float[Tensor, ""]:
    """The loss of a batch. Raises InputError for a loss of another's that returns anything but one number."""
    value = loss(pairs)
    if isinstance(value, Tensor) and value.shape == ():
        return value
    given = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise InputError(
        f"the loss {type(loss).__name__} returned {given}; expected one number, a tensor of shape []: "
        "take its mean or its sum"
    )


def check_takes_negative_texts(loss: Loss) -> None:
    """Raise InputError for a loss that would ignore the texts of ``swap_words``."""
    if not loss.takes_negative_texts:
        raise InputError(
            f"[training] swap_words: the loss {type(loss).__name__} takes no further negatives; choose "
            "triplet or info-nce, or leave swap_words out"
        )
