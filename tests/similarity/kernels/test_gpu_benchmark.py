"""The benchmark of a GPU is rehearsed by Triton's interpreter, so that it works where there is one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

pytest.importorskip("triton", reason="the programs are written in Triton: pip install triton")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__("gpu")


def test_every_section_runs_and_finds_programs_and_blocks_equal(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--rehearse", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    sections = {name: numbers for name, numbers in found.items() if isinstance(numbers, dict)}
    assert sections.pop("aims") == {}  # which a run by the interpreter cannot say
    assert list(sections) == [
        "facts", "equality", "all_pairs", "training_step", "tf32", "tiles", "search", "compile", "processes",
        "all_programs",
    ]  # fmt: skip
    for name, off in (("equality", 1e-2), ("all_programs", 1e-5)):  # in bfloat16; in float32
        for numbers in sections[name].values():
            if isinstance(numbers, dict):
                assert numbers["scores differ by"] < off
                assert numbers["gradients differ by"] < 5 * off
                assert not numbers["programs refused"]
    for name in ("equality", "tf32"):
        assert all(same for key, same in sections[name].items() if "equal" in key)


def test_what_fails_is_written_and_the_next_section_goes_on(
    gpu: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there after each number; a worker that fails is replaced."""
    begun: list[str] = []
    out = tmp_path / "gpu.json"

    class Worker:
        def __init__(self, device: str, rehearse: bool) -> None:
            begun.append(device)

        def run(self, section: str, seconds: float) -> object:
            yield "first", 1.0
            assert json.loads(out.read_text())[section] == {"first": 1.0}
            if section == "equality":
                yield "error", "RuntimeError: an illegal memory access"
            yield "max_sim certified_ranks", 0.3

        def close(self) -> None:
            begun.append("closed")

    monkeypatch.setattr(gpu, "Worker", Worker)
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--out", str(out), "--only", "facts", "equality", "all_pairs"]
    )
    with pytest.raises(SystemExit, match="not measured to the end: equality"):
        gpu.main()  # type: ignore[attr-defined]
    assert begun == ["cuda", "closed", "cuda", "closed"]
    found = json.loads(out.read_text())
    assert found["equality"]["error"] == "RuntimeError: an illegal memory access"
    assert found["aims"]["all pairs, certified ranks: seconds"] == {
        "at most": 0.4, "reached": 0.3, "met": True,
    }  # fmt: skip
