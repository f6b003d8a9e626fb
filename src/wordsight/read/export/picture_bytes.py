"""A picture, wherever it is -> the bytes that are kept in a shard; one that cannot be decoded is refused."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.errors import InputError
from wordsight.pairs import ImageSource, Picture
from wordsight.read.pictures.decode import open_picture, orientation
from wordsight.read.pictures.heic import open_file

if TYPE_CHECKING:
    from PIL.Image import Image


def picture_at(images: ImageSource, row: int, source: str) -> Picture:
    """One picture of an image source. Raises ValueError for a source that has features only."""
    found = images.read([row])
    if not isinstance(found, list):
        raise InputError(f"{source} has {type(found).__name__.lower()} and no pictures to keep in shards")
    return found[0]


def rgb_jpeg(picture: Picture, reencode: bool = False, quality: int = 95) -> bytes:
    """A JPEG in RGB. What is one already, and need not be turned, is kept as it is unless ``reencode``."""
    content = _original_bytes(picture)  # before decoding, which lets go of it
    rgb = open_picture(picture)
    if content is not None and not reencode and _is_upright_rgb_jpeg(content):
        return content
    return _saved(rgb, "JPEG", quality=quality)


def as_it_is(picture: Picture) -> tuple[bytes, str]:
    """The bytes of the picture's file and the suffix of their format; of pixels a PNG, which is exact."""
    content = _original_bytes(picture)  # before decoding, which lets go of it
    rgb = open_picture(picture)
    if content is None:
        return _saved(rgb, "PNG"), ".png"
    kind = str(open_file(BytesIO(content)).format).lower()
    return content, {"jpeg": ".jpg", "mpo": ".jpg", "tiff": ".tif"}.get(kind, f".{kind}")


def _original_bytes(picture: Picture) -> bytes | None:
    """The bytes that the picture is decoded from, if it is a file or was opened from bytes."""
    if isinstance(picture, str | Path):
        return Path(picture).read_bytes() if Path(picture).is_file() else None
    source = getattr(picture, "fp", None)
    return source.getvalue() if isinstance(source, BytesIO) else None


def _is_upright_rgb_jpeg(content: bytes) -> bool:
    image = open_file(BytesIO(content))
    return (image.format, image.mode, orientation(image)) == ("JPEG", "RGB", 1)


def _saved(image: "Image", kind: str, **settings: int) -> bytes:
    content = BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()
