"""The REST interface says what the search finds, every error is a problem, nobody gets past the door."""

import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import warm_process
from support.heic import save_heic, without_heic
from support.search_models import PICTURES, index, model, path_of, pictures, searcher, texts_index
from support.small_index import small_model
from support.small_problem import wordsight
from support.waiting import PATIENCE, wait_until

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient
from support.running_server import listening

from wordsight.files.json_text import rounded
from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.search.searcher_state import SearchSession
from wordsight.sets import EmbeddingSet
from wordsight.web import pictures as web_pictures
from wordsight.web import server as web_server
from wordsight.web.app import create_app
from wordsight.web.batching import SharedScans, score_together
from wordsight.web.live_index import LiveIndex
from wordsight.web.metrics import Metrics
from wordsight.web.security import MAX_JSON_BYTES, AccessPolicy
from wordsight.web.state import MAX_WAITING, SEARCH_THREADS
from wordsight.web.worker_pool import WorkerPool

SENTENCE = "a red star beside a small blue circle"
TOKEN = "a-token-of-some-length"
PROBLEM = "application/problem+json"


def client(policy: AccessPolicy | None = None, images: Searcher | None = None, **more: Any) -> TestClient:
    app = create_app(images or Searcher(index()), Searcher(texts_index()), policy)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False, **more)


@pytest.fixture(scope="module")
def served() -> Iterator[TestClient]:
    with client() as one:
        yield one


def sent(row: int = 3) -> dict[str, Any]:
    return {"picture": ("picture.png", path_of(row).read_bytes(), "image/png")}


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [hit["item"]["id"] for hit in answer.json()["hits"]]


def is_problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["type"]) == (status, f"urn:wordsight:{kind}"), answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert told["status"] == status
    assert told["detail"]
    return told


# What is answered


def test_a_search_says_what_the_searcher_finds(served: TestClient) -> None:
    asked = {"query": SENTENCE, "k": 5, "offset": 2}
    answer = served.get("/v1/search", params=asked)
    found = searcher().find_images(SENTENCE, k=5, offset=2)
    told = answer.json()
    assert ids(answer) == [hit.item.id for hit in found.hits]
    assert (told["total"], told["relevant"], told["offset"]) == (found.total, found.relevant, 2)
    for hit, expected in zip(told["hits"], found.hits, strict=True):
        assert hit["score"] == rounded(expected.score)
        assert [word["word"] for word in hit["words"]] == SENTENCE.split()
        assert [word["found"] for word in hit["words"]] == [rounded(w.found) for w in expected.words]
        assert hit["missing"] == expected.missing
        assert all(
            word["box"] == list(w.box or ()) for word, w in zip(hit["words"], expected.words, strict=True)
        )


def test_the_body_asks_as_the_address_does(served: TestClient) -> None:
    asked = {"query": SENTENCE, "k": 3, "folder": "odd"}
    assert ids(served.post("/v1/search", json=asked)) == ids(served.get("/v1/search", params=asked))


def test_filters_reach_the_search(served: TestClient) -> None:
    answer = served.get(
        "/v1/search", params={"query": SENTENCE, "folder": "odd", "after": 1e9 + 86400 * 5, "k": 200}
    )
    names = {int(Path(hit["item"]["path"]).stem) for hit in answer.json()["hits"]}
    assert names == {row for row in range(PICTURES) if row % 2 and row >= 5}
    assert served.get("/v1/search", params={"query": SENTENCE, "text": '" OR 1=1 --'}).json()["total"] == 0


def test_similar_leaves_the_item_out_and_knows_a_sent_picture(served: TestClient) -> None:
    first = served.get("/v1/items", params={"k": 1}).json()["items"][0]
    like = served.get("/v1/similar", params={"id": first["id"], "k": 200})
    assert first["id"] not in ids(like)
    assert len(ids(like)) == PICTURES - 1
    again = served.post("/v1/similar", files={"picture": Path(first["path"]).read_bytes()}, data={"k": "3"})
    assert ids(again) == ids(like)[:3]  # its bytes say that it is the same picture
    assert again.json()["itself"] == 1
    assert again.json()["verdict"].startswith("This picture is in the index. ")


def test_a_photograph_of_a_telephone_may_be_sent(served: TestClient) -> None:
    data = io.BytesIO()
    save_heic(Image.open(path_of(3)), data)
    given = {"picture": ("IMG_0003.HEIC", data.getvalue(), "application/octet-stream")}
    with without_heic():
        told = is_problem(served.post("/v1/similar", files=given), 422, "unreadable-picture")
        assert "pip install 'wordsight[heic]'" in told["detail"]
    expected = Searcher(index()).similar(Image.open(path_of(3)).convert("RGB"), k=1).hits[0].item.id
    assert ids(served.post("/v1/similar", files=given))[0] == expected


def test_similar_with_words_is_a_search_for_both(served: TestClient) -> None:
    answer = served.post("/v1/similar", files=sent(), data={"query": "a red star", "weight": "0.7", "k": "4"})
    expected = searcher().similar(path_of(3), k=4, text="a red star", weight=0.7)
    assert ids(answer) == [hit.item.id for hit in expected.hits]
    assert answer.json()["sentence"] == "a red star"


def test_captions_of_a_sent_picture_are_those_of_the_item(served: TestClient) -> None:
    item = served.get("/v1/items", params={"k": 1}).json()["items"][0]
    by_id = served.get("/v1/captions", params={"id": item["id"], "k": 4})
    by_data = served.post("/v1/captions", files={"picture": Path(item["path"]).read_bytes()}, data={"k": "4"})
    assert ids(by_id) == ids(by_data)
    hit = by_id.json()["hits"][0]
    assert "".join(word["word"] for word in hit["words"]) == hit["item"]["text"].replace(" ", "")
    assert hit["item"]["thumbnail"] is None


def test_an_explanation_adds_up_to_the_score(served: TestClient) -> None:
    hit = served.get("/v1/search", params={"query": SENTENCE, "k": 1}).json()["hits"][0]
    asked = {"query": SENTENCE, "id": hit["item"]["id"]}
    told = served.get("/v1/explain", params=asked).json()
    assert sum(part["score"] for part in told["parts"]) == pytest.approx(told["score"])
    assert told["score"] == pytest.approx(hit["score"], abs=1e-5)
    assert all(len(word["shares"]) == len(told["regions"]) for word in told["words"])
    assert served.post("/v1/explain", json=asked).json() == told


def test_a_caption_is_explained_with_the_picture_that_was_sent(served: TestClient) -> None:
    hit = served.post("/v1/captions", files=sent(), data={"k": "1"}).json()["hits"][0]
    told = served.post("/v1/captions/explain", files=sent(), data={"id": str(hit["item"]["id"])}).json()
    assert told["text"] == hit["item"]["text"]
    assert told["score"] == pytest.approx(hit["score"], abs=1e-4)


def test_items_come_newest_first_in_pages(served: TestClient) -> None:
    pages = [served.get("/v1/items", params={"k": 10, "offset": offset}).json() for offset in (0, 10, 20, 30)]
    names = [int(item["name"].split(".")[0]) for page in pages for item in page["items"]]
    assert names == list(range(PICTURES))[::-1]
    assert {page["total"] for page in pages} == {PICTURES}
    one = pages[0]["items"][0]
    assert served.get(f"/v1/items/{one['id']}").json() == one


def test_folders_are_those_that_a_filter_can_name(served: TestClient) -> None:
    told = served.get("/v1/folders").json()
    assert told["root"] == str(pictures())
    assert told["total"] == 2
    for folder in told["folders"]:
        assert folder["path"] == f"{pictures()}/{folder['name']}"
        assert served.get("/v1/items", params={"folder": folder["path"]}).json()["total"] == folder["items"]
    assert [folder["name"] for folder in told["folders"]] == ["even", "odd"]
    assert len(served.get("/v1/folders", params={"k": 1}).json()["folders"]) == 1
    is_problem(served.get("/v1/folders", params={"k": 0}), 422, "invalid")


@pytest.mark.parametrize(("kind", "evidence"), [("max-sim", "cell"), ("cosine", "whole")])
def test_hits_say_what_evidence_their_boxes_are(kind: str, evidence: str) -> None:
    with client(images=Searcher(index(kind))) as one:
        hits = one.get("/v1/search", params={"query": "a red star", "k": 3}).json()["hits"]
        assert [hit["evidence"] for hit in hits] == [evidence] * 3
        told = one.get("/v1/explain", params={"query": "a red star", "id": hits[0]["item"]["id"]}).json()
        assert told["kind"] == evidence


def test_a_picture_alone_has_no_words_and_so_no_evidence_of_them(served: TestClient) -> None:
    alone = served.post("/v1/similar", files=sent(), data={"k": "2"}).json()["hits"]
    assert [(hit["words"], hit["evidence"]) for hit in alone] == [([], None)] * 2
    words = served.post("/v1/similar", files=sent(), data={"k": "2", "query": "a star"}).json()["hits"]
    sentences = served.post("/v1/captions", files=sent(), data={"k": "2"}).json()["hits"]
    assert {hit["evidence"] for hit in [*words, *sentences]} == {"cell"}


def test_about_and_health_and_metrics_tell_of_the_server(served: TestClient) -> None:
    about = served.get("/v1/about").json()
    assert about["images"] == PICTURES
    assert about["engines"] == ["auto", "exact", "shortlist"]
    assert about["texts"] == len(texts_index().snapshot())
    wait_until(lambda: served.get("/healthz").json() == {"status": "ok", "reads_pictures": True})
    served.get("/v1/items/1")
    lines = served.get("/metrics").text.splitlines()
    assert f"wordsight_pictures {PICTURES}" in lines
    assert any(
        line.startswith('wordsight_requests_total{route="/v1/items/{id}",method="GET",status="200"}')
        for line in lines
    )
    assert all(
        re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\}|\{.*\}\})? \S+|\w+\{.*\} \S+", line)
        for line in lines
    )
    assert len({line.split(" ")[0] for line in lines if not line.startswith("#")}) == len(
        [line for line in lines if not line.startswith("#")]
    )


def test_a_count_is_told_to_its_last_digit() -> None:
    assert "many 12345678" in Metrics().text({"many": ("counter", "Of many.", 12_345_678)}).splitlines()


# Thumbnails


def test_a_thumbnail_is_small_and_holds_pixels_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a secret place", 6  # a description; turned by a quarter
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 1800, 3), np.uint8)).save(path, exif=exif)
    data = web_pictures.thumbnail(path, 320)
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (160, 320)
    assert not picture.getexif()
    assert b"secret" in path.read_bytes()
    assert b"secret" not in data


def test_a_thumbnail_of_a_heic_photograph_is_a_jpeg(tmp_path: Path) -> None:
    save_heic(Image.open(path_of(0)).resize((640, 400)), tmp_path / "photo.heic", orientation=8)
    picture = Image.open(io.BytesIO(web_pictures.thumbnail(tmp_path / "photo.heic", 320)))
    assert (picture.format, picture.size) == ("JPEG", (200, 320))


def test_a_thumbnail_may_be_kept_and_is_asked_for_by_its_tag(served: TestClient) -> None:
    item = served.get("/v1/items/1").json()
    first = served.get(item["thumbnail"], params={"size": "320"})
    assert first.headers["content-type"] == "image/jpeg"
    assert "immutable" in served.get(item["thumbnail"]).headers["cache-control"]
    assert "immutable" not in served.get("/v1/items/1/thumbnail").headers["cache-control"]
    assert "immutable" not in served.get("/v1/items/1/thumbnail?version=0123").headers["cache-control"]
    tag = served.get("/v1/items/1/thumbnail").headers["etag"]
    again = served.get("/v1/items/1/thumbnail", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = served.get("/v1/items/1/thumbnail", params={"size": "320"}, headers={"if-none-match": tag})
    assert other.status_code == 200


def test_a_file_that_is_gone_or_broken_is_a_problem_of_its_picture_alone(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for row in range(3):
        (folder / f"{row}.png").write_bytes(path_of(row).read_bytes())
    made = Index.create(tmp_path / "index", model("max-sim"))
    made.update([folder])
    with client(images=Searcher(made)) as one:
        by_name = {item["name"]: item["id"] for item in one.get("/v1/items").json()["items"]}
        (folder / "0.png").unlink()
        (folder / "1.png").write_bytes(b"no picture")
        is_problem(one.get(f"/v1/items/{by_name['0.png']}/thumbnail"), 410, "gone")
        is_problem(one.get(f"/v1/items/{by_name['1.png']}/thumbnail"), 409, "unreadable-picture")
        is_problem(one.get("/v1/captions", params={"id": by_name["0.png"]}), 410, "gone")
        is_problem(one.get("/v1/captions", params={"id": by_name["1.png"]}), 409, "unreadable-picture")
        assert one.get(f"/v1/items/{by_name['2.png']}/thumbnail").status_code == 200


def test_an_index_that_grows_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    made = Index.create(tmp_path / "index", model("max-sim"))
    with client(images=Searcher(Index.open(tmp_path / "index"))) as one:
        assert one.get("/v1/about").json()["images"] == 0
        assert one.get("/v1/search", params={"query": "a star"}).json()["hits"] == []
        assert one.get("/v1/items").json() == {"total": 0, "offset": 0, "items": []}
        for row in range(4):
            (folder / f"{row}.png").write_bytes(path_of(row).read_bytes())
        made.update([folder])
        wait_until(lambda: one.get("/v1/search", params={"query": "a star"}).json()["total"] == 4)
        (folder / "0.png").unlink()
        made.update([folder])
        wait_until(lambda: one.get("/v1/items").json()["total"] == 3)


def index_of(folder: Path, rows: Sequence[int], made_by: Path, name: str = "{:02}.png") -> Index:
    """One commit for the pictures, whoever makes it: indexes that a count cannot tell apart."""
    pictures = folder.with_suffix(".photos")
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    for row in rows:
        (pictures / name.format(row)).write_bytes(path_of(row).read_bytes())
    made = Index.create(folder, made_by)
    made.update([pictures])
    return made


def test_an_index_that_is_made_anew_is_served_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    before = index_of(folder, range(4), model("max-sim")).generation()
    (tmp_path / "other").mkdir()
    other = small_model(tmp_path / "other")  # its vectors have other sizes
    ask = (
        "/v1/search?query=a red ball",
        "/v1/items",
        "/v1/folders",
        "/v1/about",
        "/v1/items/1/thumbnail",
        "/healthz",
    )
    with client(images=Searcher(Index.open(folder))) as one:
        assert [one.get(path).status_code for path in ask] == [200] * 6
        shutil.rmtree(folder)
        for path in ask:
            assert "make one: wordsight index" in is_problem(one.get(path), 503, "index")["detail"]
        second = index_of(folder, range(10, 15), other, "new{}.png")
        assert second.generation() == before  # so that a count does not tell them apart
        expected = Searcher(Index.open(folder)).find_images("a red ball")
        told = one.get(ask[0]).json()
        assert [hit["item"]["name"] for hit in told["hits"]] == [
            Path(hit.item.path).name for hit in expected.hits
        ]
        assert [hit["score"] for hit in told["hits"]] == pytest.approx(
            [hit.score for hit in expected.hits], rel=1e-5
        )
        assert {item["name"] for item in one.get("/v1/items").json()["items"]} == {
            f"new{row}.png" for row in range(10, 15)
        }
        assert [one.get(path).status_code for path in ask] == [200] * 6
        shutil.rmtree(folder)
        Index.create(folder, other, kind="texts")
        assert "now holds an index of texts" in is_problem(one.get(ask[0]), 503, "index")["detail"]


def test_an_answer_is_of_one_index_whatever_takes_its_place(tmp_path: Path) -> None:
    folder, spare = tmp_path / "index", tmp_path / "spare"
    (tmp_path / "other").mkdir()
    index_of(folder, range(6), model("max-sim"))
    index_of(spare, range(8, 14), small_model(tmp_path / "other"))
    told = [
        [
            (hit.item.path, pytest.approx(hit.score, rel=1e-5))
            for hit in Searcher(Index.open(path)).find_images("a star").hits
        ]
        for path in (folder, spare)
    ]
    end, seen = threading.Event(), set[int]()

    def ask(one: TestClient) -> None:
        while not end.is_set():
            answer = one.get("/v1/search", params={"query": "a star"})
            if answer.status_code != 503:
                found = [(hit["item"]["path"], hit["score"]) for hit in answer.json()["hits"]]
                assert found in told, answer.text
                seen.add(told.index(found))

    with client(images=Searcher(Index.open(folder))) as one, ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, one) for _ in range(3)]
        try:
            for turn in range(4):
                folder.rename(tmp_path / "away")
                spare.rename(folder)
                (tmp_path / "away").rename(spare)
                seen.clear()
                wait_until(lambda: (turn + 1) % 2 in seen)  # noqa: B023
        finally:
            end.set()
        for each in asking:
            each.result()


def test_questions_do_not_wait_while_a_new_state_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    made = Index.create(tmp_path / "index", model("max-sim"))
    for row in range(4):
        (folder / f"{row}.png").write_bytes(path_of(row).read_bytes())
    made.update([folder])
    asking = Searcher(Index.open(tmp_path / "index"))
    followed = asking.sessions = LiveIndex(asking)
    assert asking.find_images("a star").total == 4
    began, end, measure = threading.Event(), threading.Event(), SearchSession._background

    def slow(moment: SearchSession) -> Any:
        began.set()
        assert end.wait(PATIENCE)
        return measure(moment)

    monkeypatch.setattr(SearchSession, "_background", slow)
    followed.took = 5.0  # as if the last time had taken so long
    (folder / "0.png").unlink()
    made.update([folder])
    assert asking.find_images("a star").total == 4  # at once, from the state before
    assert began.wait(PATIENCE)
    assert asking.find_images("a star").total == 4
    end.set()
    wait_until(lambda: asking.find_images("a star").total == 3)


# Errors


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "kind"),
    [
        ("GET", "/nothing", {}, 404, "not-found"),
        ("GET", "/v1/", {}, 404, "not-found"),
        ("DELETE", "/v1/search", {}, 405, "method"),
        ("PUT", "/v1/items/1", {}, 405, "method"),
        ("POST", "/healthz", {}, 405, "method"),
        ("GET", "/v1/search", {}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": ""}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "   "}}, 422, "query"),
        ("GET", "/v1/search", {"params": {"query": 'a +"" dog'}}, 422, "query"),
        ("GET", "/v1/search", {"params": {"query": "a dog^99"}}, 422, "query"),
        ("GET", "/v1/search", {"params": {"query": "-dog"}}, 422, "query"),
        ("GET", "/v1/search", {"params": {"query": "a\0dog"}}, 422, "query"),
        ("GET", "/v1/search", {"params": {"query": "a" * 1001}}, 422, "invalid"),
        ("POST", "/v1/search", {"json": {"query": "a" * 60_000}}, 422, "invalid"),
        ("POST", "/v1/search", {"json": {"query": "a" * 100_000}}, 413, "too-large"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "k": 0}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "k": 201}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "offset": -1}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "engine": "fast"}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "unknown": 1}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "after": "nan"}}, 422, "invalid"),
        ("GET", "/v1/search", {"params": {"query": "a dog", "min_bytes": 2**70}}, 422, "invalid"),
        (
            "POST",
            "/v1/search",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
            "malformed",
        ),
        ("POST", "/v1/search", {"json": []}, 422, "invalid"),
        ("POST", "/v1/search", {"json": {"query": ["a"]}}, 422, "invalid"),
        ("POST", "/v1/search", {"content": b"query=a"}, 415, "content-type"),
        ("POST", "/v1/search", {"data": {"query": "a dog"}}, 415, "content-type"),
        ("POST", "/v1/similar", {"json": {"id": 1}}, 415, "content-type"),
        ("POST", "/v1/similar", {"files": {"other": b"x"}}, 422, "invalid"),
        ("POST", "/v1/similar", {"files": {"picture": b"no picture"}}, 422, "unreadable-picture"),
        ("POST", "/v1/similar", {"files": {"picture": b""}}, 422, "unreadable-picture"),
        (
            "POST",
            "/v1/captions",
            {"files": {"picture": b"%!PS-Adobe-3.0 EPSF-3.0"}},
            422,
            "unreadable-picture",
        ),
        ("POST", "/v1/similar", {"files": {"picture": ("x.png", b"x" * (21 << 20))}}, 413, "too-large"),
        ("GET", "/v1/similar", {"params": {"id": 10**6}}, 404, "no-item"),
        ("GET", "/v1/captions", {"params": {"id": 10**6}}, 404, "no-item"),
        ("GET", "/v1/explain", {"params": {"id": 10**6, "query": "a dog"}}, 404, "no-item"),
        ("GET", "/v1/items/1000000", {}, 404, "no-item"),
        ("GET", "/v1/items/1000000/thumbnail", {}, 404, "no-item"),
        ("GET", "/v1/items/99999999999999999999", {}, 422, "invalid"),
        ("GET", "/v1/items/1/thumbnail?size=99999", {}, 422, "invalid"),
    ],
)
def test_every_error_is_a_problem(
    served: TestClient, method: str, path: str, given: dict[str, Any], status: int, kind: str
) -> None:
    told = is_problem(served.request(method, path, **given), status, kind)
    assert "Traceback" not in told["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "1%00",
        "1/../../facts.sqlite",
        "-1",
        "0",
        "1.0",
        "true",
        "１",
        "1;",
        "file:///etc/passwd",
        "1%20OR%201=1",
    ],
)
def test_ids_lead_to_items_and_nowhere_else(served: TestClient, name: str) -> None:
    answer = served.get(f"/v1/items/{name}/thumbnail")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\n",
        b"--x--\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="picture"\r\n\r\nnot a file\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="picture"; filename="../x"\r\n\r\n\xff\xd8\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n' + b"\0" * 5000,
        b"--y\r\n\r\n--y--",
        b"\r\n" * 500,
        b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--x--',
    ],
)
@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary="]
)
def test_malformed_forms_are_refused(served: TestClient, body: bytes, kind: str) -> None:
    answer = served.post("/v1/similar", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM


def test_a_method_that_is_not_possible_names_those_that_are(served: TestClient) -> None:
    assert served.delete("/v1/search").headers["allow"] == "GET, POST, HEAD"
    assert served.post("/v1/items").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/v1/search?query=a+dog", "/v1/items/1/thumbnail", "/nothing"]
)
def test_head_is_get_without_a_body(served: TestClient, path: str) -> None:
    got, bare = served.get(path), served.head(path)
    assert (bare.status_code, bare.content) == (got.status_code, b"")
    assert {**bare.headers} == {**got.headers}


def test_a_query_that_cannot_be_read_says_where(served: TestClient) -> None:
    told = is_problem(served.get("/v1/search", params={"query": "a dog ^2"}), 422, "query")
    assert told["position"] == 7


def test_a_body_without_a_length_is_counted_as_it_comes() -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
        for _ in range(1000):
            taken.append(1)
            yield b"x" * 1000

    headers = {"content-type": "multipart/form-data; boundary=x"}
    with client(AccessPolicy(max_form_bytes=50_000)) as one:
        is_problem(one.post("/v1/similar", content=endless(), headers=headers), 413, "too-large")


def test_a_picture_of_too_many_pixels_is_never_decoded(
    served: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_pictures, "open_picture", lambda *given: pytest.fail("it was decoded"))
    told = is_problem(
        served.post("/v1/similar", files={"picture": head(10_001, 5_001)}), 413, "too-many-pixels"
    )
    assert "10001 x 5001" in told["detail"]
    more_than_pillow_opens = {"picture": head(30_000, 30_000)}
    is_problem(served.post("/v1/captions", files=more_than_pillow_opens), 413, "too-many-pixels")


def head(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    told = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(told)


@pytest.mark.parametrize("bug", [lambda: 1 / 0, lambda: int("division")], ids=["arithmetic", "value"])
def test_an_error_that_nobody_foresaw_tells_nothing_and_harms_nobody(
    served: TestClient, monkeypatch: pytest.MonkeyPatch, bug: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Searcher, "find_images", lambda *given: bug())
        failed = served.get("/v1/search", params={"query": "a dog"})
        assert "division" not in is_problem(failed, 500, "internal")["detail"]
        assert failed.headers["x-content-type-options"] == "nosniff"
    assert served.get("/v1/search", params={"query": "a dog"}).status_code == 200


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("texts", "/v1/search?query=a", "no-pictures"),
        ("texts", "/v1/similar?id=1", "no-pictures"),
        ("images", "/v1/captions?id=1", "no-texts"),
    ],
)
def test_what_is_not_served_is_named(kind: str, path: str, expected: str) -> None:
    only = Searcher(index() if kind == "images" else texts_index())
    app = create_app(*((only, None) if kind == "images" else (None, only)))
    with TestClient(app, base_url="http://localhost") as one:
        told = is_problem(one.get(path), 409, expected)
        assert "wordsight serve" in told["detail"]
        assert one.get("/v1/items").json()["total"] > 0


def test_an_app_needs_an_index() -> None:
    with pytest.raises(ValueError, match="nothing to serve"):
        create_app(None)


# The door


def test_with_a_token_everything_but_the_page_asks_for_it() -> None:
    with client(AccessPolicy(TOKEN)) as one:
        for path in ("/v1/about", "/v1/search?query=a", "/v1/items/1/thumbnail", "/metrics", "/v1/nothing"):
            answer = one.get(path)
            is_problem(answer, 401, "token")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            for wrong in (
                "Bearer wrong",
                f"Basic {TOKEN}",
                TOKEN,
                "Bearer",
                "Bearer " + TOKEN + "x",
                "Bearer é",
            ):
                is_problem(one.get(path, headers={"authorization": wrong.encode()}), 401, "token")
        for path in ("/", "/main.js", "/healthz", "/openapi.json"):
            assert one.get(path).status_code == 200
        right = {"authorization": f"Bearer {TOKEN}", "host": "photos.example.org"}
        assert one.get("/v1/about", headers=right).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]", "localhost."],
)
def test_without_a_token_other_names_are_refused(served: TestClient, host: str) -> None:
    for path in ("/v1/about", "/", "/healthz"):
        is_problem(served.get(path, headers={"host": host}), 421, "host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]", "[::1]:8765"])
def test_the_names_of_this_machine_are_answered(served: TestClient, host: str) -> None:
    assert served.get("/v1/about", headers={"host": host}).status_code == 200


def test_pages_of_other_sites_may_not_ask(served: TestClient) -> None:
    is_problem(
        served.get("/v1/items/1/thumbnail", headers={"sec-fetch-site": "cross-site"}), 403, "cross-site"
    )
    assert served.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200  # a link leads here
    assert served.get("/v1/about", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_every_answer_carries_the_headers_that_protect(served: TestClient) -> None:
    for path in ("/", "/page.css", "/v1/about", "/v1/folders", "/nothing", "/v1/items/1/thumbnail"):
        headers = served.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ValueError, match="token is needed"):
        web_server.access_policy(host, None)
    assert web_server.access_policy(host, TOKEN).token == TOKEN


def test_tokens_are_long_and_plain() -> None:
    with pytest.raises(ValueError, match="5 characters"):
        web_server.access_policy("127.0.0.1", "short")
    with pytest.raises(ValueError, match="ASCII"):
        web_server.access_policy("127.0.0.1", "a token with spaces in it")
    assert web_server.access_policy("localhost", None).token is None


def test_a_port_that_is_taken_is_named() -> None:
    with web_server.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert web_server.address_of(first, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        with pytest.raises(ValueError, match=f"port {port}"):
            web_server.listen("127.0.0.1", port)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/similar"])
@pytest.mark.parametrize("drips", [True, False], ids=["a byte at a time", "nothing more"])
def test_a_body_that_does_not_come_is_not_waited_for(path: str, drips: bool) -> None:
    kind = "application/json" if path == "/v1/search" else "multipart/form-data; boundary=b"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    app = create_app(Searcher(index()), policy=AccessPolicy(max_body_seconds=0.5))
    with listening(app) as port, socket.create_connection(("127.0.0.1", port), timeout=0.05) as slow:
        slow.sendall(head.encode() + b"--b\r\n")
        answer, end = b"", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if not (read := slow.recv(4096)):
                    break  # closed: what still comes would be taken for another request
                answer += read
            except TimeoutError:
                if drips:
                    slow.sendall(b"x")
    assert answer.startswith(b"HTTP/1.1 408 ")
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (told["type"], "after 0.5 seconds" in told["detail"]) == ("urn:wordsight:too-slow", True)


# Together


def test_questions_of_one_moment_share_a_reading_and_change_no_answer() -> None:
    texts = [
        f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in ("star", "circle", "square")
    ]
    alone = [searcher().find_images(text, k=7) for text in texts]
    shared = SharedScans()
    asking = Searcher(index(), scan=shared)
    asking.calibration()

    with ThreadPoolExecutor(len(texts)) as pool, shared._scan_lock:  # a reading is under way
        answers = [pool.submit(asking.find_images, text, k=7) for text in texts]
        wait_until(lambda: len(shared._waiting) == len(texts))
        shared._scan_lock.release()
        found = [answer.result() for answer in answers]
        shared._scan_lock.acquire()
    assert found == alone
    assert (shared.scans, shared.queries) == (1, len(texts))


@pytest.mark.parametrize("kind", ["max-sim", "cross-attention", "bidirectional", "label-agreement", "cosine"])
def test_scores_together_are_those_of_each_alone(kind: str) -> None:
    matcher = searcher(kind).matcher
    texts = ["a red star", SENTENCE, "a circle"]
    with torch.no_grad():
        askings = [QueryScorer(matcher.similarity, matcher.encode_texts([text])) for text in texts]
    with index(kind).snapshot() as snapshot:
        for memory_mb in (0.01, 256):
            together = score_together(askings, snapshot, memory_mb)
            for asking, scores in zip(askings, together, strict=True):
                assert scores == pytest.approx(score_rows(asking, snapshot), abs=1e-5)


def test_one_question_that_fails_takes_no_other_with_it() -> None:
    matcher, shared = searcher().matcher, SharedScans()
    with torch.no_grad():
        good = QueryScorer(matcher.similarity, matcher.encode_texts([SENTENCE]))
    bad = QueryScorer(
        matcher.similarity,
        EmbeddingSet(torch.full((1, 2, 16), torch.nan), torch.ones(1, 2, dtype=torch.bool)),
    )
    with index().snapshot() as snapshot, ThreadPoolExecutor(2) as pool:
        with shared._scan_lock:
            answers = [pool.submit(shared, asking, snapshot) for asking in (bad, good)]
            wait_until(lambda: len(shared._waiting) == 2)
        with pytest.raises(ValueError, match="not numbers"):
            answers[0].result()
        assert answers[1].result() == pytest.approx(score_rows(good, snapshot), abs=1e-6)


def test_many_at_once_get_the_answers_of_one_after_the_other(served: TestClient) -> None:
    texts = [
        f"a {colour} {shape}" for colour in ("red", "blue") for shape in ("star", "circle", "square", "ring")
    ]
    asked = [{"query": text, "k": 5} for text in texts] + [{"query": "a star", "folder": "odd", "k": 5}]
    after = [served.get("/v1/search", params=one).json() for one in asked]
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda one: served.get("/v1/search", params=one).json(), asked * 4))
    assert answers == after * 4


def test_more_than_can_wait_are_refused_and_told_when_to_come_again() -> None:
    with client() as one:
        library = one.app.state.library  # type: ignore[attr-defined]
        library.search = WorkerPool(1, 0)
        began, end = threading.Event(), threading.Event()

        def slow(*given: Any) -> Any:
            began.set()
            assert end.wait(PATIENCE)
            return searcher().find_images("a star", k=1)

        library.images.find_images = slow
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(one.get, "/v1/search?query=a")
            assert began.wait(PATIENCE)
            answer = one.get("/v1/search?query=a")
            is_problem(answer, 503, "busy")
            assert answer.headers["retry-after"] == "1"
            assert one.get("/v1/items/1/thumbnail").status_code == 200  # pictures do not wait for searches
            end.set()
            assert first.result().status_code == 200


# Its own description


def test_the_description_is_openapi_31_and_tells_of_every_error(served: TestClient) -> None:
    told = served.get("/openapi.json").json()
    assert told["openapi"].startswith("3.1")
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert answer["content"] == {
                        PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}
                    }
    with client(AccessPolicy(TOKEN)) as one:
        assert one.get("/openapi.json").json()["security"] == [{"token": []}]


def test_every_file_of_the_page_is_served_under_its_own_name_and_nothing_else(served: TestClient) -> None:
    folder = Path(__file__).parents[2] / "src" / "wordsight" / "web" / "static"
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    for file in folder.iterdir():
        answer = served.get("/" if file.name == "index.html" else f"/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == f"{kinds[file.suffix]}; charset=utf-8"
        for name in re.findall(r"""(?:from|src=|href=) ?"(?:\./)?([\w-]+\.\w+)\"""", file.read_text()):
            assert (folder / name).is_file(), f"{file.name} asks for {name}"
    for path in ("/index.html", "/static/main.js", "/..%2fweb.py", "/__init__.py"):
        is_problem(served.get(path), 404, "not-found")


def test_the_document_names_every_path_and_the_limits(served: TestClient) -> None:
    told = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    named = {
        path
        for row in re.findall(r"^\| (`/.*?) \|", told, re.MULTILINE)
        for path in re.findall(r"`(.*?)`", row)
    }
    assert named == set(served.get("/openapi.json").json()["paths"])
    about = served.get("/v1/about").json()
    for limit in (
        f"a query | {about['longest_query']:,} characters",
        f"an answer | {about['most_hits']}",
        f"a picture | {about['most_bytes'] >> 20} MB, {about['most_pixels'] // 10**6} million pixels",
        f"a JSON body | {MAX_JSON_BYTES >> 10} KB",
        f"{SEARCH_THREADS} run, {MAX_WAITING} wait",
    ):
        assert limit in told


# The command


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from wordsight.cli import serve

    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"fastapi, uvicorn, python-multipart: pip install 'wordsight\[serve\]'"
    ):
        serve.serve([Path("index")], network=serve.NetworkOptions())


def test_the_command_refuses_before_it_loads(tmp_path: Path) -> None:
    open_to_all = wordsight("serve", index().folder, "--host", "0.0.0.0")
    assert "token is needed" in str(open_to_all.exception)
    two = wordsight("serve", index().folder, index().folder)
    assert "both hold images" in str(two.exception)
    none = wordsight("serve", tmp_path)
    assert "is no index, and holds no pictures" in str(none.exception)


def test_the_command_serves_until_it_is_interrupted() -> None:
    command = ("serve", index().folder, texts_index().folder, "--port", 0)
    with warm_process.start(*command, env=os.environ | {"NO_PROXY": "*"}) as server:
        told = ""
        for line in server.stderr:
            told += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        assert found, told
        with urllib.request.urlopen(found[0] + "v1/about", timeout=PATIENCE) as answer:
            assert f'"images":{PICTURES}'.encode() in answer.read()
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
        assert "Traceback" not in server.stderr.read()


def test_pictures_are_those_of_the_index(served: TestClient) -> None:
    """What the page shows under a hit is the picture of that hit."""
    hit = served.get("/v1/search", params={"query": SENTENCE, "k": 1}).json()["hits"][0]["item"]
    shown = np.asarray(Image.open(io.BytesIO(served.get(hit["thumbnail"]).content)), float)
    stored = np.asarray(Image.open(hit["path"]).convert("RGB"), float)
    assert Path(hit["path"]).is_relative_to(pictures())
    assert np.abs(shown - stored).mean() < 12  # JPEG
