"""The command line as a person meets it: exit codes, messages, files; a training in a process of its own."""

import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import warm_process
from typer.main import get_command

from wordsight.cli.main import app, main


def verbs(command: Any, *path: str) -> Iterator[list[str]]:
    """Every command there is, each as the words that call it."""
    inner = getattr(command, "commands", {})
    if not inner:
        yield list(path)
    for name, one in inner.items():
        yield from verbs(one, *path, name)


VERBS = list(verbs(get_command(app)))
SMALL = [
    "data.images=24", "image_encoder.dim=16", "image_encoder.width=8", "text_encoder.word_dim=8",
    "training.epochs=2", "training.batch_size=8", "training.warmup_steps=0",
]  # fmt: skip


CHANGES = [part for change in SMALL for part in ("--set", change)]


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return warm_process.run(*arguments, env=os.environ | environment)


def wordsight(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, from the entry point to the exit code."""
    out, talk, words = io.StringIO(), io.StringIO(), list(map(str, arguments))
    with redirect_stdout(out), redirect_stderr(talk):
        try:
            main(words)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), talk.getvalue())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    run = tmp_path_factory.mktemp("main") / "run"
    trained = process("train", "demo", *CHANGES, "--out", run)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith(str(run / "best"))
    return run


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(verb: list[str]) -> None:
    told = wordsight(*verb, "--help")
    assert told.returncode == 0
    assert "Example: wordsight" in " ".join(told.stdout.split())


def test_a_run_trains_measures_and_resumes(run: Path) -> None:
    measured = wordsight("evaluate", run, "--json", "--protocol", "all")
    assert measured.returncode == 0, measured.stderr
    numbers = json.loads(measured.stdout)
    assert numbers["protocol"] == "all"
    assert "pointing" in numbers
    again = wordsight("train", "demo", *CHANGES, "--out", run, "--resume")
    assert again.returncode == 0, again.stderr
    other = wordsight(
        "train", "demo", *CHANGES, "--set", "training.learning_rate=0.5", "--out", run, "--resume"
    )
    assert other.returncode == 1
    assert "learning_rate" in other.stderr


def test_anyones_score_matrix_is_measured(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.repeat(np.eye(4), 5, axis=1) + 0.0)
    told = wordsight("evaluate", "--scores", tmp_path / "scores.npy", "--json")
    assert json.loads(told.stdout)["rsum"] == 600
    np.save(tmp_path / "third.npy", np.random.default_rng(0).normal(size=(7, 35)))
    told = wordsight("evaluate", "--scores", tmp_path / "third.npy", "--json")
    assert not re.search(r"\.\d{7}", told.stdout), "a number with digits that nobody has measured"
    broken = np.full((4, 20), np.nan)
    np.save(tmp_path / "broken.npy", broken)
    refused = wordsight("evaluate", "--scores", tmp_path / "broken.npy")
    assert refused.returncode == 1
    assert "not finite" in refused.stderr or "NaN" in refused.stderr


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            (4, 20),
            ["--protocol", "f30k"],
            "4 images with 20 captions were given; .*; measure what you have with --protocol all$",
        ),
        ((20, 4), [], r"transposed .*; save its transpose: numpy.save\(FILE, scores.T\)$"),
        ((10, 10), [], r"scores\[::5\]\); if each image has one text: --captions 1$"),
        ((4, 19), [], "which texts are of which; name the configuration or the run .*: --config$"),
        ((4, 20), ["--protocol", "cuhk-pedes"], "asks which person .* --config$"),
    ],
)
def test_scores_that_are_not_the_protocols_are_told_in_the_commands_own_words(
    tmp_path: Path, shape: tuple[int, int], options: list[str], message: str
) -> None:
    np.save(tmp_path / "scores.npy", np.random.default_rng(0).normal(size=shape))
    told = wordsight("evaluate", "--scores", tmp_path / "scores.npy", *options)
    assert told.returncode == 1
    assert re.search(message, told.stderr.strip()), told.stderr
    assert not re.search("pass|strict|captions_per_image|_identities", told.stderr)


def test_the_matrix_that_evaluate_saves_measures_the_same(run: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.npy"
    model = json.loads(
        wordsight("evaluate", run, "--json", "--protocol", "all", "--save-scores", scores).stdout
    )
    matrix = json.loads(wordsight("evaluate", "--scores", scores, "--json").stdout)
    assert model["i2t"] == matrix["i2t"]
    assert model["t2i"] == matrix["t2i"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "no-such-config"], 1, "wordsight config show own-pairs > mine.toml"),
        (["train", "demo", "--set", "training.epoch=3"], 1, 'did you mean "epochs"'),
        (["train", "demo", "--set", "trainign.epochs=3"], 1, "did you mean"),
        (["train", "demo", "--set", "epochs"], 1, "table.key=value"),
        (["evaluate", "no/such/run"], 1, "train it first"),
        (["evaluate"], 2, "give a MODEL"),
        (["evaluate", "x", "--split", "holdout"], 2, "known: train, validation, test"),
        (["data", "check", "/no/such/place"], 1, "/no/such/place"),
        (["features", "extract", "/no/such/place", "--model", "x", "--out", "y"], 1, "/no/such/place"),
        (["vocab", "build", "/no/such/place", "--out", "y"], 1, "/no/such/place"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_next_step(
    arguments: list[str], code: int, message: str
) -> None:
    told = wordsight(*arguments)
    assert told.returncode == code, told.stderr
    assert message in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.usefixtures("hub")
def test_a_hub_model_that_is_not_here_exits_with_4(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "pictures" / "black.png")
    told = process(
        "features", "extract", tmp_path / "pictures", "--model", "nobody/nothing", "--out", tmp_path / "out",
        HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"),
    )  # fmt: skip
    assert told.returncode == 4, told.stderr
    assert "copy that folder here" in told.stderr
    assert not (tmp_path / "out").exists()
    told = wordsight("evaluate", "nobody/nothing", "--config", "demo", "--set", "data.images=8")
    assert told.returncode == 4, told.stderr
    assert "hf download nobody/nothing" in told.stderr


def test_a_grid_of_no_number_is_wrong_usage(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "black.png")
    told = wordsight("features", "extract", tmp_path, "--model", "x", "--grid", "1,two", "--out", "y")
    assert told.returncode == 2, told.stderr
    assert "neither full nor a number" in " ".join(told.stderr.split())


@pytest.mark.data
def test_unreadable_pictures_are_skipped_and_listed(data: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for photo in sorted((data / "flickr8k" / "images").iterdir())[:3]:
        (pictures / photo.name).write_bytes(photo.read_bytes())
    (pictures / "empty.jpg").touch()
    model = data / "weights" / "mobilenet_v2_1.0_224"
    told = wordsight(
        "features", "extract", pictures, "--model", model, "--grid", "1,4", "--out", tmp_path / "out"
    )
    assert told.returncode == 3, told.stderr
    assert "3 pictures stored" in told.stdout
    assert "empty.jpg" in told.stderr
