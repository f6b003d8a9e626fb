"""Bytes that somebody sent -> a picture; a stored file -> a small JPEG of its pixels and nothing else."""

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.read.pictures.heic import NeedsHeic, open_file
from wordsight.read.pictures.pixel_reader import UnreadablePicture, open_picture
from wordsight.search.index.index import Item
from wordsight.web.problems import Refused

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 50_000_000
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "HEIF",
    "MPO",
)  # no others: some start programs
SIZES = (320, 640, 1280)  # of a thumbnail's longer side, in pixels


def sent_picture(data: bytes, most_pixels: int = MOST_PIXELS) -> "Image":
    """Decoded, the way round it was taken. Raises UnreadablePicture, or Refused for too many pixels."""
    from PIL import Image

    if not data:
        raise UnreadablePicture("the picture", "it has no bytes; choose another file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
        try:
            picture = open_file(io.BytesIO(data), FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_many(most_pixels) from error
        except NeedsHeic as error:
            raise UnreadablePicture("the picture", str(error)) from error
        except Exception as error:  # Pillow's decoders raise nearly every class on a malformed file
            told = f"it is no {', '.join(FORMATS[:-1])}, or its head is damaged"
            raise UnreadablePicture("the picture", told) from error
        if picture.width * picture.height > most_pixels:
            raise _too_many(most_pixels, picture.size)
        return open_picture(picture)


def _too_many(limit: int, size: tuple[int, int] | None = None) -> Refused:
    told = f"{size[0]} x {size[1]}" if size else "far too many"
    return Refused(
        413, "too-many-pixels", f"The picture has {told} pixels, and the limit is {limit:,}; scale it down."
    )


def refused(stored: Item, error: UnreadablePicture) -> Refused:
    """What is told of a picture of the index whose file cannot be opened."""
    gone = not os.path.lexists(stored.path)
    told = "its file is no longer there" if gone else f"its file cannot be read ({error.reason})"
    return Refused(
        410 if gone else 409,
        "gone" if gone else "unreadable-picture",
        f"Item {stored.id} is in the index, but {told}; bring the index up to date: wordsight index.",
    )


def thumbnail(path: Path, size: int) -> bytes:
    """A JPEG of at most ``size`` pixels a side: pixels alone, no EXIF, no place, no name."""
    from PIL import Image

    picture = open_picture(path, at_least=size)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    Image.frombytes("RGB", picture.size, picture.tobytes()).save(out, "JPEG", quality=84, optimize=True)
    return out.getvalue()
