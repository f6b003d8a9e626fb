"""float32 or bfloat16: by measurement on a CPU, said where it costs time, repeated by a resumed run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_problem import SETTINGS, small_matcher, small_pairs
from torch import nn

from wordsight.config import load_config
from wordsight.learn import precision as module
from wordsight.learn.precision import Product, bf16_speedup, choose_arithmetic, typical_product
from wordsight.learn.training import fit
from wordsight.learn.triplet import Triplet

CPU = torch.device("cpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The speedup that a measurement finds from here on; its last number counts."""
    speedups = [1.0]
    monkeypatch.setattr(module, "bf16_speedup", lambda product: speedups[-1])
    return speedups


def train(folder: Path, precision: str = "auto", epochs: int = 1, resume: bool = False) -> dict[str, object]:
    settings = replace(SETTINGS, precision=precision, epochs=epochs)
    fit(small_matcher(), Triplet(), small_pairs(), settings, folder, resume=resume)
    run: dict[str, object] = json.loads((folder / "run.json").read_text())
    return run


@pytest.mark.parametrize(("speedup", "chosen"), [(1.8, "bf16"), (1.1, "float32"), (1 / 43, "float32")])
def test_auto_takes_bf16_only_where_it_is_clearly_faster(
    tmp_path: Path, measured: list[float], speedup: float, chosen: str
) -> None:
    measured.append(speedup)
    assert train(tmp_path)["arithmetic"] == {"precision": chosen, "bf16_speedup": round(speedup, 3)}


@pytest.mark.parametrize("begun", [1.8, 1 / 43])
def test_a_resumed_run_repeats_the_choice_on_another_processor(
    tmp_path: Path, measured: list[float], begun: float, capfd: pytest.CaptureFixture[str]
) -> None:
    measured.append(begun)
    before = train(tmp_path)["arithmetic"]
    measured.append(1 / begun)
    after = train(tmp_path, epochs=2, resume=True)["arithmetic"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert after["precision"] == before["precision"] == ("bf16" if begun > 1 else "float32")
    assert ("bfloat16 is emulated" in capfd.readouterr().err) == (begun > 1)


def test_a_run_that_was_begun_with_a_precision_goes_on_so_under_auto(
    tmp_path: Path, measured: list[float]
) -> None:
    train(tmp_path / "half", "bf16")
    train(tmp_path / "whole", "float32")
    measured.append(1.2)
    for folder, precision in (("half", "bf16"), ("whole", "float32")):
        run = train(tmp_path / folder, "auto", epochs=2, resume=True)
        assert isinstance(run["arithmetic"], dict)
        assert run["arithmetic"]["precision"] == precision
    with pytest.raises(ValueError, match=r"training.precision was .*'auto' and is .*'float32' now"):
        train(tmp_path / "half", "float32", epochs=3, resume=True)


def test_a_run_of_before_the_measurement_goes_on_in_float32(tmp_path: Path, measured: list[float]) -> None:
    measured.append(3.0)
    run = train(tmp_path, "float32")
    del run["arithmetic"]
    run["training"]["precision"] = "auto"  # type: ignore[index]
    (tmp_path / "run.json").write_text(json.dumps(run))
    again = train(tmp_path, epochs=2, resume=True)
    assert again["arithmetic"] == {"precision": "float32", "bf16_speedup": None}


def test_emulated_bf16_is_said_with_its_factor_before_the_first_step(
    tmp_path: Path, measured: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    measured.append(1 / 43)
    run = train(tmp_path, "bf16")
    assert run["arithmetic"] == {"precision": "bf16", "bf16_speedup": round(1 / 43, 3)}
    said = capfd.readouterr().err
    assert "bfloat16 is emulated on this processor: a product takes 43" in said
    assert said.index("emulated") < said.index("epoch 1/1")
    events = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events.index("warning") < events.index("step")


def test_float32_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bf16_speedup", None)
    settings = replace(SETTINGS, precision="float32")
    assert choose_arithmetic(settings, CPU, nn.Linear(8, 8), None) == module.Arithmetic(False)


def test_what_is_measured_is_the_largest_product_of_the_model() -> None:
    model = nn.Sequential(
        nn.Embedding(50_000, 300), nn.GRU(300, 256), nn.Linear(1280, 256), nn.Conv2d(3, 8, 3)
    )
    assert typical_product(model, 128) == Product(512, 1024, 256)
    assert typical_product(model[3], 4) == Product(32, 27, 8)
    assert typical_product(nn.Identity(), 4) == Product(32, 1, 1)


def test_the_measurement_leaves_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    assert bf16_speedup(Product(32, 16, 16)) > 0
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_configurations_that_took_bf16_leave_the_choice_to_the_machine() -> None:
    assert load_config("chan-flickr8k").training.precision == "auto"
