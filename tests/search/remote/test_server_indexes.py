"""Promises of an index on any server: its commands, copies, damage, probabilities, a killed command."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support.search_models import index, model, pictures
from support.server_indexes import SERVERS, filled_index, new_address, new_index, run, typed
from support.small_index import draw, small_model
from support.small_problem import untrained_run
from support.waiting import PATIENCE, wait_until

from wordsight.errors import InputError
from wordsight.search.index.index import Filters
from wordsight.search.places import open_index
from wordsight.search.postgres.index import PostgresIndex
from wordsight.search.qdrant.index import QdrantIndex
from wordsight.search.remote.server_index import ServerIndex
from wordsight.search.searcher import Searcher

pytestmark = pytest.mark.parametrize("kind", SERVERS)


def test_the_commands_work_on_an_address(kind: str, tmp_path: Path) -> None:
    place = typed(new_address(kind, tmp_path))
    assert "24 added" in run("index", pictures(), "--out", place, "--model", model("max-sim"))
    assert "24 unchanged" in run("index", pictures(), "--out", place)
    best = run("search", place, "a red star", "--top", 1, "--null").rstrip("\0\n")
    assert best == run("search", index().folder, "a red star", "--top", 1, "--null").rstrip("\0\n")
    assert "score" in run("explain", place, "a red star", best)
    assert best not in run("similar", place, best, "--null")
    assert "integrity check passed" in run("index", "--out", place, "--verify")
    assert "24 images" in run("index", "--out", place, "--stats")
    assert "0 contents dropped" in run("index", "--out", place, "--compact")


def test_a_local_index_is_copied_without_reading_a_picture(kind: str, tmp_path: Path) -> None:
    address = new_address(kind, tmp_path)
    assert "24 items copied" in run("index", "--from", index().folder, "--out", typed(address))
    copied = open_index(address)
    assert copied.verify() == []
    hits = [
        [(hit.item.path, hit.item.date, hit.item.text, hit.score, hit.words) for hit in found.hits]
        for found in (Searcher(one).find_images("a star", 24) for one in (index(), copied))
    ]
    assert hits[0] == hits[1]
    assert copied.update([pictures()]).unchanged == 24
    run("index", "--from", index().folder, "--out", typed(address))  # again: nothing is there twice
    assert open_index(address).stats().items == 24


def damage(made: ServerIndex, paths: list[str]) -> None:
    """Lose a vector of the first picture, and change one of the second."""
    with made.snapshot() as snapshot:
        first, second = map(snapshot.id_of, paths)
    if isinstance(made, PostgresIndex):
        of_item = "picture = (SELECT picture FROM item WHERE id = %s)"
        with made.server.connection() as connection:
            connection.execute(f"DELETE FROM region WHERE {of_item} AND slot = 0", (first,))
            half = "(SELECT array_fill(0.5, ARRAY[8])::halfvec)"
            connection.execute(f"UPDATE region SET vector = {half} WHERE {of_item} AND slot = 1", (second,))
    if isinstance(made, QdrantIndex):
        from qdrant_client import models

        wrong = [
            models.PointVectors(id=id_, vector=np.full((count, 8), 0.5).tolist())
            for id_, count in ((first, 1), (second, 4))
        ]
        with made.store.client() as client:
            client.update_vectors(made.store.items, wrong)


def test_damaged_vectors_are_found_and_repaired(kind: str, tmp_path: Path) -> None:
    made, folder = filled_index(kind, tmp_path), tmp_path / "pictures"
    damage(made, [str(folder / name) for name in ("000.png", "005.png")])
    assert [sentence.split("/")[-1] for sentence in sorted(made.verify())] == [
        "000.png are damaged", "005.png are damaged",
    ]  # fmt: skip
    assert made.repair() == 2
    assert made.update([folder]).added == 2
    assert made.verify() == []


def test_a_model_in_the_index_that_is_damaged_is_named(kind: str, tmp_path: Path) -> None:
    made = filled_index(kind, tmp_path, pictures=1)
    made.files.write_files([("config.json#000000", b"{}")])
    assert "is damaged" in " ".join(made.verify())


def test_probabilities_are_given_to_an_index_on_a_server(kind: str, tmp_path: Path) -> None:
    """wordsight calibrate RUN --index ADDRESS."""
    untrained_run(tmp_path / "run", images=120)
    address = new_address(kind, tmp_path)
    place = typed(address)
    run("index", pictures(), "--out", place, "--model", tmp_path / "run")
    before = open_index(address)
    assert Searcher(before).find_images("a red star").min_probability is None
    said = run("calibrate", tmp_path / "run", "--index", place)
    assert "words of" in said
    found = Searcher(open_index(address)).find_images("a red star")
    assert found.min_probability == 0.5
    assert all(hit.probability is not None for hit in found.hits)
    assert open_index(address).verify() == []
    assert open_index(address).update([pictures()]).unchanged == 24
    other = small_model(tmp_path / "other")
    with pytest.raises(InputError, match="made by another model"):
        run("calibrate", other, "--index", place, "--config", "demo")


def stored(made: ServerIndex) -> int:
    """How many items another process has stored so far; a folder of Qdrant is open in that process alone."""
    if isinstance(made, PostgresIndex):
        return int(made.server.value("SELECT count(*) FROM item"))
    database = Path(made.url.location) / "collection" / made.url.name / "storage.sqlite"
    with suppress(sqlite3.Error), sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM points").fetchone()[0])
    return 0


def test_a_command_that_is_killed_goes_on_and_stores_nothing_twice(kind: str, tmp_path: Path) -> None:
    """kill -9 of ``wordsight index``, after some of its batches."""
    made = new_index(kind, tmp_path, small_model(tmp_path))
    files = draw(tmp_path / "pictures", range(300))
    arguments = ["index", tmp_path / "pictures", "--out", typed(made.url), "--batch-size", 2, "--workers", 1]
    command = [sys.executable, "-m", "wordsight", *map(str, arguments)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: stored(made) >= 10)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait(PATIENCE) == -signal.SIGKILL
    made = made.reopen()
    with made.snapshot() as snapshot:
        rows, _ = snapshot.newest(Filters(), 0, 1000)
        before = {item.path: item.id for item in snapshot.items(rows)}
    assert 10 <= len(before) < len(files)
    assert made.verify() == []
    report = made.update([tmp_path / "pictures"])
    assert (report.added, report.unchanged) == (len(files) - len(before), len(before))
    with made.snapshot() as snapshot:
        rows, total = snapshot.newest(Filters(), 0, 1000)
        after = {item.path: item.id for item in snapshot.items(rows)}
    assert total == len(files)
    assert sorted(after) == sorted(map(str, files))
    assert before.items() <= after.items()
    assert made.verify() == []


def test_two_commands_at_once_store_each_picture_once(kind: str, tmp_path: Path) -> None:
    """Two processes of ``wordsight index`` with the same folder; a folder of Qdrant refuses the second."""
    made = new_index(kind, tmp_path, small_model(tmp_path))
    draw(tmp_path / "pictures", range(60))
    arguments = ["index", tmp_path / "pictures", "--out", typed(made.url), "--batch-size", 2, "--workers", 1]
    command = [sys.executable, "-m", "wordsight", *map(str, arguments)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    said = [one.communicate(timeout=PATIENCE)[1].decode() for one in running]
    for one, text in zip(running, said, strict=True):
        assert one.returncode == 0 or "is in use by another process" in text, text
    made = made.reopen()
    made.update([tmp_path / "pictures"])
    assert (made.stats().items, made.stats().contents) == (60, 60)
    assert made.verify() == []


def test_the_doctor_examines_an_index_on_a_server(kind: str, tmp_path: Path) -> None:
    place = typed(filled_index(kind, tmp_path).url)
    sections = json.loads(run("doctor", "--json", "--no-network", place))["sections"]
    facts = {fact["name"]: fact["value"] for fact in sections[-1]["facts"]}
    assert facts["holds"] == "6 images, 6 different, 0 with a text"
    assert facts["files"] == "all of 6 are there"
    server = {"postgres": "PostgreSQL 18", "qdrant": "a folder, open in one process at a time"}[kind]
    assert facts["server"].startswith(server)
    draw(tmp_path / "pictures", [0])[0].unlink()
    assert "1 of 6 are not there" in run("doctor", "--no-network", place)
