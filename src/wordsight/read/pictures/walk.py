"""A folder -> the picture files in it and below. What is hidden, by a dot before its name, is left out."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2",
    ".heic", ".heif", ".hif",  # opened with the extra heic
)  # fmt: skip


def is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def is_hidden(name: str | bytes) -> bool:
    """As thumbnails are, what was thrown away, and what macOS writes beside a picture (``._1.jpg``)."""
    return os.fsencode(name).startswith(b".")


def pictures_below(folder: str | Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """In no order; the folder itself may be hidden. Links to folders are not followed."""
    for home, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(home, name) for name in names if is_picture(name) and not is_hidden(name))
