"""No step needs what only Linux has, and a library call leaves the allocator of its process alone."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
