"""The precision of a run: "auto" follows the probe, emulated bfloat16 is announced, a resumed run repeats."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.small_problem import SETTINGS, small_matcher, small_pairs

from wordsight.learn import precision
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.precision import Precision, decide, repeat
from wordsight.learn.training import fit

CPU = torch.device("cpu")
SHORT = replace(SETTINGS, epochs=1, precision="auto")


@pytest.mark.parametrize(("speedup", "bf16"), [(3.0, True), (1.2, False), (0.02, False)])
def test_auto_takes_bfloat16_where_it_is_clearly_faster(speedup: float, bf16: bool) -> None:
    assert decide("auto", CPU, lambda: speedup) == Precision(bf16, speedup)


def test_float32_is_never_probed() -> None:
    def never() -> float:
        raise AssertionError

    assert decide("float32", CPU, never) == Precision(False)


def test_an_emulated_bfloat16_says_its_factor() -> None:
    assert "43 times as long" in decide("bf16", CPU, lambda: 1 / 43).warning
    assert decide("bf16", CPU, lambda: 2.5).warning == ""


def test_a_run_from_before_the_probe_goes_on_in_float32() -> None:
    assert repeat(None, "auto", CPU) == Precision(False)
    assert repeat(None, "bf16", CPU) == Precision(True)


def test_the_probe_gives_a_ratio_on_this_machine() -> None:
    assert precision.bf16_speedup() > 0


def test_the_decision_stands_in_run_json_and_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 9.0)
    fit(small_matcher(), InfoNCE(), small_pairs(), SHORT, run)
    assert json.loads((run / "run.json").read_text())["precision"] == {"bf16": True, "speedup": 9.0}
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 0.1)  # another machine
    fit(small_matcher(), InfoNCE(), small_pairs(), replace(SHORT, epochs=2), run, resume=True)
    assert json.loads((run / "run.json").read_text())["precision"]["bf16"] is True


def test_a_run_of_before_in_bfloat16_goes_on_under_auto(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(small_matcher(), InfoNCE(), small_pairs(), replace(SHORT, precision="bf16"), run)
    facts = json.loads((run / "run.json").read_text())
    del facts["precision"]
    (run / "run.json").write_text(json.dumps(facts))
    fit(small_matcher(), InfoNCE(), small_pairs(), replace(SHORT, epochs=2), run, resume=True)
    assert json.loads((run / "run.json").read_text())["precision"]["bf16"] is True


def test_what_is_slow_is_said_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 0.025)
    fit(small_matcher(), InfoNCE(), small_pairs(), replace(SHORT, precision="bf16"), tmp_path / "run")
    first = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert first["event"] == "warning"
    assert "40 times as long" in first["message"]
    assert "40 times as long" in caplog.text
