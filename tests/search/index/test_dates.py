"""Filters and the order by date go by the date of a picture (photo-organizer#16); old indexes get theirs."""

import json
import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image
from support.small_index import make, small_model
from support.small_problem import wordsight

from wordsight.read.pictures.date_taken import EXIF
from wordsight.search.index.index import Filters, Index

BEFORE = Path(__file__).parents[2] / "data" / "before"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("source"))


def photograph(path: Path, year: int | None, colour: int) -> None:
    """A picture that was copied today; without a year it does not say when it was taken."""
    exif = Image.Exif()
    if year is not None:
        exif.get_ifd(EXIF)[0x9003] = f"{year}:05:31 10:00:00"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(path, exif=exif)


def names(folder: Path, *filters: str) -> list[str]:
    done = wordsight("search", folder, "a red ball", "-0", "-k", "100", *filters)
    return sorted(Path(name).name for name in done.stdout.split("\0") if name)


def test_the_date_of_a_copied_photograph_is_its_own(tmp_path: Path, model: Path) -> None:
    for name, year, colour in (("old.jpg", 2010, 1), ("new.jpg", 2020, 2), ("plain.jpg", None, 3)):
        photograph(tmp_path / "photos" / name, year, colour)
    os.utime(tmp_path / "photos" / "plain.jpg", (datetime(2015, 1, 1).timestamp(),) * 2)
    shutil.copy(tmp_path / "photos" / "old.jpg", tmp_path / "photos" / "copy.jpg")
    index = make(tmp_path / "index", model, tmp_path / "photos")
    assert names(tmp_path / "index", "--before", "2015-01-01") == ["copy.jpg", "old.jpg"]
    assert names(tmp_path / "index", "--after", "2015-01-01") == ["new.jpg", "plain.jpg"]
    assert names(tmp_path / "index", "--after", "2010-05-31", "--before", "2010-06-01") == [
        "copy.jpg",
        "old.jpg",
    ]
    with index.snapshot() as snapshot:
        dates = {Path(item.path).name: item.date for item in snapshot.items(range(4))}
        by_row = [Path(snapshot.item(int(row)).path).name for row in snapshot.dates().argsort()]
    assert dates["old.jpg"] == dates["copy.jpg"] == datetime(2010, 5, 31, 10).timestamp()
    assert by_row[2:] == ["plain.jpg", "new.jpg"]
    told = wordsight("search", tmp_path / "index", "a ball", "--json", "--before", "2012-01-01").stdout
    hits = [json.loads(line) for line in told.splitlines()]
    assert [hit["taken"] for hit in hits] == [dates["old.jpg"]] * 2
    (tmp_path / "photos" / "old.jpg").rename(tmp_path / "photos" / "renamed.jpg")
    make(tmp_path / "index", model, tmp_path / "photos")
    assert names(tmp_path / "index", "--before", "2012-01-01") == ["copy.jpg", "renamed.jpg"]


def of_format_1(index: Index) -> None:
    """What version 0.1.0 would have written."""
    import sqlite3

    connection = sqlite3.connect(index.folder / "facts.sqlite")
    for column in ("taken", "camera", "latitude", "longitude"):
        connection.execute(f"ALTER TABLE contents DROP COLUMN {column}")
    connection.execute("DELETE FROM state WHERE name = 'dates'")
    connection.execute("CREATE INDEX items_by_date ON items (changed)")
    connection.commit()
    connection.close()
    meta = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(meta | {"format": 1}))


def test_an_index_of_before_is_searched_as_it_is_and_gets_its_dates_with_the_next_update(
    tmp_path: Path, model: Path
) -> None:
    photos = tmp_path / "photos"
    photograph(photos / "old.jpg", 2010, 1)
    photograph(photos / "away" / "gone.jpg", 2010, 2)
    of_format_1(make(tmp_path / "index", model, photos))
    assert names(tmp_path / "index") == ["gone.jpg", "old.jpg"]
    assert names(tmp_path / "index", "--before", "2015-01-01") == []
    (photos / "away").rename(tmp_path / "unplugged")
    (photos / "away").symlink_to(photos / "away")  # cannot be read: its picture stays in the index
    photos.joinpath("away").unlink()
    shutil.copytree(tmp_path / "index", tmp_path / "killed")
    index = Index.open_to_write(tmp_path / "index")
    assert index.meta.format == 3
    index.update([photos / "old.jpg"])
    assert names(tmp_path / "index", "--before", "2015-01-01") == ["old.jpg"]
    (tmp_path / "unplugged").rename(photos / "away")
    index.update([photos])
    assert names(tmp_path / "index", "--before", "2015-01-01") == ["gone.jpg", "old.jpg"]
    assert index.verify() == []
    generation = index.generation()
    index.update([photos])
    assert index.generation() == generation


def test_a_migration_that_was_killed_is_done_again(tmp_path: Path, model: Path) -> None:
    photograph(tmp_path / "photos" / "old.jpg", 2010, 1)
    made = make(tmp_path / "index", model, tmp_path / "photos")
    meta = (made.folder / "index.json").read_text()
    (made.folder / "index.json").write_text(json.dumps(json.loads(meta) | {"format": 1}))
    assert names(made.folder, "--before", "2015-01-01") == ["old.jpg"]
    assert Index.open_to_write(made.folder).meta.format == 3
    assert names(made.folder, "--before", "2015-01-01") == ["old.jpg"]


def test_the_index_that_version_0_1_0_wrote_is_brought_up(tmp_path: Path) -> None:
    shutil.copytree(BEFORE / "pictures.index", tmp_path / "index")
    with Index.open(tmp_path / "index").snapshot() as snapshot:
        before = snapshot.embeddings(0, 3).vectors
        assert snapshot.rows_where(Filters(after=0)).tolist() == [0, 1, 2]
        assert [item.taken for item in snapshot.items(range(3))] == [None] * 3
    index = Index.open_to_write(tmp_path / "index")
    with index.snapshot() as snapshot:
        assert snapshot.embeddings(0, 3).vectors.equal(before)
        assert snapshot.rows_where(Filters(after=0)).tolist() == [0, 1, 2]
    assert index.verify() == []
