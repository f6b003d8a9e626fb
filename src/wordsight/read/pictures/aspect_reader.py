"""Picture -> pixels in its own proportions, as detectors read it; padded to a square where they want one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.errors import InputError
from wordsight.read.pictures.pixel_reader import RESAMPLE, WHOLE, PixelReader, PreparedPicture
from wordsight.registry.limits import PixelSide, Positive

if TYPE_CHECKING:
    from PIL.Image import Image


class AspectReader(PixelReader):
    """Pictures scaled without a change of their proportions.

    ``short_side``, ``long_side``: pixels; the shorter side of a picture is scaled to the first, unless the
    longer one would then be beyond the second. ``padded``: every picture is scaled so that its longer side is
    ``long_side``, and black is added on the right or below; what is in view is then more than the picture.
    """

    def __init__(
        self,
        short_side: PixelSide,
        long_side: PixelSide,
        mean: Sequence[float],
        std: Sequence[Positive],
        resample: str = "bilinear",
        padded: bool = False,
    ) -> None:
        if short_side > long_side:
            raise InputError(f"short_side = {short_side} is more than long_side = {long_side} pixels")
        super().__init__(long_side, mean, std, resample)
        self.shorter = short_side
        self.padded = padded

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"shorter": self.shorter, "padded": self.padded}

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height at which a picture of this size is read."""
        short, long = min(size), max(size)
        if self.padded:  # whole pixels only: the part of one that is left over is not shown
            short, long = max(1, self.height * short // long), self.height
        elif long / short * self.shorter > self.height:
            short, long = max(1, round(self.height * short / long)), self.height
        else:
            short, long = self.shorter, int(self.shorter * long / short)
        return (long, short) if size[0] >= size[1] else (short, long)

    def _fits(self, picture: np.ndarray) -> bool:  # noqa: ARG002 (it is scaled whatever its size)
        return False

    def frame(self, image: "Image", size: tuple[int, int]) -> PreparedPicture:
        from PIL import Image

        wide, high = self.scaled(size)
        filter_ = RESAMPLE[self.resample]
        if not self.padded:
            return PreparedPicture(np.asarray(image.resize((wide, high), filter_)), size, WHOLE)
        scale = max(image.size) / self.height  # pixels of the picture in one of the view
        shown = (0.0, 0.0, min(wide * scale, image.width), min(high * scale, image.height))
        canvas = Image.new("RGB", (self.width, self.height))
        canvas.paste(image.resize((wide, high), filter_, box=shown))
        longest = max(size)
        return PreparedPicture(np.asarray(canvas), size, (0.0, 0.0, longest / size[0], longest / size[1]))
