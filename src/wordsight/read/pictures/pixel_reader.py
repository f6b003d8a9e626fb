"""Picture file -> Pixels: turned as EXIF says, RGB on white, resized, normalized; or UnreadablePicture."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8

from wordsight.errors import InputError
from wordsight.pairs import Picture
from wordsight.read.base import Reader
from wordsight.read.pictures.crops import Box, Cut
from wordsight.read.pictures.heic import open_file
from wordsight.registry.limits import PixelSide, Positive
from wordsight.sets import Pixels

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
MOST_PIXELS = 178_956_970  # that are decoded at once; Pillow's own limit
ORIENTATION = 0x0112  # EXIF tag; values of 5 and more swap width and height
WHOLE = (0.0, 0.0, 1.0, 1.0)


class UnreadablePicture(InputError):  # noqa: N818
    """A picture that cannot be decoded; ``name`` says which, ``reason`` why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read as a picture: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.reason)


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """One picture brought to the size that a model reads, and which part of the picture that is."""

    values: UInt8[np.ndarray, "height width 3"]
    size: tuple[int, int]  # width, height of the whole upright picture in pixels
    window: tuple[float, float, float, float]  # the part in view: left, top, right, bottom; fractions
    others: tuple[
        "PreparedPicture", ...
    ] = ()  # the same picture in other sizes, for whoever else looks at it


class PixelReader(Reader):
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

    @property
    def identity(self) -> str:
        """A hash of everything that changes what is read."""
        return hashlib.blake2b(json.dumps(self.settings, sort_keys=True).encode(), digest_size=16).hexdigest()

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 (every reader is given the folder)
        return self.settings

    def __call__(self, pictures: Sequence[Picture]) -> Pixels:
        """Raises UnreadablePicture, which names the first picture that cannot be decoded and the reason."""
        return self.stack([self.prepare(picture) for picture in pictures])

    def read_parts(self, pictures: Sequence[Picture], cuts: Sequence[Cut]) -> Pixels:
        """Read a part of each picture, brought to the size whatever its shape: for training."""
        return self.stack([self._part(picture, cut) for picture, cut in zip(pictures, cuts, strict=True)])

    def _part(self, picture: Picture, cut: Cut) -> PreparedPicture:
        image, _ = _decode(picture, at_least=None)
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
        """Decode, turn and resize one picture: all that may run in another thread."""
        if isinstance(picture, np.ndarray) and self._fits(picture):
            return PreparedPicture(picture, (self.width, self.height), WHOLE)
        return prepare_for([self], picture)[0]

    def _fits(self, picture: np.ndarray) -> bool:
        """Whether there is nothing to turn into RGB, to resize or to cut."""
        right = picture.dtype == np.uint8 and picture.shape == (self.height, self.width, 3)
        return right and not self.keep_aspect

    @property
    def _least(self) -> int:
        return max(self.height, self.width, self.short_side or 0)

    def _frame(self, image: "Image", size: tuple[int, int]) -> PreparedPicture:
        filter_ = RESAMPLE[self.resample]
        if not self.keep_aspect:
            return PreparedPicture(
                np.asarray(_resized(image, (self.width, self.height), filter_)), size, WHOLE
            )
        scale = (self.short_side or max(self.height, self.width)) / min(image.size)
        wide, high = (max(int(side * scale + 1e-6), 1) for side in image.size)
        left, top = self._begin(wide - self.width), self._begin(high - self.height)
        corners = (left, top, left + self.width, top + self.height)
        window = (left / wide, top / high, corners[2] / wide, corners[3] / high)
        return PreparedPicture(np.asarray(_resized(image, (wide, high), filter_).crop(corners)), size, window)

    def _begin(self, left_over: int) -> int:
        """Where the centre begins, in pixels from the edge; Python rounds a half to the even number."""
        return round(left_over / 2) if self.round_crop else left_over // 2

    def stack(self, frames: Sequence[PreparedPicture]) -> Pixels:
        """Frames -> one normalized batch."""
        if not frames:
            return Pixels(torch.zeros(0, 3, self.height, self.width))
        values = torch.from_numpy(np.stack([frame.values for frame in frames])).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(number).view(3, 1, 1) * 255 for number in (self.mean, self.std))
        return Pixels(values.sub_(mean).div_(std))


def prepare_for(readers: Sequence[PixelReader], picture: Picture) -> list[PreparedPicture]:
    """One picture, decoded once, as each of the readers shows it."""
    image, size = _decode(picture, at_least=max(reader._least for reader in readers))
    return [reader._frame(image, size) for reader in readers]


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, the way round it was taken, without decoding. Raises UnreadablePicture."""
    try:
        with open_file(path) as image:
            return (image.height, image.width) if orientation(image) >= 5 else image.size
    except Exception as error:  # Pillow's decoders raise nearly every class on a malformed file
        raise UnreadablePicture(str(path), _reason(path, error)) from error


def open_picture(picture: Picture, at_least: int | None = None) -> "Image":
    """A file, an opened picture or a uint8 array as an RGB picture, the way round it was taken.

    Transparency is laid on white, 16 bits become 8, an animation shows its first frame. With ``at_least``
    (pixels) a large JPEG is decoded at a fraction of its size, its sides at least twice that many pixels; one
    of more than ``MOST_PIXELS`` always is.
    Raises UnreadablePicture with the file and the reason.
    """
    return _decode(picture, at_least)[0]


def _decode(picture: Picture, at_least: int | None) -> tuple["Image", tuple[int, int]]:
    """The RGB picture, and the width and height it would have without ``at_least``."""
    from PIL.Image import DecompressionBombError

    try:
        return _turned_rgb(_opened(picture), at_least)
    except DecompressionBombError as error:
        reason = "scale it down, or save it as a JPEG (not a progressive one), which is read at a fraction"
        raise UnreadablePicture(_name(picture), f"{_too_many_pixels(error)}; {reason}") from error
    except Exception as error:  # Pillow's decoders raise nearly every class on a malformed file
        system = error.strerror if isinstance(error, OSError) else None  # decoders raise OSErrors without
        raise UnreadablePicture(
            _name(picture), system.lower() if system else _reason(picture, error)
        ) from error


def _too_many_pixels(error: Exception) -> str:
    """Pillow's words without its advice to programmers."""
    numbers = re.findall(r"\d+", str(error))
    if len(numbers) < 2:
        return "it has too many pixels"
    return f"it has {int(numbers[0]):,} pixels, and the limit is {int(numbers[1]):,}"


def _opened(picture: Picture) -> "Image":
    from PIL import Image

    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8:
            raise InputError(f"its values are {picture.dtype}; expected uint8 from 0 to 255")
        return Image.fromarray(picture)
    image = picture if isinstance(picture, Image.Image) else open_file(picture)
    if image.format == "EPS":  # under whatever name: Pillow would start Ghostscript
        raise InputError("it is an EPS file, a program rather than a picture; convert it to PNG")
    return image


def _turned_rgb(image: "Image", at_least: int | None) -> tuple["Image", tuple[int, int]]:
    from PIL import ImageOps

    full = image.size
    if at_least is not None and image.format != "HEIF":  # which would show a small copy that its maker put in
        image.draft(None, (2 * at_least, 2 * at_least))  # only JPEG files answer; twice, to resize with care
    elif full[0] * full[1] > MOST_PIXELS and image.format == "JPEG":
        shrink = math.sqrt(full[0] * full[1] / MOST_PIXELS)
        image.draft(None, (int(full[0] / (2 * shrink)), int(full[1] / (2 * shrink))))
    drafted = image.size != full
    image.load()
    turn = orientation(image)
    rgb = _rgb(ImageOps.exif_transpose(image) if turn != 1 else image)
    if not drafted:
        return rgb, rgb.size
    return rgb, (full[1], full[0]) if turn >= 5 else full


def orientation(image: "Image") -> int:
    """How EXIF says to turn the picture, 1 to 8; a damaged EXIF block turns nothing."""
    try:
        value = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken EXIF block raises nearly every class, and the picture itself is fine
        return 1
    return value if 1 <= value <= 8 else 1


def _rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: "Image") -> "Image":
    """Grey values of 16 bits, 32 bits or floats in [0, 1] -> 8 bits; Pillow would clip them to white."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    highest = values.max(initial=0.0)
    if image.mode.startswith("I;16") or 255 < highest <= 65535:
        values = values / 257
    elif image.mode == "F" and highest <= 1:
        values = values * 255
    elif highest > 65535:
        raise InputError(f"mode {image.mode} with values up to {highest:.6g}, which have no known scale")
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")


def _resized(image: "Image", size: tuple[int, int], filter_: int) -> "Image":
    return image if image.size == size else image.resize(size, filter_)


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """Move back onto the edge what rounding has moved over it."""
    width, height = size
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height)


def _name(picture: Picture) -> str:
    if isinstance(picture, np.ndarray):
        return f"an array of shape {picture.shape}"
    return str(getattr(picture, "filename", "") or "a picture") if hasattr(picture, "mode") else str(picture)


def _reason(picture: Picture, error: Exception) -> str:
    if isinstance(picture, str | Path) and Path(picture).is_file() and Path(picture).stat().st_size == 0:
        return "the file is empty"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not a picture in any format that Pillow knows, or its head is damaged"
    return str(error).strip() or type(error).__name__
