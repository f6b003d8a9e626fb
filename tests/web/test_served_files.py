"""Which files the server hands out: those that its owner indexed or named, small or whole."""

import io
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import warm_process
from support.search_models import index, model, path_of, texts_index
from support.warm_process import WarmProcess

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient

from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.web import server as web_server
from wordsight.web.app import create_app
from wordsight.web.security import AccessPolicy

PROBLEM = "application/problem+json"


def client(images: Index, policy: AccessPolicy | None = None) -> TestClient:
    app = create_app(Searcher(images), Searcher(texts_index()), policy)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for row in range(3):
        (folder / f"{row}.png").write_bytes(path_of(row).read_bytes())
    return folder


@pytest.fixture
def made(tmp_path: Path, photos: Path) -> Index:
    made = Index.create(tmp_path / "index", model("max-sim"))
    made.update([photos])
    return made


def written_by_others(index: Index, path: Path | str, id: int = 1) -> None:
    with sqlite3.connect(index.folder / "facts.sqlite") as facts:
        facts.execute("UPDATE items SET path = ? WHERE id = ?", (os.fsencode(path), id))
    facts.close()


def statuses(one: TestClient, id: int = 1) -> set[int]:
    """Of everything that opens the file of an item."""
    asked = [f"/v1/items/{id}/thumbnail", f"/v1/items/{id}/original", f"/v1/captions?id={id}"]
    answers = [one.get(path) for path in asked]
    assert all(answer.status_code == 200 or answer.headers["content-type"] == PROBLEM for answer in answers)
    return {answer.status_code for answer in answers}


def private_picture(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "home" / "private.png")
    return tmp_path / "home" / "private.png"


def test_a_picture_that_an_index_names_but_nobody_indexed_is_not_there(made: Index, tmp_path: Path) -> None:
    private = private_picture(tmp_path)
    with client(made) as one:
        assert statuses(one) == {200}
        seen = one.get("/v1/items/1/thumbnail").headers["etag"]
    told = []
    for path in (
        private,
        tmp_path / "home" / "absent.png",
        "/dev/zero",
        "home/private.png",
        "/proc/self/mem",
    ):
        written_by_others(made, path)
        with client(made) as one:
            assert statuses(one) == {404}
            told.append(one.get("/v1/items/1/thumbnail", headers={"if-none-match": seen}).json())
            assert one.get("/v1/items/2/thumbnail").status_code == 200
    assert told == [told[0]] * 5  # the same, whether there is such a file or not
    assert "--root" in told[0]["detail"]
    written_by_others(made, private)
    with client(made, AccessPolicy(roots=(tmp_path / "home",))) as one:
        assert statuses(one) == {200}


def test_a_link_out_of_the_indexed_folder_leads_nowhere(made: Index, photos: Path, tmp_path: Path) -> None:
    (photos / "link.png").symlink_to(private_picture(tmp_path))
    written_by_others(made, photos / "link.png")
    with client(made) as one:
        assert statuses(one) == {404}


def test_a_pipe_and_a_file_that_is_no_picture_are_not_handed_out(made: Index, photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    (photos / "key.png").write_text("-----BEGIN PRIVATE KEY-----")
    (photos / "drawn.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    for id, name in enumerate(("pipe.png", "key.png", "drawn.png"), 1):
        written_by_others(made, photos / name, id)
    with client(made) as one:
        assert [statuses(one, id) for id in (1, 2, 3)] == [{409}] * 3


def test_a_folder_that_is_indexed_meanwhile_is_shown_at_once(made: Index, tmp_path: Path) -> None:
    with client(made) as one:
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "new.png").write_bytes(path_of(7).read_bytes())
        made.update([tmp_path / "more"])
        newest = next(one for one in one.get("/v1/items").json()["items"] if one["name"] == "new.png")
        assert one.get(newest["thumbnail"]).status_code == 200


def test_an_index_of_somebody_else_shows_no_picture_until_its_folder_is_named(
    made: Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "another user"))
    with client(made) as one:
        assert statuses(one) == {404}
        assert one.get("/v1/about").json()["opens_pictures"] is False
        assert one.get("/v1/search?query=a star").json()["total"] == 3
    with client(made, AccessPolicy(roots=(photos,))) as one:
        assert statuses(one) == {200}
        assert one.get("/v1/about").json()["opens_pictures"] is True


@pytest.fixture
def served(made: Index) -> Iterator[TestClient]:
    with client(made) as one:
        yield one


def test_the_original_is_the_file_with_its_name(served: TestClient, photos: Path) -> None:
    item = served.get("/v1/items/1").json()
    shown = served.get("/v1/items/1/original")
    assert shown.content == Path(item["path"]).read_bytes()
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["content-disposition"] == f'inline; filename="{item["name"]}"'
    saved = served.get("/v1/items/1/original?download=true")
    assert saved.headers["content-disposition"].startswith("attachment; ")
    part = served.get("/v1/items/1/original", headers={"range": "bytes=5-2"})
    assert (part.status_code, part.content) == (200, shown.content)
    assert served.head("/v1/items/1/original").headers["content-length"] == str(len(shown.content))


@pytest.mark.parametrize(("name", "media"), [("a.jpg", "image/png"), ("a.html.png", "image/jpeg")])
def test_an_original_is_called_what_it_is(made: Index, photos: Path, name: str, media: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (9, 9)).save(data, media.partition("/")[2])
    (photos / name).write_bytes(data.getvalue())
    written_by_others(made, photos / name)
    with client(made) as one:
        assert one.get("/v1/items/1/original").headers["content-type"] == media


def test_whole_files_can_be_refused(made: Index) -> None:
    with client(made, AccessPolicy(originals=False)) as one:
        told = one.get("/v1/items/1/original")
        assert (told.status_code, told.json()["type"]) == (403, "urn:wordsight:originals")
        assert one.get("/v1/about").json()["originals"] is False
        assert one.get("/v1/items/1/thumbnail").status_code == 200


# Behind a proxy


@pytest.mark.parametrize("stripped", [True, False], ids=["the proxy strips it", "the proxy leaves it"])
def test_addresses_know_the_prefix_of_a_proxy(stripped: bool) -> None:
    policy = web_server.access_policy("127.0.0.1", None, root_path="/photos/")
    before = "" if stripped else "/photos"
    with client(index(), policy) as one:
        answers = [
            one.get(f"{before}/v1/items?k=1").json()["items"][0],
            one.get(f"{before}/v1/items/1").json(),
            *(hit["item"] for hit in one.get(f"{before}/v1/search?query=a star").json()["hits"]),
            *(hit["item"] for hit in one.get(f"{before}/v1/similar?id=1").json()["hits"]),
        ]
        for item in answers:
            assert item["thumbnail"].startswith(f"/photos/v1/items/{item['id']}/thumbnail?version=")
        assert one.get(answers[0]["thumbnail"].removeprefix("/photos" if stripped else "")).status_code == 200
        told = one.get(f"{before}/openapi.json").json()
        assert told["servers"] == [{"url": "/photos"}]
        assert one.get(f"{before}/").headers["content-type"].startswith("text/html")
        assert one.get("/photosv1/about").status_code == 404


def test_the_token_is_asked_for_below_a_prefix_too() -> None:
    with client(index(), AccessPolicy("a-token-of-some-length", root_path="/photos")) as one:
        assert one.get("/photos/v1/about").status_code == 401
        assert one.get("/photos/").status_code == 200


def test_the_name_of_a_proxy_can_be_allowed() -> None:
    policy = web_server.access_policy("127.0.0.1", None, ["Photos.Example.org", "[2001:db8::1]"])
    with client(index(), policy) as one:
        for host in ("photos.example.org", "PHOTOS.example.org:443", "[2001:db8::1]", "localhost:8765"):
            assert one.get("/v1/about", headers={"host": host}).status_code == 200
        refused = one.get("/v1/about", headers={"host": "example.org"})
        assert (refused.status_code, "--allow-host" in refused.json()["detail"]) == (421, True)


@pytest.mark.parametrize("name", ["https://a.b", "a.b:80", "a/b", "", "a@b", "ä.de", "*"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="--allow-host"):
        web_server.access_policy("127.0.0.1", None, [name])


@pytest.mark.parametrize("path", ["photos", "/a b", "//", "/a?b", "https://a.b/c"])
def test_what_is_no_prefix_is_refused(path: str) -> None:
    if path.rstrip("/"):
        with pytest.raises(ValueError, match="--root-path"):
            web_server.access_policy("127.0.0.1", None, root_path=path)
    else:
        assert web_server.access_policy("127.0.0.1", None, root_path=path).root_path == ""


# The command


def command(*arguments: Any, **environment: str) -> WarmProcess:
    return warm_process.start("serve", *arguments, "--port", "0", env=os.environ | environment)


def test_the_command_says_that_an_index_was_made_by_somebody_else(made: Index, tmp_path: Path) -> None:
    with command(made.folder, WORDSIGHT_CACHE=str(tmp_path / "another")) as server:
        assert server.stderr is not None
        told = ""
        while "serving " not in told:
            line = server.stderr.readline()
            assert line, told
            told += line
        server.terminate()
    assert f"names 3 pictures below {tmp_path / 'photos'}; none is shown until you name its folder" in told


def test_a_root_that_is_not_there_is_named(made: Index, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent; --root"):
        web_server.access_policy("127.0.0.1", None, roots=[tmp_path / "absent"])
