"""Picture file -> Pixels: turned as EXIF says, RGB on white, resized, normalized; or UnreadablePicture."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from wordsight.errors import InputError
from wordsight.pairs import Picture
from wordsight.read.base import Reader
from wordsight.read.pictures.crops import Box, Cut
from wordsight.read.pictures.decode import decode
from wordsight.registry.limits import PixelSide, Positive
from wordsight.sets import Pixels
from wordsight.tensors import Tensor, torch

if TYPE_CHECKING:
    from PIL.Image import Image

RESAMPLE = {
    "nearest": 0,
    "lanczos": 1,
    "bilinear": 2,
    "bicubic": 3,
    "box": 4,
    "hamming": 5,
}  # Pillow's numbers
WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """One picture brought to the size that a model reads, and which part of the picture that is."""

    values: UInt8[np.ndarray, "height width 3"]
    size: tuple[int, int]  # width, height of the whole upright picture in pixels
    window: tuple[float, float, float, float]  # the part in view: left, top, right, bottom; fractions
    others: tuple[
        "PreparedPicture", ...
    ] = ()  # the same picture in other sizes, for whoever else looks at it


class FrameReader(Reader):
    """Pictures -> frames of uint8 values, which any thread may prepare -> one normalized batch of Pixels."""

    mean: list[float]  # per channel, of values in [0, 1]
    std: list[float]

    @property
    def square(self) -> tuple[int, int]:
        """Height and width in pixels, of a square picture where pictures keep their shape."""
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes what is read."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """A hash of everything that changes what is read."""
        return hashlib.blake2b(json.dumps(self.settings, sort_keys=True).encode(), digest_size=16).hexdigest()

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 (every reader is given the folder)
        return self.settings

    def __call__(self, pictures: Sequence[Picture]) -> Pixels:
        """Raises UnreadablePicture, which names the first picture that cannot be decoded and the reason."""
        return self.stack([self.prepare(picture) for picture in pictures])

    def prepare(self, picture: Picture) -> PreparedPicture:
        """Decode, turn and resize one picture: all that may run in another thread."""
        return prepare_for([self], picture)[0]

    def stack(self, frames: Sequence[PreparedPicture]) -> Pixels:
        """Frames -> one normalized batch."""
        raise NotImplementedError

    @property
    def least_side(self) -> int:
        """Pixels that the shorter side of a decoded picture must have."""
        raise NotImplementedError

    def frame(self, image: "Image", size: tuple[int, int]) -> PreparedPicture:
        """A decoded picture as the model reads it; ``size``: width and height before it was scaled down."""
        raise NotImplementedError

    def _normalized(self, values: UInt8[np.ndarray, "image height width 3"]) -> Tensor:
        pixels = torch.from_numpy(values).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(number).view(3, 1, 1) * 255 for number in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)


class PixelReader(FrameReader):
    """Pictures -> Pixels of one size.

    ``size``: height and width in pixels, or one number for both. ``mean``, ``std``: per channel, of values
    in [0, 1]. ``keep_aspect`` False squashes the whole picture to that size; True scales its shorter side to
    ``short_side`` (by default the larger of height and width) and cuts out the centre. A centre between two
    pixels begins at the smaller one, as in transformers, or with ``round_crop`` at the even one, as in
    torchvision, which VSE++ was trained with.
    """

    def __init__(
        self,
        size: PixelSide | Sequence[PixelSide],
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[Positive] = (0.5, 0.5, 0.5),
        resample: str = "bilinear",
        keep_aspect: bool = False,
        short_side: PixelSide | None = None,
        round_crop: bool = False,
    ) -> None:
        if resample not in RESAMPLE:
            raise InputError(f'resample = "{resample}" is unknown; known: {", ".join(sorted(RESAMPLE))}')
        self.size = size
        self.mean = [float(number) for number in mean]
        self.std = [float(number) for number in std]
        self.resample = resample
        self.keep_aspect = keep_aspect
        self.short_side = short_side
        self.round_crop = round_crop
        sides = [size, size] if isinstance(size, int) else list(size)
        if len(sides) != 2 or len(self.mean) != 3 or len(self.std) != 3:
            raise InputError(
                f"size = {size}, mean = {self.mean}, std = {self.std}; expected one side or two, and a mean "
                "and a std for each of three channels"
            )
        self.height, self.width = sides
        if short_side is not None and short_side < max(self.height, self.width):
            raise InputError(
                f"short_side = {short_side} is less than the {self.height} x {self.width} pixels to cut out"
            )

    @property
    def settings(self) -> dict[str, Any]:
        size = self.size if isinstance(self.size, int) else list(self.size)
        names = ["mean", "std", "resample", "keep_aspect", "short_side"]
        names += ["round_crop"] if self.round_crop else []  # left out, it changes no identity of before
        return {"size": size, **{name: getattr(self, name) for name in names}}

    def read_parts(self, pictures: Sequence[Picture], cuts: Sequence[Cut]) -> Pixels:
        """Read a part of each picture, brought to the size whatever its shape: for training."""
        return self.stack([self._part(picture, cut) for picture, cut in zip(pictures, cuts, strict=True)])

    def _part(self, picture: Picture, cut: Cut) -> PreparedPicture:
        image, _ = decode(picture, at_least=None)
        size = image.size
        part = cut(size, self._shown(size))
        window = (part[0] / size[0], part[1] / size[1], part[2] / size[0], part[3] / size[1])
        values = image.resize((self.width, self.height), RESAMPLE[self.resample], box=_inside(part, size))
        return PreparedPicture(np.asarray(values), size, window)

    def _shown(self, size: tuple[int, int]) -> Box:
        """The part of a picture of that size that ``prepare`` shows: all of it, or its centre."""
        if not self.keep_aspect:
            return 0.0, 0.0, float(size[0]), float(size[1])
        scale = min(size) / (self.short_side or max(self.height, self.width))
        wide, high = self.width * scale, self.height * scale
        left, top = (size[0] - wide) / 2, (size[1] - high) / 2
        return left, top, left + wide, top + high

    def prepare(self, picture: Picture) -> PreparedPicture:
        if isinstance(picture, np.ndarray) and self._fits(picture):
            return PreparedPicture(picture, (self.width, self.height), WHOLE)
        return super().prepare(picture)

    def _fits(self, picture: np.ndarray) -> bool:
        """Whether there is nothing to turn into RGB, to resize or to cut."""
        right = picture.dtype == np.uint8 and picture.shape == (self.height, self.width, 3)
        return right and not self.keep_aspect

    @property
    def square(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def least_side(self) -> int:
        return max(self.height, self.width, self.short_side or 0)

    def frame(self, image: "Image", size: tuple[int, int]) -> PreparedPicture:
        filter_ = RESAMPLE[self.resample]
        if not self.keep_aspect:
            return PreparedPicture(
                np.asarray(resized(image, (self.width, self.height), filter_)), size, WHOLE
            )
        scale = (self.short_side or max(self.height, self.width)) / min(image.size)
        wide, high = (max(int(side * scale + 1e-6), 1) for side in image.size)
        left, top = self._begin(wide - self.width), self._begin(high - self.height)
        corners = (left, top, left + self.width, top + self.height)
        window = (left / wide, top / high, corners[2] / wide, corners[3] / high)
        return PreparedPicture(np.asarray(resized(image, (wide, high), filter_).crop(corners)), size, window)

    def _begin(self, left_over: int) -> int:
        """Where the centre begins, in pixels from the edge; Python rounds a half to the even number."""
        return round(left_over / 2) if self.round_crop else left_over // 2

    def stack(self, frames: Sequence[PreparedPicture]) -> Pixels:
        if not frames:
            return Pixels(torch.zeros(0, 3, self.height, self.width))
        return Pixels(self._normalized(np.stack([frame.values for frame in frames])))


def prepare_for(readers: Sequence[FrameReader], picture: Picture) -> list[PreparedPicture]:
    """One picture, decoded once, as each of the readers shows it."""
    image, size = decode(picture, at_least=max(reader.least_side for reader in readers))
    return [reader.frame(image, size) for reader in readers]


def resized(image: "Image", size: tuple[int, int], filter_: int) -> "Image":
    return image if image.size == size else image.resize(size, filter_)


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """Move back onto the edge what rounding has moved over it."""
    width, height = size
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height)
