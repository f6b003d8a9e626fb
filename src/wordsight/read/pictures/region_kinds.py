"""A detector's kinds of things -> numbers beside the features of the regions that show them.

A network that was trained to tell kinds of things apart knows some words before any caption is read: a rare
one ("elephant") is learned from a handful of captions where its kind has a number of its own.
"""

from jaxtyping import Float

from wordsight.tensors import Tensor, torch

TINY = 1e-9  # of the picture's area


def chances_of_cells(
    cells: Float[Tensor, "image cell 4"],
    boxes: Float[Tensor, "image box 4"],
    chances: Float[Tensor, "image box kind"],
) -> Float[Tensor, "image cell kind"]:
    """The chance that each cell shows a thing of each kind: that of the surest box, as far as both overlap.

    The overlap is a share of the smaller of the two, so that the whole picture shows every thing in it.
    """
    corner = torch.maximum(cells[:, :, None, :2], boxes[:, None, :, :2])
    far = torch.minimum(cells[:, :, None, 2:], boxes[:, None, :, 2:])
    common = (far - corner).clamp(min=0).prod(-1)
    smaller = torch.minimum(_area(cells)[:, :, None], _area(boxes)[:, None]).clamp(min=TINY)
    shares = (common / smaller)[..., None]
    return (shares * chances[:, None]).amax(2)


def with_kinds(
    features: Float[Tensor, "image region feature"],
    chances: Float[Tensor, "image region kind"],
    weight: float,
) -> Float[Tensor, "image region both"]:
    """Features with the roots of the chances after them; a sure kind is ``weight`` times their length."""
    length = features.norm(dim=-1, keepdim=True)
    return torch.cat([features, weight * length * chances.to(features).sqrt()], -1)


def _area(boxes: Float[Tensor, "*box 4"]) -> Float[Tensor, "*box"]:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
