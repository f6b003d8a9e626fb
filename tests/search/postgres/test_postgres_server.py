"""An index on PostgreSQL: addresses, failures and recovery, older tables, distributed tables."""

import json
import logging
import os
import threading
from pathlib import Path

import psycopg
import pytest
from support import postgres_server
from support.search_models import index, model, pictures
from support.server_indexes import filled_index, run, typed
from support.small_index import draw, small_model
from support.waiting import PATIENCE, wait_until

from wordsight.errors import InputError, UnavailableError
from wordsight.search.index.index import Filters
from wordsight.search.index.replaced import IndexReplaced
from wordsight.search.postgres import ddl, local_server
from wordsight.search.postgres.address import index_url
from wordsight.search.postgres.index import PostgresIndex
from wordsight.search.searcher import Searcher

SECRET = "open-sesame"


@pytest.fixture
def made(tmp_path: Path) -> PostgresIndex:
    found = filled_index("postgres", tmp_path)
    assert isinstance(found, PostgresIndex)
    return found


def test_older_tables_are_migrated_by_one_of_two_clients(
    made: PostgresIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Version 2 stored words sorted and once each, so phrases were not found."""
    (tmp_path / "pictures" / "000.txt").write_text("a dog on a red ball, a blue ball\n")
    made.update([tmp_path / "pictures"])
    with made.server.transaction() as connection:
        connection.execute(
            "UPDATE item SET words = ARRAY(SELECT DISTINCT w FROM unnest(words) w WHERE w != '' ORDER BY 1)"
        )
        connection.execute("UPDATE state SET version = 2")
    caplog.set_level(logging.INFO, "wordsight.search")
    opened: list[PostgresIndex] = []
    clients = [threading.Thread(target=lambda: opened.append(made.reopen())) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(PATIENCE)
    for one in opened:
        with one.snapshot() as snapshot:
            assert len(snapshot.rows_where(Filters(text='"red ball" dog'))) == 1
            assert len(snapshot.rows_where(Filters(text='"ball red"'))) == 0
    assert len(opened) == 2
    assert "its tables are brought from version 2 to 3" in caplog.text


def test_a_folder_that_cannot_be_indexed_leaves_no_index(tmp_path: Path) -> None:
    url = postgres_server.new_url("none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "captions.txt").write_text("other.jpg,a ball\n")
    with pytest.raises(InputError):
        run("index", tmp_path / "empty", "--out", f"{url.conninfo}#{url.name}", "--model", model("max-sim"),
            "--captions", tmp_path / "empty" / "captions.txt")  # fmt: skip
    assert not PostgresIndex.is_there(url)


def test_an_index_of_another_model_is_refused(made: PostgresIndex, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="made by another model"):
        made.check_model(small_model(tmp_path / "other", seed=1))


def test_an_index_made_anew_is_noticed(made: PostgresIndex, tmp_path: Path) -> None:
    searcher = Searcher(made)
    assert len(searcher.find_images("a ball", 10).hits) == 6
    made.delete()
    PostgresIndex.create(made.server.url, small_model(tmp_path / "other", seed=1))
    with pytest.raises(IndexReplaced):
        made.generation()
    assert searcher.find_images("a ball", 10).hits == ()


def test_a_wrong_password_is_one_sentence_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    url = index_url(f"postgresql://bob:{SECRET}@127.0.0.1:1/photos?password={SECRET}")
    with pytest.raises(UnavailableError) as refused:
        PostgresIndex.open(url)
    message = str(refused.value)
    assert message.startswith("postgresql://bob@127.0.0.1:1/photos")
    for text in (message, str(url), repr(url), str(refused.value.__context__), str(refused.value.__cause__)):
        assert SECRET not in text
    assert "\n" not in message


def test_the_environment_completes_an_address(made: PostgresIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    host = postgres_server.url().partition("host=")[2]
    for name, value in {"PGHOST": host, "PGUSER": "postgres", "PGDATABASE": "postgres"}.items():
        monkeypatch.setenv(name, value)
    assert PostgresIndex.open(index_url(f"postgresql://#{made.server.url.name}")).stats().items == 6


def test_a_query_that_the_server_ends_is_a_503_and_the_next_one_is_answered(made: PostgresIndex) -> None:
    from fastapi.testclient import TestClient

    from wordsight.web.app import create_app

    with TestClient(create_app(Searcher(made), None), base_url="http://127.0.0.1") as client:
        ask = lambda: client.get("/v1/search", params={"query": "a ball"})  # noqa: E731
        assert ask().status_code == 200
        answers = []
        with psycopg.connect(made.server.url.conninfo) as other:
            other.execute(f"LOCK TABLE {made.server.url.name}.region IN ACCESS EXCLUSIVE MODE")
            asking = threading.Thread(target=lambda: answers.append(ask()))
            asking.start()
            waiting = """SELECT pid FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND application_name = 'wordsight'"""
            with psycopg.connect(made.server.url.conninfo, autocommit=True) as killer:
                wait_until(lambda: killer.execute(waiting).fetchall())
                killer.execute(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS waiting")
            asking.join(PATIENCE)
        assert answers[0].status_code == 503
        assert "terminating connection" in answers[0].json()["detail"]
        assert ask().status_code == 200


def test_a_server_that_stops_is_named_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    folder = Path(os.environ["WORDSIGHT_CACHE"]) / "stopping" / "data"
    url = run("engine", "start", folder).splitlines()[0]
    try:
        made = PostgresIndex.create(index_url(url), small_model(tmp_path))
        draw(tmp_path / "pictures", range(3))
        made.update([tmp_path / "pictures"])
        searcher = Searcher(made)
        assert run("engine", "status", folder).splitlines()[0] == url
        run("engine", "stop", folder)
        run("engine", "status", folder, code=1)
        with pytest.raises(UnavailableError, match="does not answer"):
            searcher.find_images("a ball")
        local_server.start(folder)
        assert len(searcher.find_images("a ball").hits) == 3
        assert made.verify() == []
    finally:
        local_server.stop(folder)


def test_tables_are_distributed_by_picture() -> None:
    plain, citus = ddl.create_sql("photos", 128), ddl.create_sql("photos", 128, shards=32)
    assert "create_distributed_table" not in plain
    assert "create_distributed_table('picture', 'picture', shard_count := 32)" in citus
    for table in ("item", "region"):
        assert f"create_distributed_table('{table}', 'picture', colocate_with := 'picture')" in citus
    assert ddl.UNIQUE_PATHS in plain
    assert ddl.UNIQUE_PATHS not in citus  # Citus refuses a unique index without the column of distribution
    keys = [line for line in citus.splitlines() if "PRIMARY KEY" in line and "picture" in line]
    assert len(keys) == 3


@pytest.mark.skipif(
    "WORDSIGHT_CITUS_URL" not in os.environ, reason="needs a Citus cluster: WORDSIGHT_CITUS_URL"
)
def test_a_cluster_gives_the_answers_of_one_machine() -> None:
    url = index_url(f"{os.environ['WORDSIGHT_CITUS_URL'].partition('#')[0]}#test_{os.getpid()}")
    made = PostgresIndex.create(url, model("max-sim"), shards=4)
    try:
        made.update([pictures()])
        for sentence in ("a red star", "+star -blue"):
            hits = [
                [hit.item.path for hit in Searcher(one).find_images(sentence, 24).hits]
                for one in (index(), made)
            ]
            assert hits[0] == hits[1]
        assert made.verify() == []
    finally:
        made.delete()


def test_the_doctor_names_what_decides_on_speed_and_safety(made: PostgresIndex) -> None:
    sections = json.loads(run("doctor", "--json", "--no-network", typed(made.url)))["sections"]
    facts = {fact["name"]: fact["value"] for fact in sections[-1]["facts"]}
    assert "pgvector" in facts["server"]
    assert facts["a commit waits for the disk"] == "no"  # the tests do not, see support/postgres_server.py


def test_the_doctor_names_a_server_that_does_not_answer() -> None:
    said = run("doctor", "--no-network", f"postgresql://bob:{SECRET}@127.0.0.1:1/photos", code=1)
    assert "! cannot be opened: postgresql://bob@127.0.0.1:1/photos does not answer" in said
    assert SECRET not in said
