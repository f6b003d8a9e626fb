"""Uploaded bytes -> a picture; an indexed file -> a thumbnail without metadata."""

import io
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.read.pictures.decode import UnreadablePicture, open_picture
from wordsight.read.pictures.heic import NeedsHeic, open_file
from wordsight.search.index.index import Item
from wordsight.search.index.picture_roots import OutsideRootsError, PictureRoots
from wordsight.web.problems import Refused

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
MEDIA = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "MPO": "image/jpeg",
    "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-anymap",
}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "MPO")  # of uploads


def sent_picture(data: bytes, most_pixels: int = MAX_PIXELS) -> "Image":
    """Decode an upload, upright. Raises UnreadablePicture, or Refused for too many pixels."""
    from PIL import Image

    if not data:
        raise UnreadablePicture("the picture", "it is empty; choose another file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
        try:
            picture = open_file(io.BytesIO(data), FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_many(most_pixels) from error
        except NeedsHeic as error:
            raise UnreadablePicture("the picture", str(error)) from error
        except Exception as error:  # Pillow's decoders raise nearly every class on a malformed file
            reason = f"it is not a {', '.join(FORMATS[:-1])} file, or it is damaged"
            raise UnreadablePicture("the picture", reason) from error
        if picture.width * picture.height > most_pixels:
            raise _too_many(most_pixels, picture.size)
        return open_picture(picture)


def _too_many(limit: int, size: tuple[int, int] | None = None) -> Refused:
    count = f"{size[0]} x {size[1]}" if size else "too many"
    return Refused(
        413, "too-many-pixels", f"The picture has {count} pixels, and the limit is {limit:,}; scale it down."
    )


def file_of(stored: Item, roots: PictureRoots) -> Path:
    """The file of an item. Raises Refused if it lies elsewhere, UnreadablePicture for a pipe or a device."""
    try:
        file = roots.resolve(stored.path)
    except OutsideRootsError as error:
        raise Refused(
            404,
            "no-picture",
            f"Item {stored.id} is in the index, but the server's owner did not index its folder here; "
            "with trust in the index, start the server with that folder: wordsight serve --root FOLDER.",
        ) from error
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe could wait for ever
            raise UnreadablePicture(str(file), "it is not a regular file")
    except OSError as error:
        raise UnreadablePicture(str(file), (error.strerror or str(error)).lower()) from error
    return file


def original_media(file: Path) -> str:
    """The media type of a picture's file, by its content. Raises UnreadablePicture for any other file."""
    try:
        with open_file(file, tuple(MEDIA)) as picture:
            return MEDIA[str(picture.format)]
    except Exception as error:  # Pillow's decoders raise nearly every class on a malformed file
        raise UnreadablePicture(str(file), f"it is none of {', '.join(MEDIA)}") from error


def refused(stored: Item, error: UnreadablePicture) -> Refused:
    """The error for a picture of the index whose file cannot be opened."""
    gone = not os.path.lexists(stored.path)
    reason = "its file is no longer there" if gone else f"its file cannot be read ({error.reason})"
    return Refused(
        410 if gone else 409,
        "gone" if gone else "unreadable-picture",
        f"Item {stored.id} is in the index, but {reason}; bring the index up to date: wordsight index.",
    )


def thumbnail(path: Path, size: int) -> bytes:
    """A JPEG of at most ``size`` pixels a side, without EXIF, place or name."""
    from PIL import Image

    picture = open_picture(path, at_least=size)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    Image.frombytes("RGB", picture.size, picture.tobytes()).save(out, "JPEG", quality=84, optimize=True)
    return out.getvalue()
