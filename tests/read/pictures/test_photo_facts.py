"""A picture's camera and place are those of its EXIF; nonsense counts as nothing."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wordsight.read.pictures.photo_facts import PhotoFacts, photo_facts

BERLIN = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}


def picture(path: Path, place: dict[int, Any] | None = None, **camera: str) -> Path:
    """A picture with this block of its place, and the maker and model of its camera."""
    exif = Image.Exif()
    for name, value in camera.items():
        exif[{"make": 0x010F, "model": 0x0110}[name]] = value
    exif.get_ifd(0x8825).update(place or {})
    Image.new("RGB", (8, 8)).save(path, exif=exif.tobytes())
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_camera_and_place_are_read_from_every_format_that_holds_exif(tmp_path: Path, name: str) -> None:
    found = photo_facts(picture(tmp_path / name, BERLIN, make="Canon", model="Canon EOS 5D"))
    assert found == PhotoFacts(None, "Canon EOS 5D", 52_520_000, 13_405_000)


def test_south_and_west_are_negative(tmp_path: Path) -> None:
    place = BERLIN | {1: "S", 3: "W"}
    assert photo_facts(picture(tmp_path / "a.jpg", place)) == PhotoFacts(None, "", -52_520_000, -13_405_000)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [("Apple", "iPhone 12", "Apple iPhone 12"), ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
     ("", "X", "X"), ("SONY", "", "SONY"), (" LG \0", "G\n5  ", "LG G 5")],
)  # fmt: skip
def test_a_camera_is_named_once(make: str, model: str, camera: str, tmp_path: Path) -> None:
    assert photo_facts(picture(tmp_path / "a.jpg", make=make, model=model)).camera == camera


@pytest.mark.parametrize(
    "place",
    [{}, {2: (52.0, 31.0, 12.0)}, BERLIN | {2: (95.0, 0.0, 0.0)}, BERLIN | {4: (200.0, 0.0, 0.0)},
     {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}],
)  # fmt: skip
def test_a_place_that_is_none_is_left_out(place: dict[int, Any], tmp_path: Path) -> None:
    found = photo_facts(picture(tmp_path / "a.jpg", place, model="X"))
    assert found == PhotoFacts(None, "X", None, None)


def test_what_is_damaged_or_no_picture_says_nothing(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.jpg", BERLIN, make="Canon", model="EOS").read_bytes()
    for at in range(20, 250):
        (tmp_path / "b.jpg").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        photo_facts(tmp_path / "b.jpg")
    assert photo_facts(tmp_path / "nowhere.jpg") == PhotoFacts()
