"""HEIC photographs as telephones write them, and Pillow as it is where pillow-heif is not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from PIL import Image


def save_heic(image: Image.Image, path: Path | BytesIO, orientation: int = 1, **settings: Any) -> None:
    """Without loss, turned by the file's own word for it, which the EXIF block repeats."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC photographs need wordsight[heic]")
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, "HEIF", quality=-1, exif=exif.tobytes(), **settings)


@contextmanager
def without_heic() -> Iterator[None]:
    Image.init()
    known = "HEIF" in Image.ID
    with patch.dict(sys.modules, {"pillow_heif": None}), patch.dict(Image.OPEN):
        if known:
            Image.ID.remove("HEIF")
            del Image.OPEN["HEIF"]
        try:
            yield
        finally:
            Image.ID.extend(["HEIF"] * known)
