"""wordsight audit: a table of pairs with duplicates in, a table, JSON and a page out."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from support import warm_process
from support.search_models import model, path_of, pictures, texts_of

ROWS = 12


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of which one is there again in another split, once as a copy and once smaller, as a JPEG."""
    folder = tmp_path_factory.mktemp("audit")
    lines = [["image", "caption", "split"]]
    for row in range(ROWS):
        shutil.copy(path_of(row), folder / f"{row:02}.png")
        lines += [[f"{row:02}.png", text, "train"] for text in texts_of(row)[:2]]
    shutil.copy(path_of(3), folder / "copy.png")
    with Image.open(path_of(5)) as picture:
        picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(
            folder / "small.jpg", quality=70
        )
    lines += [["copy.png", texts_of(3)[0], "test"], ["small.jpg", "=cmd", "test"]]
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder / "pairs.csv"


def audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return warm_process.run("audit", *arguments)


def test_findings_are_a_table_json_and_a_page(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv", tmp_path / "audit.html"
    done = audit(table, "--model", model("max-sim"), "--json", "--csv", out[0], "--html", out[1])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["pictures"], found["captions"]) == (ROWS + 2, 2 * ROWS + 2)
    twins = {(one["finding"], one["picture"], one["other picture"]) for one in found["duplicates"]}
    assert ("same file", "03.png", "copy.png") in twins
    assert ("same picture", "05.png", "small.jpg") in twins
    assert any(
        one["finding"] == "same caption" and one["caption"] == texts_of(3)[0] for one in found["duplicates"]
    )
    rows = list(csv.DictReader(out[0].open(newline="")))
    assert {row["finding"] for row in rows} >= {"caption", "same file", "same picture", "same caption"}
    assert "'=cmd" in {row["caption"] for row in rows}  # no formula for a spreadsheet
    page = out[1].read_text()
    assert page.count("<img ") >= ROWS
    assert not re.search(r"(src|href)=\"http", page)
    assert "wordsight calibrate" in done.stderr


def test_the_text_names_duplicates_across_splits(table: Path) -> None:
    done = audit(table, "--model", model("max-sim"), "--top", 3)
    assert "same file: train 03.png  = test copy.png" in done.stdout
    assert done.stdout.splitlines()[0].startswith("26 captions of 14 pictures")


def test_one_split_alone_has_no_duplicates_across(table: Path) -> None:
    done = audit(table, "--model", model("max-sim"), "--splits", "train", "--json")
    assert not [one for one in json.loads(done.stdout)["duplicates"] if one["finding"] == "same file"]


def test_pictures_with_sidecar_texts_are_audited_too() -> None:
    done = audit(pictures(), "--model", model("cosine"), "--no-duplicates", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["duplicates"] == []


def test_what_is_wrong_is_one_sentence(table: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((tmp_path / "no.csv", "--model", model("cosine")), "there is no"),
        ((table, "--model", model("cosine"), "--splits", "val"), "it has train, test"),
        ((table, "--model", model("cosine"), "--features", tmp_path), "meta.json"),
    ):
        done = audit(*arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
