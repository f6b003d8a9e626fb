"""Filters by camera and place: in a folder and on a server, and in indexes made before these were stored."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.server_indexes import SERVERS, new_address, new_index
from support.small_index import make, small_model
from support.small_problem import wordsight

from wordsight.errors import InputError
from wordsight.search.index.index import Filters, Index
from wordsight.search.index.near import Near, distance_km, parse_near
from wordsight.search.postgres.index import PostgresIndex
from wordsight.search.qdrant.index import QdrantIndex
from wordsight.search.remote.copy_index import copy_index
from wordsight.search.searcher import Searcher

CITIES = {
    "berlin": (52.52, 13.405),
    "potsdam": (52.391, 13.063),
    "suva": (-18.1416, 178.4419),
    "apia": (-13.8507, -171.7514),
}
CAMERAS = {
    "berlin": ("Canon", "Canon EOS 5D"),
    "potsdam": ("Apple", "iPhone 12"),
    "suva": ("Canon", "PowerShot"),
}
BERLIN, WIDE_FIJI = Near(52.52, 13.405, 5), Near(-16.0, 179.9, 1100)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and photographs of four cities; one that says nothing."""
    folder = tmp_path_factory.mktemp("cameras")
    small_model(folder)
    (folder / "photos").mkdir()
    for number, name in enumerate([*CITIES, "nowhere"]):
        exif = Image.Exif()
        if name in CAMERAS:
            exif[0x010F], exif[0x0110] = CAMERAS[name]
        if name in CITIES:
            north, east = CITIES[name]
            place = {
                1: "N" if north > 0 else "S",
                2: _parts(north),
                3: "E" if east > 0 else "W",
                4: _parts(east),
            }
            exif.get_ifd(0x8825).update(place)
        Image.new("RGB", (8, 8), (50 * number, 0, 0)).save(folder / "photos" / f"{name}.jpg", exif=exif)
    return folder


def _parts(degrees: float) -> tuple[float, float, float]:
    minutes = abs(degrees) % 1 * 60
    return float(int(abs(degrees))), float(int(minutes)), round(minutes % 1 * 60, 3)


def names(index: Any, **filters: Any) -> list[str]:
    with index.snapshot() as snapshot:
        rows = snapshot.rows_where(Filters(**filters))
        return sorted(Path(item.path).stem for item in snapshot.items(rows))


def check(index: Any) -> None:
    assert names(index, camera="canon") == ["berlin", "suva"]
    assert names(index, camera="5D CANON") == ["berlin"]
    assert names(index, camera="%") == []
    assert names(index, near=BERLIN) == ["berlin"]
    assert names(index, near=Near(52.52, 13.405, 30)) == ["berlin", "potsdam"]
    assert names(index, near=WIDE_FIJI) == ["apia", "suva"]  # on both sides of the date line
    assert names(index, near=Near(52.52, 13.405, 30), camera="iphone") == ["potsdam"]
    with index.snapshot() as snapshot:
        found = {Path(one.path).stem: one for one in snapshot.items(snapshot.newest(Filters(), 0, 9)[0])}
    assert (found["berlin"].camera, found["nowhere"].camera) == ("Canon EOS 5D", "")
    assert found["nowhere"].place is None
    assert {name: found[name].place for name in CITIES} == {
        name: pytest.approx(place, abs=1e-5) for name, place in CITIES.items()
    }


def test_a_folder_and_a_server_filter_alike(home: Path, tmp_path: Path) -> None:
    local = make(tmp_path / "index", home / "model", home / "photos")
    check(local)
    for kind in SERVERS:
        check(copy_index(local, new_address(kind, tmp_path / "copied")))
        direct = new_index(kind, tmp_path / "direct", home / "model")
        direct.update([home / "photos"])
        check(direct)


def test_the_command_filters_and_prints_camera_and_place(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "index", home / "model", home / "photos")
    place = ("search", tmp_path / "index", "a red ball", "--near", "52.52, 13.4, 30", "--json")
    hits = [json.loads(line) for line in wordsight(*place, "--camera", "canon").stdout.splitlines()]
    assert [(Path(hit["path"]).stem, hit["camera"]) for hit in hits] == [("berlin", "Canon EOS 5D")]
    assert hits[0]["place"] == pytest.approx([52.52, 13.405], abs=1e-5)
    wrong = wordsight(*place[:3], "--near", "Berlin")
    assert wrong.exit_code == 2
    assert "--near 'Berlin' is no place; write latitude,longitude,kilometres" in " ".join(
        wrong.stderr.split()
    )


def test_an_index_of_before_says_so_and_reads_them_at_its_next_update(home: Path, tmp_path: Path) -> None:
    index = make(tmp_path / "index", home / "model", home / "photos")
    connection = sqlite3.connect(index.folder / "facts.sqlite")
    for column in ("camera", "latitude", "longitude"):
        connection.execute(f"ALTER TABLE contents DROP COLUMN {column}")
    connection.commit()
    connection.close()
    meta = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(meta | {"format": 2}))
    before = Index.open(index.folder)
    assert len(names(before, after=0)) == 5
    with pytest.raises(
        InputError, match=r"before cameras and places were stored.*wordsight index FOLDER --out"
    ):
        names(before, camera="canon")
    after = Index.open_to_write(index.folder)
    after.update([home / "photos"])
    check(after)
    generation = after.generation()
    after.update([home / "photos"])
    assert after.generation() == generation


def drop_facts_of_postgres(index: PostgresIndex) -> None:
    with index.server.transaction() as connection:
        for column in ("camera", "latitude", "longitude"):
            connection.execute(f"ALTER TABLE picture DROP COLUMN {column}")
        connection.execute("UPDATE state SET version = 1")


def drop_facts_of_qdrant(index: QdrantIndex) -> None:
    with index.store.client() as client:
        every = [point.id for point in index.store.points(None, payload=False)]
        client.delete_payload(index.store.items, ["camera", "latitude", "longitude", "place"], points=every)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_of_before_says_so_and_reads_them_at_its_next_update(
    kind: str, home: Path, tmp_path: Path
) -> None:
    index = new_index(kind, tmp_path, home / "model")
    index.update([home / "photos"])
    {"postgres": drop_facts_of_postgres, "qdrant": drop_facts_of_qdrant}[kind](index)  # type: ignore[operator]
    again = index.reopen()
    for filters in ({"camera": "canon"}, {"near": BERLIN}):
        with pytest.raises(InputError, match=r"before cameras and places were stored.*wordsight index"):
            names(again, **filters)
    with pytest.raises(InputError, match="before cameras and places were stored"):
        Searcher(again).find_images("a ball", filters=Filters(camera="canon"))
    again.update([home / "photos"])
    check(again)
    with index.snapshot() as snapshot:
        before = dict(enumerate(snapshot.newest(Filters(), 0, 9)[0]))
    again.update([home / "photos"])
    with again.snapshot() as snapshot:
        assert dict(enumerate(snapshot.newest(Filters(), 0, 9)[0])) == before


@pytest.mark.parametrize(
    "text", ["", "52.5", "52.5,13.4", "91,0,1", "0,181,1", "0,0,-1", "nan,0,1", "1e1,0,1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no place; write latitude,longitude,kilometres"):
        parse_near(text)


def test_distances_are_those_on_the_earth() -> None:
    assert distance_km(52_520_000, 13_405_000, 48.8566, 2.3522) == pytest.approx(877.5, rel=1e-3)  # Paris
    assert distance_km(90_000_000, 0, -90, 0) == pytest.approx(20015.1, rel=1e-4)
    assert distance_km(None, 0, 0, 0) is None
