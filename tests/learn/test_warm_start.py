"""A run that starts from a trained model: its weights and words, the configuration's other settings."""

import json
from pathlib import Path

import pytest
import torch
from support.small_problem import untrained_run

from wordsight.builder import Builder
from wordsight.config import Config, load_config
from wordsight.errors import InputError
from wordsight.learn.warm_start import epochs_trained
from wordsight.matcher import Matcher
from wordsight.runs.training import train

SMALL = [
    "data.images=24", "image_encoder.dim=16", "image_encoder.width=8", "text_encoder.word_dim=8",
    "training.epochs=2", "training.batch_size=8", "training.warmup_steps=0", "training.log_every=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("run"), seed=7)


def configured(model: Path, *changes: str) -> Config:
    return load_config("demo", [*SMALL, f'training.start_from="{model}"', *changes])


def test_the_weights_and_the_words_are_the_models_and_the_settings_the_configurations(model: Path) -> None:
    config = configured(model, "vocabulary.min_count=30", "similarity.memory_mb=3")
    started, before = (
        Builder(config).matcher(Builder(config).pairs("train")),
        Matcher.from_pretrained(model / "best"),
    )
    assert started.tokenizer.vocabulary == before.tokenizer.vocabulary
    assert started.similarity.memory_mb == 3
    for name, weight in before.state_dict().items():
        assert torch.equal(started.state_dict()[name], weight), name


def test_an_epoch_that_is_kept_goes_on_with_the_schedule(model: Path, tmp_path: Path) -> None:
    """The learning rate of the first step is that of its epoch, after the milestone and the warm-up."""
    changes = [
        "training.first_epoch=1",
        'training.schedule="step"',
        "training.milestones=[1]",
        "training.factor=0.1",
    ]
    config = configured(model, *changes, "training.warmup_steps=2", "training.learning_rate=0.01")
    history = train(config, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    first = next(line for line in log if line["event"] == "step")
    assert first["epoch"] == 1
    assert first["learning_rate"] == pytest.approx(0.001)
    assert [epoch["epoch"] for epoch in history.epochs] == [1]
    assert epochs_trained(str(tmp_path / "run")) == 2


def test_the_epoch_of_an_imported_model_is_that_of_its_checkpoint(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "imported"
    Matcher.from_pretrained(model / "best").save_pretrained(home)
    with pytest.raises(InputError, match="does not say for how many epochs it was trained"):
        epochs_trained(str(home))
    (home / "import.json").write_text('{"epoch": 12}')
    assert epochs_trained(str(home)) == 12


def test_what_does_not_fit_is_said_with_the_way_on(model: Path) -> None:
    config = configured(model, "image_encoder.dim=8")
    with pytest.raises(InputError, match=r"take the model's own: --set image_encoder\.dim=16"):
        Builder(config).matcher(Builder(config).pairs("train"))
    config = configured(model, 'similarity.name="cosine"')
    with pytest.raises(InputError, match=r'its similarity is "max-sim".*--set similarity\.name=max-sim'):
        Builder(config).matcher(Builder(config).pairs("train"))
    with pytest.raises(InputError, match=r"first_epoch = 2; expected less than epochs = 2"):
        _ = configured(model, "training.first_epoch=2").training


def test_a_run_that_was_begun_so_resumes(model: Path, tmp_path: Path) -> None:
    steady = ["training.schedule=constant"]
    train(configured(model, *steady), tmp_path / "run")
    history = train(configured(model, *steady, "training.epochs=3"), tmp_path / "run", resume=True)
    assert [epoch["epoch"] for epoch in history.epochs] == [0, 1, 2]
