"""An index on Qdrant, in a folder of its client: candidates, requests, texts, failures."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.search_models import model, pictures, texts_index
from support.server_indexes import filled_index
from support.small_index import draw, in_child, small_model

from wordsight.errors import InputError, UnavailableError
from wordsight.search.index.index import Filters
from wordsight.search.places import index_place
from wordsight.search.qdrant import batch, engines
from wordsight.search.qdrant.address import qdrant_url
from wordsight.search.qdrant.index import QdrantIndex
from wordsight.search.searcher import Searcher

SECRET = "open-sesame"


@pytest.fixture
def made(tmp_path: Path) -> QdrantIndex:
    found = filled_index("qdrant", tmp_path)
    assert isinstance(found, QdrantIndex)
    return found


def test_the_page_is_served_from_it(made: QdrantIndex) -> None:
    from fastapi.testclient import TestClient

    from wordsight.web.app import create_app

    with TestClient(create_app(Searcher(made), None), base_url="http://127.0.0.1") as client:
        found = client.get("/v1/search", params={"query": "a ball"}).json()
        assert len(found["hits"]) == 6


def test_texts_are_found_by_a_picture(tmp_path: Path) -> None:
    texts = texts_index()
    with texts.snapshot() as snapshot:
        lines = [item.text for item in snapshot.items(range(len(snapshot)))]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    url = qdrant_url(f"qdrant+file://{tmp_path / 'qdrant'}")
    copied = QdrantIndex.create(url, model("max-sim"), "texts")
    copied.update([tmp_path / "texts.txt"])
    picture = next(pictures().rglob("*.png"))
    found = [[hit.item.text for hit in Searcher(one).find_texts(picture, 10).hits] for one in (texts, copied)]
    assert found[0] == found[1]


def test_a_shortlist_holds_the_best_sums_of_maxima(
    made: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a mean of maxima they are the exact search's best, and the scores are the model's own."""
    monkeypatch.setattr(engines, "SHORTLIST", 3)
    searcher = Searcher(made)
    every = searcher.find_images("a red ball", 6, engine="exact")
    few = searcher.find_images("a red ball", 6, engine="shortlist", filters=Filters(text="png"))
    assert len(few.hits) == 6  # at least four times the page are scored
    monkeypatch.setattr(engines, "PER_HIT", 1)
    best = searcher.find_images("a red ball", 2, engine="shortlist")
    found = [[(hit.item.path, hit.score) for hit in hits] for hits in (best.hits, every.hits[:2])]
    assert found[0] == found[1]
    assert not best.exact
    assert searcher.session().recall.recall == 1.0  # six pictures are all among the candidates


def test_a_batch_larger_than_a_request_is_stored(
    made: QdrantIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "NUMBERS_PER_REQUEST", 40)  # a picture of these has 32
    draw(tmp_path / "pictures", range(20))
    assert made.update([tmp_path / "pictures"], batch_size=20).added == 14
    assert made.verify() == []
    assert made.stats().items == 20


def test_a_folder_that_another_process_uses_is_refused_in_one_sentence(made: QdrantIndex) -> None:
    def search() -> None:
        with pytest.raises(
            UnavailableError, match="is in use by another process; wait, or start a Qdrant server"
        ):
            made.reopen()

    with made.snapshot():
        assert in_child(search) == 0
    assert made.reopen().stats().items == 6


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server on this machine that accepts no key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"qdrant://:{SECRET}@127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_key_is_in_no_message(refusing: str) -> None:
    url = qdrant_url(refusing)
    with pytest.raises(UnavailableError, match="refuses this key; set QDRANT_API_KEY") as refused:
        QdrantIndex.open(url)
    for text in (str(refused.value), str(url), repr(url), str(refused.value.__context__)):
        assert SECRET not in text


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(UnavailableError, match=r"qdrant://127\.0\.0\.1:1 does not answer") as refused:
        QdrantIndex.open(qdrant_url("qdrant://127.0.0.1:1"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qdrant://", "is no address of a Qdrant server"),
        ("qdrant://host/photos", "is no address of a Qdrant server"),
        ("qdrant://host#a/b", "is no name of an index"),
        ("qdrant+file://", "names no folder"),
        ("qdrant+http://host", "is no kind of index; known: postgresql://"),
    ],
)
def test_a_wrong_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        index_place(text)


def test_an_address_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", SECRET)
    url = qdrant_url("qdrant+https://db.example#photos-2024")
    assert (url.location, url.name, url.key) == ("https://db.example:6333", "photos-2024", SECRET)
    assert str(url) == "qdrant+https://db.example:6333#photos-2024"


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    files = draw(tmp_path / "pictures", [1])
    with pytest.raises(InputError, match="pictures holds other files"):
        QdrantIndex.create(qdrant_url(f"qdrant+file://{tmp_path / 'pictures'}"), small_model(tmp_path))
    assert list((tmp_path / "pictures").iterdir()) == files


def test_no_index_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no index; make one: wordsight index FOLDER"):
        QdrantIndex.open(qdrant_url(f"qdrant+file://{tmp_path / 'none'}"))
    assert not (tmp_path / "none").exists()
