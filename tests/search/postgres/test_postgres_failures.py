"""A server that is killed loses no acknowledged row; credentials come from anywhere and are shown nowhere."""

import io
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from pathlib import Path

import psycopg
import pytest
from support import postgres_server
from support.running_server import listening
from support.search_models import model, pictures
from support.small_index import draw, small_model
from support.waiting import PATIENCE, wait_until

from wordsight.cli.main import main
from wordsight.errors import UnavailableError
from wordsight.search.index.index import Filters
from wordsight.search.postgres import local_server
from wordsight.search.postgres.address import IndexUrl, index_url
from wordsight.search.postgres.index import PostgresIndex
from wordsight.search.searcher import Searcher

SECRET, WRONG = "open-sesame", "hunter-two"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Data folder of a server that these tests kill, and whose user bob needs a password."""
    folder = Path(os.environ["WORDSIGHT_CACHE"]) / "killed" / "data"
    url = local_server.start(folder)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"CREATE ROLE bob LOGIN PASSWORD '{SECRET}'")
            connection.execute("GRANT CREATE ON DATABASE postgres TO bob")
            access = folder / "pg_hba.conf"
            access.write_text(f"local all bob scram-sha-256\n{access.read_text()}")
            connection.execute("SELECT pg_reload_conf()")
        yield folder
    finally:
        local_server.stop(folder)


@pytest.fixture
def url(folder: Path) -> str:
    return local_server.start(folder)


def kill_server(folder: Path) -> None:
    """SIGKILL for every process of the server."""
    first = int((folder / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    for process in [first, *map(int, children)]:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{first}").exists() or "Z" in _state(first))


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def killed_when_it_waits(url: str, folder: Path, made: PostgresIndex) -> threading.Thread:
    """Lock the regions of an index; kill the server as soon as a statement of wordsight waits for them."""
    locking = psycopg.connect(url)
    locking.execute(f"LOCK TABLE {made.server.url.name}.region IN ACCESS EXCLUSIVE MODE")
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'wordsight' AND wait_event_type = 'Lock'"
    )

    def kill() -> None:
        with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as watching:
            wait_until(lambda: watching.execute(waiting).fetchone())
            kill_server(folder)
        locking.close()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def new_index(url: str, folder: Path) -> PostgresIndex:
    name = postgres_server.new_name("f")
    return PostgresIndex.create(index_url(f"{url}#{name}"), small_model(folder))


def paths(found: PostgresIndex) -> list[str]:
    with found.snapshot() as snapshot:
        return sorted(item.path for item in snapshot.items(snapshot.newest(Filters(), 0, 1000)[0]))


def test_a_server_killed_in_a_query_is_a_503_and_the_next_query_is_answered(
    url: str, folder: Path, tmp_path: Path
) -> None:
    import httpx

    from wordsight.web.app import create_app

    made = new_index(url, tmp_path)
    draw(tmp_path / "pictures", range(5))
    made.update([tmp_path / "pictures"])
    with listening(create_app(Searcher(made), None)) as port:
        place = f"http://127.0.0.1:{port}/v1/search"
        ask = lambda: httpx.get(place, params={"query": "a ball"}, timeout=PATIENCE)  # noqa: E731
        expected = ask().json()
        answers = []
        killing = killed_when_it_waits(url, folder, made)
        asking = threading.Thread(target=lambda: answers.append(ask()))
        asking.start()
        killing.join(PATIENCE)
        asking.join(PATIENCE)
        assert answers[0].status_code == 503
        assert "does not answer" in answers[0].json()["detail"]
        assert ask().status_code == 503  # no server at all
        local_server.start(folder)
        again = ask().json()
        assert again["hits"] == expected["hits"]


def test_a_server_killed_in_a_write_loses_no_acknowledged_row(url: str, folder: Path, tmp_path: Path) -> None:
    made = new_index(url, tmp_path)
    files = draw(tmp_path / "pictures", range(30))
    committed: list[int] = []

    def progress(noun: str, done: int, total: int) -> None:
        if not committed and len(paths(made)) >= 16:
            committed.append(len(paths(made)))
            killed_when_it_waits(url, folder, made)

    with pytest.raises(UnavailableError, match="does not answer"):
        made.update([tmp_path / "pictures"], progress, batch_size=2, workers=1)
    local_server.start(folder)
    there = paths(made)
    assert len(there) >= committed[0]
    assert made.verify() == []
    report = made.update([tmp_path / "pictures"])
    assert report.added + report.unchanged == 30
    assert set(map(str, files)) <= set(paths(made))
    assert made.verify() == []


def command(*arguments: object) -> tuple[int, str]:
    """Exit code of the command, and all that it says."""
    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return int(ended.value.code or 0), said.getvalue()


def test_a_wrong_password_is_one_sentence_and_no_password_is_shown(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    place = _as_bob(url, WRONG)
    for arguments in (
        ("search", place, "a ball"),
        ("index", pictures(), "--out", place, "--model", model("max-sim")),
        ("index", "--out", place, "--stats", "--traceback"),
    ):
        code, said = command(*arguments)
        assert code == 1
        assert 'password authentication failed for user "bob"' in said
        assert "PGPASSWORD or ~/.pgpass" in said
        assert "--traceback" in arguments or said.count("\n") == 1
        assert WRONG not in said + caplog.text + "".join(capfd.readouterr())


def test_an_unknown_host_is_one_sentence() -> None:
    code, said = command("search", f"postgresql://bob:{SECRET}@no-such-host.invalid/photos", "a ball")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("wordsight: postgresql://bob@no-such-host.invalid/photos does not answer: ")
    assert SECRET not in said


@pytest.mark.parametrize("way", ["url", "PGPASSWORD", ".pgpass"])
def test_a_password_comes_from_the_address_the_environment_or_a_file(
    url: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    place = index_url(f"{_as_bob(url, SECRET if way == 'url' else '')}#bob")
    if way != "url":
        with pytest.raises(UnavailableError, match="no password supplied"):
            PostgresIndex.is_there(place)
    if way == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", SECRET)
    elif way == ".pgpass":
        (tmp_path / ".pgpass").write_text(f"*:*:*:bob:{SECRET}\n")
        (tmp_path / ".pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / ".pgpass"))
    if not PostgresIndex.is_there(place):
        PostgresIndex.create(place, small_model(tmp_path)).update(
            [draw(tmp_path / "pictures", range(2))[0].parent]
        )
    assert PostgresIndex.open(place).stats().items == 2


def _as_bob(url: str, password: str) -> str:
    secret = f":{password}" if password else ""
    return url.replace("postgres@", f"bob{secret}@")


def test_an_address_never_shows_its_password() -> None:
    address = IndexUrl(f"postgresql://bob:{SECRET}@db/photos?password={SECRET}&sslmode=require")
    assert SECRET not in f"{address} {address!r} {address.text}"
