"""Everything that a detector proposes for a batch of pictures."""

from typing import NamedTuple

from jaxtyping import Float, Int

from wordsight.tensors import Tensor, torch


class Candidates(NamedTuple):
    """All that a detector proposes, most of it nothing."""

    boxes: Float[Tensor, "image candidate 4"]  # left, top, right, bottom; fractions of the picture
    chances: Float[Tensor, "image candidate kind"]  # of each kind of thing, or of each phrase

    @property
    def sure(self) -> Float[Tensor, "image candidate"]:
        """The chance of the likeliest kind."""
        return self.chances.amax(-1)

    @property
    def kinds(self) -> Int[Tensor, "image candidate"]:
        """The number of the likeliest kind."""
        return self.chances.argmax(-1)


def corners(centred: Float[Tensor, "*box 4"]) -> Float[Tensor, "*box 4"]:
    """Centre, width, height -> left, top, right, bottom."""
    centre, half = centred[..., :2], centred[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)
