"""A file name that is not UTF-8 passes through every writer: pages, shards, JSON, REST (owntone#1734)."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.search_models import model

from wordsight.cli.main import main
from wordsight.config import Config
from wordsight.errors import InputError
from wordsight.files.undecodable import exact_bytes, from_exact, json_bytes, shown
from wordsight.read.datasets.detect_format import open_dataset
from wordsight.search.index.index import Filters, Index

NAME = os.fsdecode(b"M\xfcnchen.png")
SHOWN = "M\N{REPLACEMENT CHARACTER}nchen.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures with their captions; the name of one is Latin-1."""
    home = tmp_path / "pictures"
    home.mkdir()
    for number, name in enumerate((NAME, "b.png")):
        try:
            Image.fromarray(np.full((40, 40, 3), 90 * number, np.uint8)).save(home / name)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        (home / name).with_suffix(".txt").write_text(f"a red star {number}\n")
    return home


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> Index:
    made = Index.create(tmp_path / "index", model("max-sim"))
    made.update([folder])
    return made


def run(*arguments: Any) -> None:
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    assert not end.value.code, arguments


def test_text_is_shown_as_a_terminal_does_and_written_as_it_is() -> None:
    assert (shown(NAME), shown("é\ud800"), shown("plain")) == (SHOWN, "é?", "plain")
    assert from_exact(exact_bytes(NAME)) == NAME
    assert exact_bytes(NAME) == b"M\xfcnchen.png"
    assert json.loads(json_bytes({"é": NAME})) == {"é": NAME}
    assert json_bytes(["é"]) == '["é"]'.encode()


def test_pages_and_stdout(index: Index, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run("search", index.folder, "a red star", "--explain", tmp_path / "hits.html")
    out = capfdbinary.readouterr().out
    assert b"M\xfcnchen.png" in out
    assert SHOWN in (tmp_path / "hits.html").read_text(encoding="utf-8")
    path = tmp_path / "pictures" / NAME
    run("explain", index.folder, "a red star", path, "--out", tmp_path / "one.html")
    assert SHOWN in (tmp_path / "one.html").read_text(encoding="utf-8")
    capfdbinary.readouterr()
    run("search", index.folder, "a red star", "--json")
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert str(path) in [line["path"] for line in lines]


@pytest.mark.parametrize("layout", ["webdataset", "tfrecord"])
def test_shards_hold_the_name_itself(folder: Path, tmp_path: Path, layout: str) -> None:
    run("data", "records", folder, "--format", layout, "--out", tmp_path / "shards", "--keep-order")
    dataset = open_dataset(tmp_path / "shards")
    assert sorted(dataset.read("train").names) == sorted([NAME, "b.png"])
    run("data", "check", folder, "--json")


def test_rest_and_the_page_show_the_name(index: Index) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    pytest.importorskip("fastapi")
    from wordsight.search.searcher import Searcher
    from wordsight.web.app import create_app

    app = create_app(Searcher(index), None, None)
    with testclient.TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/v1/search", params={"query": "a red star"})
        assert answer.status_code == 200
        names = {hit["item"]["name"]: hit["item"]["id"] for hit in answer.json()["hits"]}
        assert SHOWN in names
        for route in ("", "/original", "/original?download=true", "/thumbnail"):
            assert client.get(f"/v1/items/{names[SHOWN]}{route}").status_code == 200, route


def test_a_folder_with_such_a_name_is_a_filter(folder: Path, tmp_path: Path) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    pytest.importorskip("fastapi")
    from wordsight.search.searcher import Searcher
    from wordsight.web.app import create_app

    inner = folder / os.fsdecode(b"Z\xfcrich") / "may"
    inner.mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(inner / "c.png")
    made = Index.create(tmp_path / "two", model("max-sim"))
    made.update([folder])
    said, exact = "Z\N{REPLACEMENT CHARACTER}rich", os.fsdecode(b"Z\xfcrich")
    app = create_app(Searcher(made), None, None)
    with testclient.TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        offered = {one["name"]: one for one in client.get("/v1/folders").json()["folders"]}
        assert {name: one["items"] for name, one in offered.items()} == {said: 1, f"{said}/may": 1}
        for named in (said, f"{said}/may", offered[said]["path"], offered[f"{said}/may"]["path"]):
            for path, query, part in (("/v1/items", {}, "items"), ("/v1/search", {"query": "star"}, "hits")):
                found = client.get(path, params={"folder": named} | query).json()[part]
                assert [one.get("item", one)["name"] for one in found] == ["c.png"], (path, named)
    for named in (exact, said, str(inner.parent)):
        hits = Searcher(made).find_images("star", filters=Filters(folder=named)).hits
        assert [Path(hit.item.path).name for hit in hits] == ["c.png"]


def test_a_configuration_that_cannot_hold_the_name_says_so(tmp_path: Path) -> None:
    config = Config({"data": {"name": "folder", "path": NAME}}, "x.toml")
    with pytest.raises(InputError, match=r"cannot name .*TOML holds UTF-8 only.*rename the file or folder"):
        config.save(tmp_path / "config.toml")
    assert not (tmp_path / "config.toml").exists()
