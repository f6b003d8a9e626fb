"""Cameras and places over REST; a server that sends no originals tells no places."""

from pathlib import Path

import pytest
from PIL import Image
from support.search_models import model

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient

from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.web.app import create_app
from wordsight.web.security import AccessPolicy


def test_camera_and_place_filter_and_are_told_unless_originals_are_not_sent(tmp_path: Path) -> None:
    for number, camera in enumerate(("Canon", "Nikon")):
        exif = Image.Exif()
        exif[0x0110] = camera
        exif.get_ifd(0x8825).update({1: "N", 2: (52.0 + number, 30.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)})
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (90 * number, 0, 0)).save(tmp_path / f"photos/{number}.jpg", exif=exif)
    index = Index.create(tmp_path / "index", model("max-sim"))
    index.update([tmp_path / "photos"])
    near = {"near": "52.5,13,10"}
    with TestClient(create_app(Searcher(index)), "http://localhost") as one:
        (item,) = one.get("/v1/items", params=near).json()["items"]
        assert (item["camera"], item["place"]) == ("Canon", {"latitude": 52.5, "longitude": 13.0})
        (hit,) = one.post("/v1/search", json={"query": "a star", "camera": "NIK"}).json()["hits"]
        assert hit["item"]["camera"] == "Nikon"
        assert one.get("/v1/items", params={"near": "Berlin"}).status_code == 422
    with TestClient(
        create_app(Searcher(index), None, AccessPolicy(originals=False)), "http://localhost"
    ) as one:
        assert one.get("/v1/items", params=near).json()["type"] == "urn:wordsight:originals"
        assert {item["place"] for item in one.get("/v1/items").json()["items"]} == {None}
