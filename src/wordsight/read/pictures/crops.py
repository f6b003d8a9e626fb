"""Numbers drawn from [0, 1) -> the part of a picture that training shows instead of the whole."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Size: TypeAlias = tuple[int, int]  # width, height; pixels
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; pixels, not rounded
Cut: TypeAlias = Callable[[Size, Box], Box]  # a picture's size, what a reader would show of it -> the part

NARROWEST = 3 / 4  # width by height of a part that is cut by area; the widest is the reverse
TRIES = 10  # shapes that are drawn before the largest possible one is taken


@dataclass(frozen=True)
class SideCut:
    """A part of what would be shown, in its shape: VSE-infinity."""

    share: float  # of each side
    right: float  # from 0, the left edge, to 1
    down: float

    def __call__(self, size: Size, shown: Box) -> Box:  # noqa: ARG002
        left, top, right, bottom = shown
        wide, high = (right - left) * self.share, (bottom - top) * self.share
        return _placed((wide, high), (self.right, self.down), shown)


@dataclass(frozen=True)
class AreaCut:
    """A part of the whole picture, of a shape of its own: torchvision's RandomResizedCrop, as in VSE++.

    The first of the shapes drawn that fits into the picture; if none does, the largest in the middle.
    """

    least: float  # share of the area
    draws: Sequence[Sequence[float]]  # of each try: area, shape, and how far right and down

    def __call__(self, size: Size, shown: Box) -> Box:  # noqa: ARG002
        width, height = size
        whole = (0.0, 0.0, float(width), float(height))
        for share, shape, right, down in self.draws:
            area = (self.least + share * (1 - self.least)) * width * height
            aspect = NARROWEST ** (1 - 2 * shape)  # even in its logarithm
            wide, high = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if wide <= width and high <= height:
                return _placed((wide, high), (right, down), whole)
        largest = min(width, height / NARROWEST), min(height, width / NARROWEST)
        return _placed(largest, (0.5, 0.5), whole)


def _placed(part: tuple[float, float], place: tuple[float, float], inside: Box) -> Box:
    """``place`` is how far right and down, as shares of the room there is."""
    (wide, high), (right, down) = part, place
    left = inside[0] + right * (inside[2] - inside[0] - wide)
    top = inside[1] + down * (inside[3] - inside[1] - high)
    return left, top, left + wide, top + high
