"""Picture file -> Pixels in nearly its own shape, of whole patches: as Qwen2-VL reads."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.errors import InputError
from wordsight.read.pictures.pixel_reader import RESAMPLE, WHOLE, FrameReader, PreparedPicture, resized
from wordsight.registry.limits import Positive, Size
from wordsight.sets import Pixels
from wordsight.tensors import torch

if TYPE_CHECKING:
    from PIL.Image import Image

THINNEST = 200  # longer by so many times, a picture is not read


class ShapedPixels(FrameReader):
    """Pictures -> Pixels that nearly keep the shape of each picture.

    ``multiple``: pixels, of which each side is a multiple. ``least``, ``most``: pixels of a picture in all.
    ``mean``, ``std``: per channel, of values in [0, 1].
    """

    def __init__(
        self,
        multiple: Size,
        least: Size,
        most: Size,
        mean: Sequence[float],
        std: Sequence[Positive],
        resample: str = "bicubic",
    ) -> None:
        if resample not in RESAMPLE or len(mean) != 3 or len(std) != 3 or least > most:
            raise InputError(
                f"resample = {resample!r}, mean = {mean}, std = {std}, least = {least}, most = {most}; "
                f"expected one of {', '.join(sorted(RESAMPLE))}, three numbers each, and least up to most"
            )
        self.multiple, self.least, self.most, self.resample = multiple, least, most, resample
        self.mean, self.std = [float(one) for one in mean], [float(one) for one in std]

    @property
    def settings(self) -> dict[str, Any]:
        names = ("multiple", "least", "most", "mean", "std", "resample")
        return {name: getattr(self, name) for name in names}

    @property
    def square(self) -> tuple[int, int]:
        return self.scaled(self.multiple * 16, self.multiple * 16)

    @property
    def least_side(self) -> int:
        return math.ceil(math.sqrt(self.most))

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Height and width at which a picture of this size is read."""
        if max(width, height) > THINNEST * min(width, height):
            raise InputError(f"a picture of {width} x {height} pixels is too thin for this model; crop it")
        high, wide = (max(1, round(side / self.multiple)) * self.multiple for side in (height, width))
        if high * wide > self.most:
            shrink = math.sqrt(height * width / self.most) * self.multiple
            high, wide = (max(1, math.floor(side / shrink)) * self.multiple for side in (height, width))
        elif high * wide < self.least:
            grow = math.sqrt(self.least / (height * width)) / self.multiple
            high, wide = (math.ceil(side * grow) * self.multiple for side in (height, width))
        return high, wide

    def frame(self, image: "Image", size: tuple[int, int]) -> PreparedPicture:
        high, wide = self.scaled(*size)
        return PreparedPicture(np.asarray(resized(image, (wide, high), RESAMPLE[self.resample])), size, WHOLE)

    def stack(self, frames: Sequence[PreparedPicture]) -> Pixels:
        """Each picture in the top left of as many pixels as the largest has."""
        if not frames:
            side = self.multiple
            return Pixels(torch.zeros(0, 3, side, side), torch.zeros(0, 2, dtype=torch.long))
        alone = [
            Pixels(self._normalized(np.stack([frame.values])), torch.tensor([frame.values.shape[:2]]))
            for frame in frames
        ]
        return Pixels.join(alone)
