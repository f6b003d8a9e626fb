"""The demo as a newcomer meets it: real processes that train, index, search, serve, and go on if stopped."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image
from safetensors.torch import load_file
from support import warm_process
from support.small_problem import wordsight
from support.waiting import PATIENCE

from wordsight.cli import serve
from wordsight.cli.main import app
from wordsight.read.synthetic.dataset import World, generate
from wordsight.read.synthetic.export import write_pictures

PICTURES = 24
SMALL = [
    f"data.images={PICTURES}", "image_encoder.dim=16", "image_encoder.width=8", "text_encoder.word_dim=8",
    "training.epochs=3", "training.batch_size=8", "training.warmup_steps=0",
]  # fmt: skip
CHANGES = [part for change in SMALL for part in ("--set", change)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def told(home: Path) -> subprocess.CompletedProcess[str]:
    """A demo from nothing to its end, in ``home``."""
    return warm_process.run("demo", *CHANGES, cwd=home)


def test_it_measures_indexes_searches_and_shows(
    home: Path, told: subprocess.CompletedProcess[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told.returncode == 0, told.stderr
    assert "protocol all: 24 images, 120 texts; generated world, seed 0, test" in told.stdout
    assert "pointing accuracy" in told.stdout
    assert f"demo/world.index: {PICTURES} added" in told.stdout
    assert (home / "demo" / "report.html").is_file()
    assert len(list((home / "demo" / "pictures").glob("*.png"))) == PICTURES
    monkeypatch.chdir(home)
    assert "integrity check passed" in wordsight("index", "--out", "demo/world.index", "--verify").stdout


def test_three_queries_are_answered_as_the_search_answers_them(
    home: Path, told: subprocess.CompletedProcess[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    asked = [line for line in told.stderr.splitlines() if line.startswith("$") and " search " in line]
    assert len(asked) == 3
    answered = [wordsight(*words_of(line)) for line in asked]
    assert "".join(answer.stdout for answer in answered) in told.stdout
    for number, answer in enumerate(answered, 1):  # what so short a training finds depends on the processor
        assert (home / "demo" / f"search-{number}.html").is_file() == bool(answer.stdout)


def test_the_last_query_asks_for_what_no_picture_shows(told: subprocess.CompletedProcess[str]) -> None:
    asked = [line for line in told.stderr.splitlines() if line.startswith("$") and " search " in line][-1]
    _, colour, shape, _, _, other_colour, other_shape = words_of(asked)[2].split()
    for scene in generate("test", 0, PICTURES).scenes:
        shown = {(thing.colour, thing.shape) for thing in scene.things}
        assert not {(colour, shape), (other_colour, other_shape)} <= shown


def words_of(line: str) -> list[str]:
    """What stands after the name of the program, in a command that was printed."""
    words = shlex.split(line.lstrip("$ "))
    starts = [n for n, word in enumerate(words) if word in ("index", "search", "demo")]
    return words[starts[0] :]


def test_it_ends_with_commands_that_exist(told: subprocess.CompletedProcess[str]) -> None:
    menu: Any = typer.main.get_command(app)
    last = told.stderr.rsplit("done in", 1)[1]
    commands = [
        words_of(line) for line in last.splitlines() if re.match(r"  .*wordsight (demo|index|search) ", line)
    ]
    assert [name for name, *_ in commands] == ["demo", "index", "search"]
    for name, *rest in commands:
        menu.commands[name].make_context(name, rest)
    program = shlex.split(last.splitlines()[-1])
    program = program[: program.index("search")]
    assert subprocess.run([*program, "--version"], capture_output=True).returncode == 0


def test_a_finished_demo_is_served_as_it_is(home: Path, told: subprocess.CompletedProcess[str]) -> None:
    if serve.missing_packages():
        pytest.skip("the page needs wordsight[serve]")
    before = (home / "demo" / "report.html").stat().st_mtime_ns
    environment = os.environ | {"NO_PROXY": "*", "BROWSER": "true"}
    with warm_process.start("demo", "--serve", "--port", 0, *CHANGES, cwd=home, env=environment) as server:
        said = ""
        for line in server.stderr:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        assert found, said
        with urllib.request.urlopen(found[0], timeout=PATIENCE) as answer:
            assert b"<html" in answer.read()
        with urllib.request.urlopen(
            found[0] + "v1/search?query=a+red+circle&k=2", timeout=PATIENCE
        ) as answer:
            assert len(json.load(answer)["hits"]) == 2
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
        assert "Traceback" not in server.stderr.read()
    assert "epoch" not in said
    assert (home / "demo" / "report.html").stat().st_mtime_ns == before


def test_serving_without_the_extra_is_one_sentence_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {"no_such_module": "fastapi"}
    assert find_spec("no_such_module") is None
    monkeypatch.setattr(serve, "NEEDED", absent)
    refused = wordsight("demo", "--serve", "--out", tmp_path / "demo")
    assert str(refused.exception) == "serving needs fastapi: pip install 'wordsight[serve]'"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("more", [[], ["--serve"]])
def test_another_seed_needs_another_folder(
    home: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    refused = wordsight("demo", "--seed", 1, *more, *CHANGES)
    assert str(refused.exception).startswith("demo was made with the seed 0; ask for it by --seed 0")


def test_an_interrupted_demo_goes_on_to_the_same_bits(
    tmp_path: Path, home: Path, told: subprocess.CompletedProcess[str]
) -> None:
    with warm_process.start("demo", *CHANGES, cwd=tmp_path) as stopped:
        while not (tmp_path / "demo" / "run" / "last").is_dir():
            assert stopped.poll() is None
            time.sleep(0.01)
        stopped.send_signal(signal.SIGINT)
        said = stopped.communicate()[1]
    assert stopped.returncode == 130, said
    assert "the same command goes on from there" in said
    again = warm_process.run("demo", *CHANGES, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    ends = [load_file(at / "demo" / "run" / "best" / "weights.safetensors") for at in (home, tmp_path)]
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0])
    assert again.stdout.split("demo/world.index:")[0] == told.stdout.split("demo/world.index:")[0]


def test_pictures_have_their_sentences_beside_them(tmp_path: Path) -> None:
    pairs = World(seed=3, images=8).read("test")
    write_pictures(tmp_path / "pictures", "test", 3, 8)
    for row, name in enumerate(pairs.names):
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert picture.tobytes() == pairs.images.read([row])[0].tobytes()
        lines = (tmp_path / "pictures" / name).with_suffix(".txt").read_text().splitlines()
        assert lines == [pairs.texts[text] for text in (pairs.image_of == row).nonzero().flatten().tolist()]
    with pytest.raises(FileExistsError, match="pictures exists and is not an empty folder"):
        write_pictures(tmp_path / "pictures", "test", 3, 8)
