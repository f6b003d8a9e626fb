"""Picture files of every kind open as they look, or say why they do not; PixelReader follows its formula."""

import io
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.heic import save_heic, without_heic

from wordsight import registry
from wordsight.read.pictures.crops import SideCut
from wordsight.read.pictures.decode import UnreadablePicture, open_picture
from wordsight.read.pictures.pixel_reader import PixelReader

# red | green over blue | white: no two turns of it look the same
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def photo(width: int = 48, height: int = 32) -> np.ndarray:
    """A smooth picture that differs everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (255 * x / width, 255 * y / height, 127 + 127 * np.sin(x / 7 + y / 5))
    return np.stack(channels, 2).astype(np.uint8)


def array_of(picture: object) -> np.ndarray:
    return np.asarray(open_picture(picture))  # type: ignore[arg-type]


# EXIF orientation -> what must be done to the stored pixels (Exif 2.32, tag 274)
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_turns_as_exif_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.concatenate([CORNERS, CORNERS[:, :1] // 2], axis=1)  # 2 x 3: a turn swaps width and height
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(stored).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(array_of(path), TURNS[orientation](stored))
    frame = PixelReader(4).prepare(path)
    assert frame.size == ((2, 3) if orientation >= 5 else (3, 2))


@pytest.mark.parametrize("orientation", TURNS)
def test_a_heic_photograph_is_turned_once(tmp_path: Path, orientation: int) -> None:
    """As telephones write it: the file says how to turn it, and its EXIF block says so again."""
    stored = np.concatenate([CORNERS, CORNERS[:, :1] // 2], axis=1).repeat(32, 0).repeat(32, 1)
    path = tmp_path / "turned.heic"
    save_heic(Image.fromarray(stored), path, orientation)
    np.testing.assert_allclose(array_of(path), TURNS[orientation](stored), atol=2)
    frame = PixelReader(16).prepare(path)
    assert frame.size == ((64, 96) if orientation >= 5 else (96, 64))
    np.testing.assert_array_equal(array_of(io.BytesIO(path.read_bytes())), array_of(path))


def test_a_heic_photograph_is_seen_and_not_the_small_copy_in_it(tmp_path: Path) -> None:
    path = tmp_path / "large.heic"
    save_heic(Image.fromarray(photo(640, 480)), path, thumbnails=[320])
    assert open_picture(path, at_least=100).size == (640, 480)


def test_a_heic_photograph_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    save_heic(Image.fromarray(photo()), path)
    told = r"photo\.heic cannot be read.*needs pillow-heif: pip install 'wordsight\[heic\]'"
    with without_heic(), pytest.raises(UnreadablePicture, match=told):
        open_picture(path)
    assert open_picture(path).size == (48, 32)


def test_the_library_of_heic_is_loaded_by_the_first_of_them() -> None:
    program = """
import io, sys
from PIL import Image
from wordsight.read.pictures.decode import open_picture
data = io.BytesIO()
Image.new("RGB", (4, 4)).save(data, "PNG")
open_picture(data)
assert "pillow_heif" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    Image.fromarray(photo()).save(path, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff broken")
    assert array_of(path).shape == (32, 48, 3)


def test_transparency_is_laid_on_white() -> None:
    red_half_there = Image.new("RGBA", (2, 1), (255, 0, 0, 128))
    np.testing.assert_allclose(array_of(red_half_there)[0, 0], (255, 127, 127), atol=1)
    nothing_there = Image.new("LA", (2, 1), (0, 0))
    np.testing.assert_array_equal(array_of(nothing_there)[0, 0], (255, 255, 255))


def test_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putdata([0, 1])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0)
    opened = array_of(Image.open(buffer))
    np.testing.assert_array_equal(opened[0], [[255, 255, 255], [10, 200, 30]])


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(ramp).save(path)
    np.testing.assert_array_equal(array_of(path)[..., 0].ravel(), np.arange(256))


def test_float_and_wide_integer_values_are_scaled(tmp_path: Path) -> None:
    floats = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(floats).save(tmp_path / "float.tiff")
    np.testing.assert_array_equal(array_of(tmp_path / "float.tiff")[..., 1].ravel(), np.arange(256))
    integers = Image.fromarray((np.arange(256, dtype=np.int32) * 257).reshape(16, 16))
    np.testing.assert_array_equal(array_of(integers)[..., 2].ravel(), np.arange(256))


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "HSV", "P"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    grey = Image.fromarray(np.full((4, 4, 3), 255, dtype=np.uint8)).convert(mode)
    opened = open_picture(grey)
    assert opened.mode == "RGB"
    np.testing.assert_allclose(np.asarray(opened), 255, atol=1)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    np.testing.assert_allclose(array_of(tmp_path / "print.jpg")[4, 4], (255, 0, 0), atol=3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_animation_shows_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(array_of(tmp_path / f"moving.{suffix}")[4, 4], (255, 0, 0), atol=3)


def test_a_file_an_array_and_an_opened_picture_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo()).save(path)
    reader = PixelReader(16)
    values = reader([path, str(path), photo(), Image.open(path)]).values
    assert values.shape == (4, 3, 16, 16)
    assert all(torch.equal(values[0], other) for other in values[1:])


def test_an_array_of_the_right_size_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = photo()
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    before = pixels.copy()
    read = PixelReader(pixels.shape[:2])([pixels, path]).values
    assert torch.equal(read[0], read[1])
    assert (pixels == before).all()


def test_a_given_picture_stays_as_it_was() -> None:
    image = Image.fromarray(photo()).convert("RGBA")
    before = image.tobytes()
    PixelReader(8)([image])
    assert (image.mode, image.tobytes()) == ("RGBA", before)


def jpeg(width: int = 48, height: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo(width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"dear diary", "not a picture in any format"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "(?i)truncated"),
        (jpeg()[:400], "(?i)truncated"),
        (jpeg(480, 320)[:-2000], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR", "(?i)truncated"),
    ],
    ids=["empty", "text", "only a head", "cut in the head", "cut in the data", "broken png"],
)
def test_unreadable_files_say_which_and_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadablePicture, match=reason) as caught:
        open_picture(path)
    assert str(path) in str(caught.value)
    assert caught.value.reason in str(caught.value)


def test_missing_files_folders_and_wrong_arrays(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match="no such file"):
        open_picture(tmp_path / "gone.jpg")
    with pytest.raises(UnreadablePicture, match="is a directory"):
        open_picture(tmp_path)
    with pytest.raises(UnreadablePicture, match=r"shape \(2, 2, 3\).*float64; expected uint8"):
        open_picture(np.zeros((2, 2, 3)))
    with pytest.raises(UnreadablePicture, match="no known scale"):
        open_picture(Image.fromarray(np.full((2, 2), 10**6, dtype=np.int32)))


def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (400, 300)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        UnreadablePicture, match=r"it has 120,000 pixels, and the limit is 2,000; scale it down"
    ):
        open_picture(path)
    save_heic(Image.new("RGB", (400, 300)), tmp_path / "bomb.heic")
    with pytest.raises(
        UnreadablePicture, match=r"it has 120,000 pixels, and the limit is 2,000; scale it down"
    ):
        open_picture(tmp_path / "bomb.heic")


def test_a_heic_photograph_that_says_it_is_smaller_is_not_decoded(tmp_path: Path) -> None:
    data = io.BytesIO()
    save_heic(Image.fromarray(photo(512, 512)), data)
    whole = data.getvalue()
    size = struct.pack(">II", 512, 512)
    assert size in whole
    with pytest.raises(UnreadablePicture, match="512x512 exceeds"):
        open_picture(io.BytesIO(whole.replace(size, struct.pack(">II", 64, 64))))  # type: ignore[arg-type]


SEEDS = {}
for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
    with io.BytesIO() as sample:
        Image.fromarray(photo(24, 16)).save(sample, kind)
        SEEDS[kind] = sample.getvalue()
if find_spec("pillow_heif"):
    with io.BytesIO() as sample:
        save_heic(Image.fromarray(photo(24, 16)), sample)
        SEEDS["HEIF"] = sample.getvalue()


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.sampled_from(sorted(SEEDS)),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    st.floats(0.05, 1),
)
def test_damaged_bytes_open_or_say_so(kind: str, changes: list[tuple[float, int]], kept: float) -> None:
    data = bytearray(SEEDS[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        image = open_picture(io.BytesIO(bytes(data[: int(kept * len(data))])))  # type: ignore[arg-type]
    except UnreadablePicture:
        return
    assert image.mode == "RGB"


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "large.jpg"
    Image.fromarray(photo(1600, 1200)).save(path, quality=95, exif=exif)
    assert min(open_picture(path, at_least=100).size) == 300  # an eighth would be less than twice 100
    frame = PixelReader(100).prepare(path)
    assert frame.size == ((1600, 1200) if orientation == 1 else (1200, 1600))
    whole = open_picture(path).resize((100, 100), Image.Resampling.BILINEAR)
    assert np.abs(frame.values.astype(int) - np.asarray(whole).astype(int)).mean() < 1


def test_values_follow_the_formula() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    values = PixelReader([32, 48], mean, std)([photo()]).values
    for channel in range(3):
        expected = (photo()[..., channel] / 255 - mean[channel]) / std[channel]
        np.testing.assert_allclose(values[0, channel].numpy(), expected, atol=1e-5)
    assert PixelReader(8)([]).values.shape == (0, 3, 8, 8)


def test_squashed_pictures_are_seen_whole_and_cut_ones_at_the_centre() -> None:
    wide = np.zeros((100, 300, 3), dtype=np.uint8)
    wide[:, 100:200] = 255
    squashed = PixelReader(60).prepare(wide)
    assert squashed.window == (0, 0, 1, 1)
    assert [squashed.values[30, x, 0] for x in (5, 30, 55)] == [0, 255, 0]
    cut = PixelReader(50, keep_aspect=True).prepare(wide)
    np.testing.assert_allclose(cut.window, (1 / 3, 0, 2 / 3, 1))
    assert cut.values[:, 2:-2].min() == 255
    inner = PixelReader(50, keep_aspect=True, short_side=100).prepare(wide)
    np.testing.assert_allclose(inner.window, (125 / 300, 0.25, 175 / 300, 0.75))


def test_centre_of_a_picture_of_vsepp_begins_at_the_even_pixel() -> None:
    """torchvision's CenterCrop, with which VSE++ was trained, rounds a half to the even number.

    500 x 334 becomes 383 x 256, of which 224 begin at 79.5: at 80 there, at 79 in transformers.
    """
    columns = np.zeros((334, 500, 3), dtype=np.uint8)
    columns[:] = np.linspace(0, 255, 500).astype(np.uint8)[None, :, None]
    begins = {}
    for round_crop in (True, False):
        reader = PixelReader(224, keep_aspect=True, short_side=256, round_crop=round_crop)
        frame = reader.prepare(columns)
        begins[round_crop] = round(frame.window[0] * 383), round(frame.window[1] * 256)
    assert begins == {True: (80, 16), False: (79, 16)}
    whole = np.asarray(Image.fromarray(columns).resize((383, 256), Image.Resampling.BILINEAR))
    reader = PixelReader(224, keep_aspect=True, short_side=256, round_crop=True)
    np.testing.assert_array_equal(reader.prepare(columns).values, whole[16:240, 80:304])


def test_identity_changes_with_every_setting_and_survives_saving(tmp_path: Path) -> None:
    base = PixelReader(32)
    others = [
        PixelReader(33),
        PixelReader(32, mean=(0.0, 0.0, 0.0)),
        PixelReader(32, std=(1.0, 1.0, 1.0)),
        PixelReader(32, resample="bicubic"),
        PixelReader(32, keep_aspect=True),
        PixelReader(32, short_side=40),
        PixelReader(32, round_crop=True),
    ]
    assert len({reader.identity for reader in [base, *others]}) == 8
    assert "round_crop" not in base.settings  # so that stores and indexes of before are known
    again = registry.build("reader", {"name": "pixels", **others[4].save(tmp_path)})
    assert again.identity == others[4].identity


def test_the_whole_as_a_part_is_what_is_read_anyway() -> None:
    for settings_ in ({}, {"keep_aspect": True}, {"keep_aspect": True, "short_side": 20}):
        reader = PixelReader([16, 12], **settings_)
        whole = reader([photo()]).values
        part = reader.read_parts([photo()], [SideCut(1.0, 0.3, 0.7)]).values
        torch.testing.assert_close(part, whole, atol=0.05, rtol=0)  # centres are whole pixels there


def test_parts_are_enlarged_from_the_picture_itself() -> None:
    """On a slope of 2 grey values per pixel, the part from column 20 to 60 and row 10 to 90."""
    slope = np.arange(100, dtype=np.uint8)[None, :, None].repeat(100, 0).repeat(3, 2) * 2
    slope[:, :, 1] = slope[:, :, 0].T
    reader = PixelReader(4, mean=[0] * 3, std=[1 / 255] * 3)
    values = reader.read_parts([slope], [lambda size, shown: (20, 10, 60, 90)]).values[0]
    torch.testing.assert_close(values[0, 0], torch.tensor([49.0, 69, 89, 109]), atol=1.5, rtol=0)
    torch.testing.assert_close(values[1, :, 0], torch.tensor([39.0, 79, 119, 159]), atol=1.5, rtol=0)


def test_a_part_may_reach_the_edge_in_spite_of_rounding() -> None:
    edge = [lambda size, shown: (-1e-14, 0.5, size[0] + 1e-12, size[1] + 1e-12)]
    assert PixelReader(4).read_parts([photo()], edge).values.isfinite().all()


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match=r'resample = "cubic" is unknown; known: bicubic'):
        PixelReader(32, resample="cubic")
    with pytest.raises(ValueError, match="short_side = 20 is less than the 32 x 32"):
        PixelReader(32, keep_aspect=True, short_side=20)
