"""A picture is found however its name is spelt, and a spelling that fits two files stands for neither."""

import unicodedata
from pathlib import Path

import pytest

from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.datasets.picture_names import PictureFolder, picture_folder
from wordsight.read.datasets.table import Table


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"picture")
    return folder


COMPOSED, PARTED = (unicodedata.normalize(form, "café Ä.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.jpg", "a.jpg"),
        (COMPOSED, PARTED),  # the file comes from a Mac, the caption file from anywhere
        (PARTED, COMPOSED),
        (f"{COMPOSED}/{COMPOSED}", f"{PARTED}/{PARTED}"),
        (r"trip\day 1\a.jpg", "trip/day 1/a.jpg"),
        (r"C:\Users\me\photos\trip\a.jpg", "trip/a.jpg"),
        (r"\\server\share\a.jpg", "a.jpg"),
        ("/home/them/data/images/a.jpg", "a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("https://example.org/pictures/a.jpg?size=large", "a.jpg"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("1000092795", "1000092795.jpg"),
        ("scan 22.05", "scan 22.05.png"),
        ("a.jfif", "a.jfif"),
        ("a.ppm", "a.ppm"),
        ("without", "without"),
        (" ./a.jpg".strip(), "a.jpg"),
    ],
)
def test_other_spellings_of_a_name(tmp_path: Path, name: str, file: str) -> None:
    touch(tmp_path, file)
    assert PictureFolder([tmp_path]).find(name) == tmp_path / file


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("b.jpg", ["a.jpg"]),
        ("1", ["1.jpg", "1.png"]),  # which of them?
        ("A.JPG", ["a.jpg", "a.JPG"]),
        ("../a.jpg", ["folder/a.jpg"]),
        ("a.jpg", ["a.png"]),  # another picture, perhaps
        ("x" * 300 + ".jpg", ["a.jpg"]),
    ],
)
def test_a_name_that_stands_for_no_file_or_for_two(tmp_path: Path, name: str, files: list[str]) -> None:
    touch(tmp_path / "p", *files)
    assert PictureFolder([tmp_path / "p"]).find(name) == tmp_path / "p" / name


def test_two_names_never_share_a_file_by_their_ends(tmp_path: Path) -> None:
    folder = PictureFolder([touch(tmp_path, "1.jpg")])
    assert folder.find("train/1.jpg") == tmp_path / "1.jpg"
    assert folder.find("val/1.jpg") == tmp_path / "val" / "1.jpg"  # reported as missing
    assert folder.find("train/1.jpg") == tmp_path / "1.jpg"


@pytest.mark.parametrize("name", ["images", "Images", "imgs", "Flicker8k_Dataset", "flickr30k-images", "."])
def test_pictures_beside_their_caption_file(tmp_path: Path, name: str) -> None:
    """ALBEF#136, OpenAI-CLIP#2: Images/ beside captions.txt, as Kaggle packs Flickr8k."""
    touch(tmp_path / name, "a.jpg")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,x\n")
    assert Table(tmp_path / "captions.txt").read().images.read([0]) == [tmp_path / name / "a.jpg"]


def test_absent_pictures_say_where_they_were_looked_up_first_and_how_to_say_where_they_are(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "images", "other.jpg")
    path = tmp_path / "t.csv"
    path.write_text("image,caption\na.jpg,x\n")
    message = (
        r"1 of 1, the first .*images/a\.jpg \(line 2\); give the folder .*--pictures FOLDER, or pictures"
    )
    with pytest.raises(FileNotFoundError, match=message):
        Table(path).read()
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder; .*--pictures FOLDER"):
        picture_folder(path, tmp_path / "nowhere")


def test_windows_paths_in_karpathys_json(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "val2014", "a.jpg")
    (tmp_path / "d.json").write_text(
        r'{"images": [{"filename": "coco\\val2014\\a.jpg", "split": "val",'
        r' "sentences": [{"raw": "x"}]}]}'
    )
    pairs = Karpathy(tmp_path / "d.json").read("val")
    assert pairs.images.read([0]) == [tmp_path / "images" / "val2014" / "a.jpg"]
