"""A walk finds the pictures of a folder, and leaves out what a system keeps there (immich#7980)."""

import os
import shutil
import socket
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_index import draw, make, small_model
from support.small_problem import wordsight

from wordsight.read.features.extract import find_pictures
from wordsight.read.pictures.decode import UnreadablePicture, open_picture
from wordsight.read.pictures.walk import WalkNotes, WalkRules, is_picture_file, pictures_below


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("source"))


def place(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([number, len(name)]).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name, "png")


def found(folder: Path, rules: WalkRules | None = None, notes: WalkNotes | None = None) -> set[str]:
    return {str(path.relative_to(folder)) for path in pictures_below(folder, rules, notes)}


def test_folders_of_a_nas_or_a_system_are_left_out_and_counted(tmp_path: Path) -> None:
    place(tmp_path, "a.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "b/@eaDir/x.png", "#recycle/x.png")
    place(
        tmp_path, "$RECYCLE.BIN/x.png", "@Recently-Snapshot/x.png", "lost+found/x.png", "b/b.png", "c/c.png"
    )
    place(tmp_path, "All.photoslibrary/originals/1.png", "All.photoslibrary/resources/derivatives/1.png")
    (tmp_path / "c" / ".nomedia").touch()
    notes = WalkNotes()
    assert found(tmp_path, notes=notes) == {"a.png", "b/b.png", "All.photoslibrary/originals/1.png"}
    assert notes.left_out == {
        "@eaDir": 2, "#recycle": 1, "$RECYCLE.BIN": 1, "@Recently-Snapshot": 1, "lost+found": 1,
        "folders with .nomedia": 1, "copies made by a Photos library": 1,
    }  # fmt: skip
    assert found(tmp_path / "#recycle") == {"x.png"}  # who names it means it
    assert found(tmp_path / "c") == {"c.png"}


def test_patterns_are_those_of_a_gitignore(tmp_path: Path) -> None:
    place(tmp_path, "a.png", "raw/a.png", "2019/raw/b.png", "2019/b.png", "2019/drafts/c.png", "raws.png")
    everything = found(tmp_path)
    for patterns, gone in (
        (("raw/",), {"raw/a.png", "2019/raw/b.png"}),
        (("/raw",), {"raw/a.png"}),
        (("*.png", "!a.png"), everything - {"a.png", "raw/a.png"}),
        (("2019/**/c.png", "raws.*"), {"2019/drafts/c.png", "raws.png"}),
    ):
        assert found(tmp_path, WalkRules(patterns)) == everything - gone
    with pytest.raises(ValueError, match=r"--exclude: .*write it as in a \.gitignore"):
        WalkRules(("!",))


def test_pipes_sockets_and_devices_are_skipped_and_listed(tmp_path: Path) -> None:
    place(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")  # is not opened to see what it is
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s.png"))
        files, skipped = find_pictures(tmp_path)
        assert [path.name for path in files] == ["a.png"]
        assert {path.name: reason for path, reason in skipped} == {
            "pipe.png": "a named pipe, not a regular file",
            "s.png": "a socket, not a regular file",
            "device.png": "a device, not a regular file",
            "gone.png": "no such file or directory",
            "loop.png": "too many levels of symbolic links",
        }
    with pytest.raises(UnreadablePicture, match="a named pipe, not a regular file"):
        open_picture(tmp_path / "pipe.png")


def test_links_to_folders_are_followed_when_that_is_wanted_and_never_in_a_circle(tmp_path: Path) -> None:
    place(tmp_path, "photos/b/b.png", "elsewhere/x.png", "photos/a.png")
    (tmp_path / "photos" / "a").symlink_to("b")  # also inside: its pictures keep their path in b
    (tmp_path / "photos" / "b" / "up").symlink_to("..")
    (tmp_path / "photos" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "one.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    own, notes = {"b/b.png", "a.png", "one.png"}, WalkNotes()
    assert found(tmp_path / "photos", notes=notes) == own
    assert notes.left_out == {"links to folders, see --follow-links": 3}
    notes = WalkNotes()
    followed = found(tmp_path / "photos", WalkRules(follow_links=True), notes)
    assert followed == own | {"out/x.png"}
    assert notes.left_out == {"links to folders read already": 2}


def test_a_file_without_a_suffix_is_what_its_content_says(tmp_path: Path) -> None:
    place(tmp_path, "photo", "12345")
    (tmp_path / "README").write_text("no picture")
    (tmp_path / "data").write_bytes(b"BM is no bitmap yet")
    (tmp_path / "text.md").write_bytes((tmp_path / "photo").read_bytes())
    for kind in ("jpeg", "gif", "webp", "tiff", "bmp", "avif", "jpeg2000"):
        Image.new("RGB", (4, 4)).save(tmp_path / kind, kind)
    assert found(tmp_path) == {"photo", "12345", "jpeg", "gif", "webp", "tiff", "bmp", "avif", "jpeg2000"}
    assert is_picture_file(tmp_path / "photo")
    assert not is_picture_file(tmp_path / "README")


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".mpo", ".ppm", ".pgm", ".JPG", ".j2k", ".apng", ".dib"])
def test_all_usual_suffixes_count(tmp_path: Path, model: Path, suffix: str) -> None:
    kind = {".jfif": "jpeg", ".jpe": "jpeg", ".JPG": "jpeg", ".ppm": "ppm", ".pgm": "ppm", ".apng": "png"}
    Image.new("L" if suffix == ".pgm" else "RGB", (8, 8), 77).save(
        tmp_path / f"a{suffix}", kind.get(suffix, {".j2k": "jpeg2000", ".dib": "bmp"}.get(suffix, "mpo"))
    )
    assert found(tmp_path) == {f"a{suffix}"}
    assert make(tmp_path / "index", model, tmp_path).stats().items == 1


def test_an_index_leaves_out_what_it_was_once_asked_to(tmp_path: Path, model: Path) -> None:
    place(tmp_path / "photos", "a.png", "raw/b.png", "@eaDir/c.png")
    os.mkfifo(tmp_path / "photos" / "x.png")
    index = ("index", tmp_path / "photos", "--out", tmp_path / "index")
    made = wordsight(*index, "--model", model)
    assert (made.exit_code, "2 added" in made.stdout) == (3, True)
    assert "left out: @eaDir (1)" in made.stderr
    assert "x.png: a named pipe" in made.stderr
    done = wordsight(*index, "--exclude", "raw/")
    assert "1 deleted, 1 unchanged" in done.stdout
    assert "named by --exclude (1)" in done.stderr
    assert "0 added" in wordsight(*index).stdout  # it is remembered
    assert "1 added" in wordsight(*index, "--exclude", "").stdout
    refused = wordsight("search", tmp_path / "index", "a ball", "--exclude", "raw/")
    assert (
        refused.exit_code,
        "is an index; choose what it leaves out" in " ".join(refused.stderr.split()),
    ) == (
        2,
        True,
    )


def test_a_search_in_a_folder_leaves_out_what_it_was_once_asked_to(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "cache"))
    place(tmp_path / "photos", "a.png", "raw/b.png", "more/c.png")
    search = ("search", tmp_path / "photos", "a red ball", "-0")
    assert wordsight(*search, "--model", model, "--exclude", "raw").stdout.count("\0") == 2
    assert wordsight(*search).stdout.count("\0") == 2
    assert wordsight(*search, "--exclude", "more", "--exclude", "raw").stdout.count("\0") == 1


# Caption files of an index


def captioned(folder: Path, names: dict[str, str]) -> Path:
    lines = [f"{name},{text}" for name, text in names.items()]
    (folder / "captions.txt").write_text("\n".join(["image,caption", *lines]))
    return folder / "captions.txt"


def test_captions_of_none_of_the_pictures_are_a_failure_with_the_folder_to_name(
    tmp_path: Path, model: Path
) -> None:
    """ALBEF#136, OpenAI-CLIP#2."""
    draw(tmp_path / "Shots", range(3))
    captions = captioned(tmp_path, {"000.png": "a red ball", "001.png": "a dog", "009.png": "a cup"})
    command = (
        "index",
        tmp_path / "Shots",
        "--captions",
        captions,
        "--model",
        model,
        "--out",
        tmp_path / "i",
    )
    failed = wordsight(*command)
    assert failed.exit_code == 1
    assert "names 3 pictures, and none of them" in str(failed.exception)
    assert str(tmp_path / "000.png") in str(failed.exception)
    assert str(failed.exception).endswith(f"--pictures {tmp_path / 'Shots'}")
    assert not (tmp_path / "i").exists()
    done = wordsight(*command, "--pictures", tmp_path / "Shots")
    assert done.exit_code == 0
    assert "2 of the 3 pictures that it names are in the index" in done.stdout
    assert str(tmp_path / "Shots" / "009.png") in done.stdout
    told = wordsight(*command, "--pictures", tmp_path / "Shots", "--json").stdout
    assert '"named": 3, "found": 2' in told
    (tmp_path / "Shots" / "004.png").touch()
    later = wordsight(*command)  # an index that is there fails in the same way, and stays as it is
    assert (later.exit_code, "none of them" in str(later.exception)) == (1, True)


def test_the_folders_of_a_published_data_set_are_found_beside_its_captions(
    tmp_path: Path, model: Path
) -> None:
    draw(tmp_path / "Images", range(3))
    captions = captioned(tmp_path, {"000.png": "a red ball", "001.png": "a dog"})
    made = wordsight(
        "index", tmp_path / "Images", "--captions", captions, "--model", model, "--out", tmp_path / "i"
    )
    assert "2 of the 2 pictures that it names are in the index" in made.stdout, made.exception


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_found_however_their_accents_are_written(
    tmp_path: Path, model: Path, forms: tuple[str, str]
) -> None:
    on_disk, in_file = (unicodedata.normalize(form, "Café über.png") for form in forms)
    (tmp_path / "Zoë").mkdir()
    (drawn,) = draw(tmp_path / "Zoë", [1])
    shutil.move(drawn, tmp_path / "Zoë" / on_disk)
    captions = captioned(tmp_path / "Zoë", {in_file: "a red ball"})
    command = ("index", tmp_path / "Zoë", "--captions", captions, "--model", model, "--out", tmp_path / "i")
    done = wordsight(*command)
    assert "1 of the 1 pictures" in done.stdout, done.exception
    for filters in (
        ("--text", "ball"),
        ("--text", in_file),
        ("--folder", unicodedata.normalize("NFD", "Zoë")),
    ):
        assert wordsight("search", tmp_path / "i", "a ball", "-0", *filters).stdout.count("\0") == 1
    explained = wordsight("explain", tmp_path / "i", "a ball", tmp_path / "Zoë" / in_file)
    assert (explained.exit_code, "ball" in explained.stdout) == (0, True), explained.exception
