"""A picture's date is the one on which it was taken (photo-organizer#16)."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from wordsight.read.pictures.date_taken import EXIF, date_taken


def picture(
    path: Path, tags: dict[int, object] | None = None, first: dict[int, object] | None = None
) -> Path:
    """A picture with these tags in its Exif block, and in the first one."""
    exif = Image.Exif()
    for number, value in ({0x010F: "a camera"} | (first or {})).items():
        exif[number] = value
    exif.get_ifd(EXIF).update(tags or {})
    Image.new("RGB", (8, 8)).save(path, exif=exif.tobytes())
    return path


def local(*numbers: int) -> int:
    return int(datetime(*numbers).timestamp()) * 10**9  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
def test_every_format_that_holds_exif_gives_its_date(tmp_path: Path, name: str) -> None:
    made = picture(tmp_path / name, {0x9003: "2010:06:15 12:30:05"})
    assert date_taken(made) == local(2010, 6, 15, 12, 30, 5)


def test_an_iphones_picture_gives_its_date(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="HEIC photographs need wordsight[heic]").register_heif_opener()
    made = picture(tmp_path / "a.heic", {0x9003: "2010:06:15 12:30:05"})
    assert date_taken(made) == local(2010, 6, 15, 12, 30, 5)


def test_taken_goes_before_digitized_and_that_before_written(tmp_path: Path) -> None:
    all_three = {0x9003: "2010:01:01 00:00:00", 0x9004: "2011:01:01 00:00:00"}
    written = {0x0132: "2012:01:01 00:00:00"}
    assert date_taken(picture(tmp_path / "a.jpg", all_three, written)) == local(2010, 1, 1)
    assert date_taken(picture(tmp_path / "b.jpg", {0x9004: "2011:01:01 00:00:00"}, written)) == local(
        2011, 1, 1
    )
    assert date_taken(picture(tmp_path / "c.jpg", None, written)) == local(2012, 1, 1)


def test_an_offset_and_a_fraction_count(tmp_path: Path) -> None:
    tags = {0x9003: "2010:06:15 12:30:05", 0x9011: "+05:30", 0x9291: "25"}
    moment = datetime(2010, 6, 15, 7, 0, 5, tzinfo=UTC)
    assert date_taken(picture(tmp_path / "a.jpg", tags)) == int(moment.timestamp()) * 10**9 + 250_000_000


@pytest.mark.parametrize(
    "date",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2010:02:31 12:00:00",
        "yesterday",
        "1200:01:01 00:00:00",
        "",
    ],
)
def test_a_date_that_is_none_is_left_to_the_file(tmp_path: Path, date: str) -> None:
    assert date_taken(picture(tmp_path / "a.jpg", {0x9003: date})) is None


def test_what_is_damaged_or_no_picture_has_no_date(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.jpg", {0x9003: "2010:06:15 12:30:05"}).read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.jpg").write_bytes(whole[:end])
        assert date_taken(tmp_path / "cut.jpg") in (None, local(2010, 6, 15, 12, 30, 5))
    for at in range(20, 120):
        (tmp_path / "b.jpg").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        date_taken(tmp_path / "b.jpg")
    assert date_taken(tmp_path / "nowhere.jpg") is None
