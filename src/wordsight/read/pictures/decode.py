"""Picture file -> RGB picture: turned as EXIF says, transparency on white, 8 bits; or UnreadablePicture."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.errors import InputError
from wordsight.pairs import Picture
from wordsight.read.pictures.heic import open_file

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 178_956_970  # that are decoded at once; Pillow's own limit
ORIENTATION = 0x0112  # EXIF tag; values of 5 and more swap width and height


class UnreadablePicture(InputError):  # noqa: N818
    """A picture that cannot be decoded; ``name`` says which, ``reason`` why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read as a picture: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.reason)


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
    return decode(picture, at_least)[0]


def decode(picture: Picture, at_least: int | None) -> tuple["Image", tuple[int, int]]:
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
