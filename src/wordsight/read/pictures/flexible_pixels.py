"""Picture file -> Pixels in the picture's own shape, of at most so many patches: as SigLIP 2 NaFlex reads."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.errors import InputError
from wordsight.pretrained.naflex import grid_of
from wordsight.read.pictures.pixel_reader import RESAMPLE, WHOLE, FrameReader, PreparedPicture, resized
from wordsight.registry.limits import Positive, Size
from wordsight.sets import Pixels
from wordsight.tensors import torch

if TYPE_CHECKING:
    from PIL.Image import Image


class FlexiblePixels(FrameReader):
    """Pictures -> Pixels that keep the shape of each picture, as far as whole patches allow.

    ``patch``: pixels along each side of a patch. ``most_patches``: the most that one picture has. ``mean``,
    ``std``: per channel, of values in [0, 1].
    """

    def __init__(
        self,
        patch: Size = 16,
        most_patches: Size = 256,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[Positive] = (0.5, 0.5, 0.5),
        resample: str = "bilinear",
    ) -> None:
        if resample not in RESAMPLE:
            raise InputError(f'resample = "{resample}" is unknown; known: {", ".join(sorted(RESAMPLE))}')
        self.patch = patch
        self.most_patches = most_patches
        self.mean = [float(number) for number in mean]
        self.std = [float(number) for number in std]
        self.resample = resample
        if len(self.mean) != 3 or len(self.std) != 3:
            raise InputError(f"mean = {self.mean}, std = {self.std}; expected one of each for three channels")

    @property
    def settings(self) -> dict[str, Any]:
        names = ("patch", "most_patches", "mean", "std", "resample")
        return {name: getattr(self, name) for name in names}

    @property
    def square(self) -> tuple[int, int]:
        side = self.patch * math.isqrt(self.most_patches)
        return side, side

    @property
    def least_side(self) -> int:
        return self.patch * math.ceil(math.sqrt(self.most_patches))

    def frame(self, image: "Image", size: tuple[int, int]) -> PreparedPicture:
        rows, columns = grid_of(size[1], size[0], self.patch, self.most_patches)
        shown = resized(image, (columns * self.patch, rows * self.patch), RESAMPLE[self.resample])
        return PreparedPicture(np.asarray(shown), size, WHOLE)

    def stack(self, frames: Sequence[PreparedPicture]) -> Pixels:
        """Each picture in the top left of as many pixels as the largest has."""
        if not frames:
            return Pixels(torch.zeros(0, 3, self.patch, self.patch), torch.zeros(0, 2, dtype=torch.long))
        alone = [
            Pixels(self._normalized(np.stack([frame.values])), torch.tensor([frame.values.shape[:2]]))
            for frame in frames
        ]
        return Pixels.join(alone)
