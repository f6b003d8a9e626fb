"""Which encoders of a run are compiled: "auto" follows the probe, a resumed run repeats the decision."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_problem import SETTINGS, small_matcher, small_pairs

from wordsight.learn import compiling
from wordsight.learn.compiling import ENCODERS, LEAST_SECONDS, Compiled, decide, repeat
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.training import fit

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
MISSING = "no C compiler is installed, and Triton needs one (install gcc, or name one by CC)"


class Measured:
    """A probe whose times are known, of a run of 1,000 steps."""

    steps = 1000

    def __init__(self, seconds: float, compiled: dict[str, float]) -> None:
        self._seconds, self._compiled = seconds, compiled

    def seconds(self, name: str, least: float) -> float:
        return self._seconds

    def compiled_seconds(self, name: str) -> float:
        return self._compiled[name]


def probed(seconds: float = 1.0, image: float = 0.5, text: float = 0.95) -> Any:
    return Measured(seconds, {"image_encoder": image, "text_encoder": text})


@pytest.fixture(autouse=True)
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing is missing."""
    monkeypatch.setattr(compiling, "missing_for_compiling", lambda device: None)


def test_auto_compiles_on_a_gpu_what_gains_clearly() -> None:
    gains = {"image_encoder": 2.0, "text_encoder": round(1 / 0.95, 4)}
    assert decide("auto", GPU, probed()) == Compiled(["image_encoder"], gains)


def test_a_run_too_short_to_earn_it_back_is_not_compiled() -> None:
    assert decide("auto", GPU, probed(LEAST_SECONDS / 1001, 0.0001, 0.0001)) == Compiled([], {})


def test_a_processor_is_left_alone_unless_it_is_asked_for() -> None:
    never: Any = None  # which has no times
    assert decide("auto", CPU, never) == decide(False, CPU, never) == decide(False, GPU, never) == Compiled()
    assert decide(True, CPU, never) == decide(True, GPU, never) == Compiled(ENCODERS)


@pytest.mark.parametrize("setting", ["auto", True])
def test_a_gpu_without_a_compiler_says_so(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "missing_for_compiling", lambda device: MISSING)
    found = decide(setting, GPU, probed())
    assert not found.encoders
    assert found.warning == f"the encoders are not compiled: {MISSING}"
    assert repeat({"encoders": ["text_encoder"]}, "auto", GPU) == found


def test_a_probe_that_fails_compiles_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> float:
        raise RuntimeError("Unsupported: a kernel\nand a page of it")

    probe = probed()
    probe.compiled_seconds = broken
    found = decide("auto", GPU, probe)
    assert not found.encoders
    assert found.warning == "the encoders are not compiled: torch.compile failed (Unsupported: a kernel)"


def test_a_run_of_before_decisions_goes_on_as_its_setting_said() -> None:
    assert repeat(None, True, CPU) == Compiled(ENCODERS)
    assert repeat(None, False, CPU) == Compiled()


def test_the_decision_stands_in_run_json_and_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, **how: compiled.append(type(module).__name__)
    )
    monkeypatch.setattr(
        compiling, "decide", lambda *arguments: Compiled(["text_encoder"], {"text_encoder": 2.0})
    )
    short = replace(SETTINGS, epochs=1)
    fit(small_matcher(), InfoNCE(), small_pairs(), short, tmp_path)
    stored = json.loads((tmp_path / "run.json").read_text())["compile"]
    assert stored == {"encoders": ["text_encoder"], "gains": {"text_encoder": 2.0}, "problem": ""}
    monkeypatch.setattr(compiling, "decide", lambda *arguments: pytest.fail("decided anew"))
    fit(small_matcher(), InfoNCE(), small_pairs(), replace(short, epochs=2), tmp_path, resume=True)
    assert compiled == ["RecurrentEncoder"] * 2


def test_a_run_begun_without_compiling_goes_on_under_auto(tmp_path: Path) -> None:
    short = replace(SETTINGS, epochs=1, compile=False)
    fit(small_matcher(), InfoNCE(), small_pairs(), short, tmp_path)
    stored = json.loads((tmp_path / "run.json").read_text())
    del stored["compile"]
    (tmp_path / "run.json").write_text(json.dumps(stored))
    history = fit(
        small_matcher(), InfoNCE(), small_pairs(), replace(SETTINGS, epochs=2), tmp_path, resume=True
    )
    assert len(history.epochs) == 2
