"""Pictures are opened only below folders that the user indexed or named, whatever an index says."""

import base64
import io
import os
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from PIL import Image
from support.small_index import draw, small_model
from support.small_problem import wordsight

from wordsight.read.pictures.walk import WalkRules
from wordsight.search.index.index import Index
from wordsight.search.index.picture_roots import OutsideRootsError, PictureRoots, remember, remembered


@pytest.fixture
def made(tmp_path: Path) -> Index:
    draw(tmp_path / "photos", range(3))
    made = Index.create(tmp_path / "index", small_model(tmp_path))
    made.update([tmp_path / "photos"])
    return made


def resolves(roots: PictureRoots, path: Path | str) -> bool:
    try:
        roots.resolve(str(path))
    except OutsideRootsError as error:
        return "--root" not in error.hint
    return True


def name_a_picture(index: Path, path: Path) -> None:
    """What whoever made the index may have written into it."""
    with sqlite3.connect(index / "facts.sqlite") as facts:
        facts.execute("UPDATE items SET path = ? WHERE id = 1", (os.fsencode(path),))
    facts.close()


def test_what_was_indexed_may_be_opened_and_nothing_else(made: Index, tmp_path: Path) -> None:
    roots = PictureRoots(made.folder)
    assert resolves(roots, tmp_path / "photos" / "000.png")
    assert resolves(roots, tmp_path / "photos" / "new" / "gone.png")
    for path in (
        tmp_path / "private.png",
        tmp_path / "photos-private" / "a.png",
        tmp_path / "photos" / ".." / "private.png",
        "photos/000.png",
        "",
        f"{tmp_path}/photos/\0.png",
        "/",
        "/etc/passwd",
    ):
        assert not resolves(roots, path)
    assert resolves(PictureRoots(made.folder, (tmp_path,)), tmp_path / "private.png")


def test_links_are_followed_before_a_path_is_judged(made: Index, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    draw(tmp_path / "private", [7])
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "private" / "007.png")
    (tmp_path / "photos" / "folder").symlink_to(tmp_path / "private")
    (tmp_path / "photos" / "loop.png").symlink_to(tmp_path / "photos" / "loop.png")
    (tmp_path / "album").symlink_to(tmp_path / "photos")
    roots = PictureRoots(made.folder)
    assert not resolves(roots, tmp_path / "photos" / "link.png")
    assert not resolves(roots, tmp_path / "photos" / "folder" / "007.png")
    assert resolves(roots, tmp_path / "album" / "000.png")
    named = PictureRoots(made.folder, (tmp_path / "private",))
    assert named.resolve(str(tmp_path / "photos" / "link.png")) == tmp_path / "private" / "007.png"


def test_folders_add_up_over_the_times_that_are_indexed(made: Index, tmp_path: Path) -> None:
    draw(tmp_path / "more", range(3, 5))
    (tmp_path / "link").symlink_to(tmp_path / "more")
    made.update([tmp_path / "link"])
    assert set(remembered(made.folder)) == {tmp_path / "photos", tmp_path / "more"}
    assert resolves(PictureRoots(made.folder), tmp_path / "link" / "003.png")


def test_folders_behind_links_that_were_followed_are_indexed_ones(made: Index, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", range(5, 7))
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    made.update([tmp_path / "photos"])
    assert not resolves(PictureRoots(made.folder), tmp_path / "photos" / "link" / "005.png")
    made.update([tmp_path / "photos"], rules=WalkRules(follow_links=True))
    assert resolves(PictureRoots(made.folder), tmp_path / "photos" / "link" / "005.png")


def test_an_index_that_takes_the_place_of_another_inherits_nothing(made: Index, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "copy")
    assert remembered(tmp_path / "copy") == ()  # another place: nobody said what it may open
    os.utime(tmp_path / "copy" / "index.json", (1e9, 1e9))
    shutil.rmtree(made.folder)
    (tmp_path / "copy").rename(made.folder)
    assert remembered(made.folder) == ()
    remember(made.folder, [tmp_path / "photos"])
    assert remembered(made.folder) == (tmp_path / "photos",)


def test_a_folder_whose_name_is_no_text_is_remembered(made: Index, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcnchen"))
    remember(made.folder, [folder])
    assert resolves(PictureRoots(made.folder), folder / "a.png")


@pytest.mark.parametrize("memory", [b"", b"{", b"[]", b'{"stamp": 1}', b"null", b"\xff"])
def test_a_damaged_memory_allows_nothing(made: Index, memory: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = made.folder.parent / "cache"
    monkeypatch.setenv("WORDSIGHT_CACHE", str(cache))
    assert remembered(made.folder) == ()
    remember(made.folder, [made.folder])
    (file,) = (cache / "roots").iterdir()
    file.write_bytes(memory)
    assert remembered(made.folder) == ()


def test_an_index_is_made_where_nothing_can_be_remembered(
    made: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "file"))
    draw(tmp_path / "photos", [9])
    assert made.update([tmp_path / "photos"]).added == 1
    assert remembered(made.folder) == ()


def photographs(page: Path) -> int:
    """How many pictures a page embeds; every other image in it is a map of heat, a pixel for each cell."""
    html = page.read_text()
    maps = re.findall(r'<image data-heat="-?\d+" href="data:image/png;base64,([^"]+)"', html)
    assert {Image.open(io.BytesIO(base64.b64decode(one))).size for one in maps} == {(2, 2)}
    found = html.count('<img src="data:image')
    assert html.count("data:image") == found + len(maps)
    return found


def test_pages_embed_no_picture_that_the_user_did_not_index(made: Index, tmp_path: Path) -> None:
    page, private = tmp_path / "why.html", draw(tmp_path / "private", [40])[0]
    name_a_picture(made.folder, private)
    asked = ("search", made.folder, "a red ball", "--explain", page)
    assert wordsight(*asked).exit_code == 0
    assert "1 left out, in no folder that you indexed" in page.read_text()
    assert photographs(page) == 2
    told = wordsight("explain", made.folder, "a red ball", 1, "--out", page)
    assert (told.exit_code, "in none of the folders that you indexed" in str(told.exception)) == (1, True)
    for path in tmp_path.glob("photos/*"):
        path.unlink()
    assert wordsight(*asked, "--root", tmp_path / "private").exit_code == 0
    assert photographs(page) == 1
    named = wordsight("explain", made.folder, "a red ball", 1, "--out", page, "--root", tmp_path / "private")
    assert named.exit_code == 0


def test_the_best_hit_is_opened_only_where_the_user_indexed(
    made: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    assert wordsight("search", made.folder, "a red ball", "-k", 1, "--open").exit_code == 0
    assert [Path(path).parent for path in opened] == [tmp_path / "photos"]
    with sqlite3.connect(made.folder / "facts.sqlite") as facts:
        facts.execute("UPDATE items SET path = ? || id", (b"https://example.org/",))
    facts.close()
    told = wordsight("search", made.folder, "a red ball", "-k", 1, "--open")
    assert "in none of the folders" in str(told.exception)
    assert len(opened) == 1
