"""Beyond Pillow's limit of pixels a JPEG is decoded small, others are named (pannellum#596, rclip#201)."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordsight.read.pictures import decode, heic
from wordsight.read.pictures.decode import UnreadablePicture, open_picture, picture_size
from wordsight.read.pictures.pixel_reader import PixelReader

SIZE = (400, 200)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so low that a small picture is beyond them."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    monkeypatch.setattr(decode, "MOST_PIXELS", 10_000)


def saved(path: Path, **how: object) -> Path:
    half = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    half[:, SIZE[0] // 2 :] = 255
    Image.fromarray(half).save(path, **how)
    return path


def test_a_jpeg_is_read_at_a_fraction(tmp_path: Path, small_limit: None) -> None:
    path = saved(tmp_path / "wide.jpg")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    values = PixelReader(32, mean=[0, 0, 0], std=[1, 1, 1], keep_aspect=False)([path]).values[0]
    assert float(values[:, :, :12].max()) < 0.1 < 0.9 < float(values[:, :, 20:].min())
    whole = open_picture(path)
    assert 0 < whole.width * whole.height <= 10_000
    assert picture_size(path) == SIZE


@pytest.mark.parametrize(("name", "how"), [("a.png", {}), ("a.jpg", {"progressive": True})])
def test_what_cannot_be_read_small_is_said_in_plain_words(
    tmp_path: Path, small_limit: None, name: str, how: dict[str, object]
) -> None:
    path = saved(tmp_path / name, **how)
    with pytest.raises(
        UnreadablePicture, match=r"it has 80,000 pixels, and the limit is 10,000; scale it down"
    ) as error:
        PixelReader(32)([path])
    assert "PIL" not in str(error.value)


def test_there_is_a_limit_for_jpegs_too(
    tmp_path: Path, small_limit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heic, "MOST_PIXELS", 79_999)
    with pytest.raises(UnreadablePicture, match="80,000 pixels"):
        PixelReader(32)([saved(tmp_path / "a.jpg")])
