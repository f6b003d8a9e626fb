"""Pictures opened on the server's screen: by its own page on the same machine, and by nobody else."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.browser_page import Tab, needs_browser, serving
from support.search_models import model, path_of
from support.waiting import wait_until

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient

from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.web.app import create_app
from wordsight.web.security import AccessPolicy
from wordsight.web.server import access_policy

LOCAL = access_policy("127.0.0.1", None)
SHOW = "/v1/items/1/show"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Index:
    home = tmp_path_factory.mktemp("shown")
    (home / "a, b").mkdir()
    (home / "a, b" / "1.png").write_bytes(path_of(1).read_bytes())
    index = Index.create(home / "index", model("max-sim"))
    index.update([home / "a, b"])
    return index


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A screen whose programs write down what they were told to open."""
    log = tmp_path / "opened"
    for name in ("xdg-open", "dbus-send"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >> {log}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":7")
    log.touch()
    return log


def client(index: Index, policy: AccessPolicy = LOCAL, sender: str = "127.0.0.1") -> TestClient:
    app = create_app(Searcher(index), None, policy)
    return TestClient(app, "http://localhost", raise_server_exceptions=False, client=(sender, 5000))


def path(index: Index) -> Path:
    with index.snapshot() as snapshot:
        return Path(snapshot.item(0).path)


def test_a_picture_is_opened_and_shown_in_its_folder(made: Index, opened: Path) -> None:
    with client(made) as one:
        assert one.get("/v1/about").json()["shows_files"] is True
        assert one.post(SHOW, json={"where": "viewer"}).status_code == 204
        assert opened.read_text().splitlines() == ["xdg-open", str(path(made))]
        assert one.post(SHOW, json={"where": "folder"}).status_code == 204
    told = opened.read_text().splitlines()[2:]
    assert told[0] == "dbus-send"
    assert told[-2] == f"array:string:{path(made).as_uri().replace(',', '%2C')}"


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://localhost:3000"}, {"origin": "null"}, {"sec-fetch-site": "same-site"},
     {"sec-fetch-site": "cross-site"}, {"x-forwarded-for": "10.0.0.9"}, {"forwarded": "for=10.0.0.9"}],
    ids=str,
)  # fmt: skip
def test_other_pages_and_proxies_open_nothing(headers: dict[str, str], made: Index, opened: Path) -> None:
    with client(made) as one:
        assert one.post(SHOW, json={"where": "viewer"}, headers=headers).status_code == 403
    assert opened.read_text() == ""


@pytest.mark.parametrize("sender", ["192.168.1.7", "2001:db8::1"])
def test_other_machines_open_nothing(sender: str, made: Index, opened: Path) -> None:
    with client(made, sender=sender) as one:
        assert one.post(SHOW, json={"where": "viewer"}).json()["type"] == "urn:wordsight:not-local"
    assert opened.read_text() == ""


@pytest.mark.parametrize(
    "policy",
    [AccessPolicy(), access_policy("127.0.0.1", None, ["photos.example"]),
     access_policy("127.0.0.1", None, root_path="/photos"), access_policy("0.0.0.0", "t" * 20)],
    ids=["unknown address", "another name", "behind a proxy", "every address"],
)  # fmt: skip
def test_a_server_that_others_reach_opens_nothing(policy: AccessPolicy, made: Index, opened: Path) -> None:
    headers = {"authorization": f"Bearer {policy.token}"}
    with client(made, policy) as one:
        assert one.get("/v1/about", headers=headers).json()["shows_files"] is False
        assert one.post(SHOW, json={"where": "viewer"}, headers=headers).status_code == 403
    assert opened.read_text() == ""


def test_the_token_is_needed_too(made: Index, opened: Path) -> None:
    with client(made, access_policy("127.0.0.1", "t" * 20)) as one:
        assert one.post(SHOW, json={"where": "viewer"}).status_code == 401
        headers = {"authorization": "Bearer " + "t" * 20}
        assert one.post(SHOW, json={"where": "viewer"}, headers=headers).status_code == 204


def test_only_a_post_of_json_opens_a_file(made: Index, opened: Path) -> None:
    with client(made) as one:
        assert one.get(SHOW).status_code == 405
        for body, media, status in (
            ("where=viewer", "text/plain", {415, 422}),
            ("{}", "application/json", {422}),
        ):
            assert one.post(SHOW, content=body, headers={"content-type": media}).status_code in status
        assert one.post(SHOW, json={"where": "/bin/sh"}).status_code == 422
    assert opened.read_text() == ""


def test_without_a_screen_nothing_is_offered(
    made: Index, opened: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with client(made) as one:
        assert one.get("/v1/about").json()["shows_files"] is False
        assert one.post(SHOW, json={"where": "viewer"}).status_code == 403


@pytest.mark.parametrize("kind", ["outside", "program"])
def test_an_index_of_somebody_else_opens_no_other_file(kind: str, opened: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(path_of(1).read_bytes())
    index = Index.create(tmp_path / "index", model("max-sim"))
    index.update([tmp_path / "photos"])
    other = tmp_path / "away.png" if kind == "outside" else tmp_path / "photos" / "run.png"
    other.write_bytes(path_of(2).read_bytes() if kind == "outside" else b"#!/bin/sh\ntouch /tmp/x\n")
    with sqlite3.connect(index.folder / "facts.sqlite") as facts:
        facts.execute("PRAGMA trusted_schema = ON")
        facts.execute("UPDATE items SET path = ?", (os.fsencode(other),))
    with client(Index.open(index.folder)) as one:
        assert one.post(SHOW, json={"where": "viewer"}).status_code in (404, 409)
    assert opened.read_text() == ""


@needs_browser
def test_the_page_shows_a_picture_in_its_folder(browser: Any, made: Index, opened: Path) -> None:
    with serving(create_app(Searcher(made), None, LOCAL)) as address:
        one = Tab(browser)
        one.page.goto(address)
        one.page.locator(".open").first.click()
        one.page.get_by_role("button", name="Show in folder").click()
        wait_until(lambda: "dbus-send" in opened.read_text(), lambda: one.page.wait_for_timeout(25))
        one.page.get_by_role("button", name="Open in viewer").click()
        wait_until(lambda: "xdg-open" in opened.read_text(), lambda: one.page.wait_for_timeout(25))
        assert not one.errors
        one.context.close()
