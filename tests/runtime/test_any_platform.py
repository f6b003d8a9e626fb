"""No step needs what only Linux has, and a library call leaves the allocator of its process alone."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.search_models import model, pictures
from support.waiting import PATIENCE

from wordsight.experiments import table
from wordsight.runtime.usage import cpu_seconds, peak_memory_mb

TRAINED = """
import ctypes, importlib, os, pkgutil, signal, sys
from pathlib import Path

for absent in ("resource", "fcntl", "pwd", "grp", "termios"):  # none of them is on Windows
    sys.modules[absent] = None
for name in [name for name in dir(os) if name.startswith(("sched_", "fork", "getrusage", "posix_", "memfd"))]:
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1"):
    delattr(signal, name)
whole_process, opened = ctypes.CDLL, []
class Recorded(whole_process):
    def __init__(self, name, *rest, **more):
        opened.append(name)
        super().__init__(name, *rest, **more)

import wordsight
for module in pkgutil.walk_packages(wordsight.__path__, "wordsight."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
ctypes.CDLL = Recorded

from dataclasses import replace
from support.small_problem import SETTINGS, small_matcher, small_pairs
from wordsight.evaluation import evaluate
from wordsight.learn.training import fit
from wordsight.learn.triplet import Triplet
from wordsight.runtime.usage import cpu_seconds, peak_memory_mb

folder, matcher, pairs = Path(sys.argv[1]), small_matcher(), small_pairs()
measure = lambda model: {"rsum": evaluate(model, pairs, intervals=False).rsum}
fit(matcher, Triplet(), pairs, replace(SETTINGS, epochs=1), folder, measure)
fit(matcher, Triplet(), pairs, replace(SETTINGS, epochs=2), folder, measure, resume=True)
assert cpu_seconds() > 0 and peak_memory_mb() is None
assert None not in opened, "a library call asked for the allocator of its process"

from wordsight.runtime.malloc import keep_freed_memory
keep_freed_memory()
assert None in opened or os.name != "posix"
print((folder / "best" / "weights.safetensors").is_file())
"""


def test_it_trains_and_measures_without_what_only_linux_has(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", TRAINED, str(tmp_path / "run")],
        capture_output=True, text=True, check=False, env=environment | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"


SEARCHED = """
import importlib, os, pkgutil, sys, types

model, pictures, index = sys.argv[1:]
import wordsight
for one in pkgutil.walk_packages(wordsight.__path__, "wordsight."):
    if not one.name.endswith("__main__"):
        module = importlib.import_module(one.name)
        if "sys" in vars(module):  # what wordsight sees; other packages remain on this system
            module.sys = types.SimpleNamespace(**vars(sys) | {"platform": "win32"})
import fcntl
flock, mode = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB
locking = lambda descriptor, *_: flock(descriptor, mode)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
for absent in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[absent] = None
for name in ("symlink", "link"):  # neither is allowed to everybody
    setattr(os, name, lambda *_, **__: (_ for _ in ()).throw(OSError(1314, "not held")))
for name in [name for name in dir(os) if name.startswith(("sched_", "fork", "posix_", "memfd"))]:
    delattr(os, name)

from wordsight.cli.main import main

def run(*arguments):
    print(">", arguments[0], flush=True)
    try:
        main([str(one) for one in arguments])
    except SystemExit as end:
        assert not end.code, end.code

run("index", pictures, "--model", model, "--out", index)
os.remove(os.path.join(pictures, sorted(os.listdir(pictures))[0]))
run("index", pictures, "--out", index, "--compact", "--verify")
run("search", index, "a red star", "-k", "2")
run("search", index, "a red star", "-k", "2", "--json")
run("explain", index, "a red star", "2", "--out", os.path.join(index, "..", "why.png"))
run("doctor", index)
print("done")
"""


def test_it_indexes_and_searches_as_on_windows(tmp_path: Path) -> None:
    """With the names of its files in letters that the console's encoding lacks."""
    folder = tmp_path / "犬→é"
    folder.mkdir()
    for path in sorted(pictures().rglob("*.png"))[:6]:
        (folder / f"→{path.name}").write_bytes(path.read_bytes())
    arguments = [str(model("max-sim")), str(folder), str(tmp_path / "index")]
    done = subprocess.run(
        [sys.executable, "-c", SEARCHED, *arguments],
        capture_output=True, check=False, timeout=PATIENCE, env=os.environ | {"PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode("cp1252")
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    assert lines[-1] == "done"
    assert sum("→" in line and "png" in line for line in lines) >= 2
    assert "6 added" in done.stdout.decode("cp1252", "replace")
    assert (tmp_path / "why.png").is_file()


def test_time_and_memory_of_this_process_are_known() -> None:
    before = cpu_seconds()
    while cpu_seconds() < before + 0.02:
        sum(range(10_000))
    peak = peak_memory_mb()
    assert peak is None or 50 < peak < 2**20


def test_a_cell_whose_memory_is_not_known_has_a_row_in_the_table() -> None:
    cell = {"peak_memory_mb": None, "pairs_scored_per_second": 2e6}
    row = table.SystemRow("one", [cell], 1, (0.0, 0.0), None)
    assert math.isnan(row.mean("peak_memory_mb"))
    assert row.mean("pairs_scored_per_second") == pytest.approx(2e6)
