"""The benchmark of a GPU runs at tiny sizes by Triton's interpreter, so that it works where there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.py"

pytest.importorskip("triton", reason="the programs are written in Triton: pip install triton")


def test_the_benchmark_runs_and_finds_programs_and_blocks_equal(tmp_path: Path) -> None:
    """One JSON, to a file or to stdout, with every part that a run on a GPU has."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--smoke"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["equality"].keys() == {"max_sim", "cross_attention"}
    for equal in found["equality"].values():
        assert equal["ranks_are_equal"]
        assert equal["scores_differ_by"] < 1e-5
        assert equal["other_layout_differs_by"] < 1e-5
        assert equal["gradients_differ_by"] < 1e-4
    for part in ("all_pairs", "training_step"):
        assert found[part].keys() == {"max_sim", "cross_attention"}
    assert found["search"]["streamed_rows"] == 6
    assert "reached" not in found  # which a run by the interpreter cannot say
