"""A file, or its bytes -> the picture that Pillow opens; HEIC photographs too, with pillow-heif."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.errors import MissingPackageError
from wordsight.files.fingerprint import stat_regular

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

BRANDS = (
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"hevm",
    b"hevs",
    b"mif1",
    b"msf1",
)  # ISO 23008-12
MOST_PIXELS = 2**30  # of a JPEG
HEAD = 12  # bytes: the length of the first box, "ftyp", and the brand


class NeedsHeic(MissingPackageError):  # noqa: N818
    """An HEIC photograph, and pillow-heif is not installed."""

    def __init__(self) -> None:
        super().__init__("an HEIC photograph, which needs pillow-heif: pip install 'wordsight[heic]'")


def open_file(source: str | Path | BytesIO, formats: Sequence[str] | None = None) -> "ImageFile":
    """``Image.open``; ``formats`` that this Pillow does not know are left out.

    A JPEG may have more pixels than Pillow allows: only draft() makes it small enough to be decoded.
    pillow-heif is loaded when the first HEIC photograph is met. Raises NeedsHeic without it, and otherwise
    what Pillow raises; OSError for a pipe, a socket or a device.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, str | Path):
        stat_regular(source)
    try:
        return Image.open(source, formats=_known(formats))
    except Image.DecompressionBombError:
        if (formats is not None and "JPEG" not in formats) or (large := _large_jpeg(source)) is None:
            raise
        return large
    except UnidentifiedImageError:
        if (formats is not None and "HEIF" not in formats) or not _is_heic(source):
            raise
    _register()
    return Image.open(source, formats=_known(formats))


def _large_jpeg(source: str | Path | BytesIO) -> "ImageFile | None":
    """A JPEG beyond Pillow's limit, which is to be decoded at a fraction of its size (``draft``).

    None for other formats, for a progressive one, whose decoder holds all of it whatever the size that is
    wanted, and beyond ``MOST_PIXELS``.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    if not isinstance(source, str | Path):
        source.seek(0)
    try:
        image = JpegImageFile(source)
    except (SyntaxError, OSError):
        return None
    too_large = image.width * image.height > MOST_PIXELS or "progressive" in image.info
    return None if too_large else image


def _known(formats: Sequence[str] | None) -> list[str] | None:
    from PIL import Image

    if formats is None:
        return None
    Image.init()
    return [name for name in formats if name in Image.OPEN]


def _is_heic(source: str | Path | BytesIO) -> bool:
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            head = file.read(HEAD)
    else:
        source.seek(0)
        head = source.read(HEAD)
        source.seek(0)
    return head[4:8] == b"ftyp" and head[8:] in BRANDS


def _register() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise NeedsHeic from error
    register_heif_opener()
