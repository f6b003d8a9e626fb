"""Triton's compiler, which needs no GPU, takes every program in the sizes that a GPU would be given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "support" / "compiled_programs.py"
SHARED = {90: 227 * 1024, 86: 99 * 1024}  # bytes that one program may have, of an H200 and of a GeForce
SPILLED = 128  # bytes per thread that cost little

pytest.importorskip("triton", reason="the programs are written in Triton: pip install triton")


@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles on Linux")
@pytest.mark.parametrize(("capability", "names"), [(90, []), (86, ["score_program"])], ids=["H200", "RTX"])
def test_the_programs_compile_for_a_gpu(capability: int, names: list[str], tmp_path: Path) -> None:
    """The interpreter allows what the compiler refuses; too large a tile would leave all work to blocks."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(SCRIPT), str(capability), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    built = [json.loads(line) for line in done.stdout.splitlines()]
    expected = names or [
        "attention_gradient_program", "attention_program", "best_match_program", "context_gradient_program",
        "query_gradient_program", "score_program",
    ]  # fmt: skip
    assert sorted({one["program"] for one in built}) == sorted(expected)
    for one in built:
        assert one["shared"] <= SHARED[capability], one
        assert one["spilled"] <= SPILLED, one
        assert one["tensor_cores"] or one["vectors"] == "*fp32", one
