"""wordsight doctor: every section is there, an index is examined, problems decide the exit code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import warm_process
from support.small_index import draw, make, small_model

from wordsight.learn.precision import CLEAR_SPEEDUP
from wordsight.search.index.index import Index
from wordsight.similarity.kernels.integer_product import integer_product

SECTIONS = ["versions", "processor", "chosen on this processor", "GPU", "extras", "caches", "disk"]


def doctor(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm_process.run("doctor", *arguments, env=os.environ | environment)


def facts(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Facts by section and name."""
    assert done.stderr.count("Traceback") == 0, done.stderr
    return {
        section["name"]: {fact["name"]: fact for fact in section["facts"]}
        for section in json.loads(done.stdout)["sections"]
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("doctor")
    draw(folder / "pictures", range(5))
    return make(folder / "index", small_model(folder), folder / "pictures")


def test_a_machine_and_an_index_are_described(index: Index, tmp_path: Path) -> None:
    done = doctor("--json", "--no-network", index.folder, HOME=str(tmp_path), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout
    found = facts(done)
    assert list(found) == [*SECTIONS, "index 1"]
    assert found["versions"]["torch"]["value"] == torch.__version__
    integers = integer_product("cpu")
    chosen = found["chosen on this processor"]
    assert ("none" if integers is None else str(integers.largest)) in chosen["int8 product"]["value"]
    assert str(CLEAR_SPEEDUP) in chosen['training precision = "auto"']["value"]
    assert found["processor"]["OMP_NUM_THREADS"]["state"] == "note"
    assert found["index 1"]["holds"]["value"] == "5 images, 5 different, 0 with a text"
    assert found["index 1"]["files"]["value"] == "all of 5 are there"
    assert "wordsight calibrate" in found["index 1"]["probabilities"]["advice"]
    assert "send: the output of wordsight doctor --json" in done.stderr


def test_a_cpu_that_is_limited_says_so() -> None:
    command = [sys.executable, "-m", "wordsight", "doctor", "--json", "--no-network"]
    limited = os.environ | {"ATEN_CPU_CAPABILITY": "default"}  # which torch reads when it is loaded
    chosen = facts(subprocess.run(command, capture_output=True, text=True, env=limited))
    assert chosen["processor"]["ATEN_CPU_CAPABILITY"]["value"] == "default"
    value = chosen["chosen on this processor"]["instructions that torch uses"]["value"]
    assert value in ("DEFAULT", "default", "NO AVX")


def test_a_damaged_index_is_a_problem_and_ends_with_1(index: Index, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(index.folder, broken)
    (broken / "facts.sqlite").write_bytes(b"no database" * 1000)
    done = doctor("--no-network", broken, tmp_path / "nothing")
    assert done.returncode == 1
    assert done.stdout.count("! cannot be opened") == 2
    assert "2 problems" in done.stderr


def test_pictures_that_are_gone_are_counted(index: Index, tmp_path: Path) -> None:
    draw(tmp_path / "pictures", range(4))
    other = make(tmp_path / "index", small_model(tmp_path), tmp_path / "pictures")
    (tmp_path / "pictures" / "002.png").unlink()
    found = facts(doctor("--json", "--no-network", other.folder))["index 1"]["files"]
    assert (found["value"], found["state"]) == ("1 of 4 are not there", "note")
