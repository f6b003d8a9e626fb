"""A server answers sentences while its vision model is loaded; requests that send a picture wait for it."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.search_models import index, path_of, texts_index
from support.waiting import PATIENCE

pytest.importorskip("fastapi", reason="the REST interface needs wordsight[serve]")
from starlette.testclient import TestClient

from wordsight.errors import InputError
from wordsight.matcher import saved
from wordsight.matcher.saved import IMAGE_SIDE
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.web.app import create_app
from wordsight.web.state import SEARCH_THREADS

SENTENCE = "/v1/search?query=a red ball&k=10"


@pytest.fixture(scope="module", autouse=True)
def expected() -> dict[str, list[int]]:
    """The ids of the hits, found before any loading is changed."""
    one = Searcher(index())
    texts_index()
    by_picture = one.similar(str(path_of(3)))
    hits = {"sentence": one.find_images("a red ball"), "picture": by_picture}
    return {name: [hit.item.id for hit in found.hits] for name, found in hits.items()}


def served(home: Path) -> TestClient:
    """Indexes of pictures and of texts, opened anew."""
    folders = [shutil.copytree(one.folder, home / one.kind) for one in (index(), texts_index())]
    app = create_app(*(Searcher(Index.open(folder)) for folder in folders))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def send(client: TestClient, path: str, **fields: Any) -> Any:
    picture = {"picture": ("picture.png", path_of(3).read_bytes(), "image/png")}
    return client.post(path, files=picture, data=fields)


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """No image side is built before the second event; the first says that one is wanted."""
    wanted, free, build = threading.Event(), threading.Event(), saved.build_parts

    def waiting(kinds: Any, *arguments: Any) -> Any:
        if set(kinds) & set(IMAGE_SIDE):
            wanted.set()
            assert free.wait(PATIENCE)
        return build(kinds, *arguments)

    monkeypatch.setattr(saved, "build_parts", waiting)
    yield wanted, free
    free.set()


def test_sentences_are_answered_before_the_vision_model_is_there(
    expected: dict[str, list[int]], tmp_path: Path, held_back: tuple[threading.Event, threading.Event]
) -> None:
    wanted, free = held_back
    with served(tmp_path) as client, ThreadPoolExecutor(3 * SEARCH_THREADS) as pool:
        assert wanted.wait(PATIENCE)  # at the start, not at the first picture
        sent: list[Future[Any]] = []
        for path in ("/v1/similar", "/v1/captions"):  # more than there are threads for searches
            sent += [pool.submit(send, client, path, k=10) for _ in range(SEARCH_THREADS)]
        sent.append(pool.submit(send, client, "/v1/captions/explain", id=1))
        sent.append(pool.submit(client.get, "/v1/captions?id=1"))
        try:
            for _ in range(3):
                assert [hit["item"]["id"] for hit in client.get(SENTENCE).json()["hits"]] == expected[
                    "sentence"
                ]
            assert client.get("/v1/similar?id=1").status_code == 200  # by stored vectors
            assert client.get("/healthz").json() == {"status": "ok", "reads_pictures": False}
            assert not any(one.done() for one in sent)
        finally:
            free.set()
        answers = [one.result(60) for one in sent]
        assert [answer.status_code for answer in answers[:-1]] == [200] * (len(answers) - 1)
        assert [hit["item"]["id"] for hit in answers[0].json()["hits"]] == expected["picture"]
        assert client.get("/healthz").json()["reads_pictures"]


def test_a_vision_model_that_cannot_be_loaded_is_said_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build = saved.build_parts

    def failing(kinds: Any, *arguments: Any) -> Any:
        if set(kinds) & set(IMAGE_SIDE):
            raise InputError("the file is damaged")
        return build(kinds, *arguments)

    monkeypatch.setattr(saved, "build_parts", failing)
    with served(tmp_path) as client:
        answer = send(client, "/v1/similar")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:wordsight:vision")
        assert "cannot be loaded (InputError: the file is damaged)" in answer.json()["detail"]
        assert client.get(SENTENCE).status_code == 200
        assert not client.get("/healthz").json()["reads_pictures"]
    assert "Sentences are answered all the same" in caplog.text
