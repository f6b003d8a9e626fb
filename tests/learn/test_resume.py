"""Resume: a run that is killed anywhere goes on to the same bits, and nothing half-written is left."""

import json
import os
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small_problem, warm_process
from support.same_run import FILES, assert_same_run
from support.small_problem import SETTINGS, share_ranked_first, small_matcher, small_pairs, train

from wordsight import checkpoint
from wordsight.files import plain_json
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.settings import Training
from wordsight.learn.training import fit
from wordsight.learn.triplet import Triplet
from wordsight.matcher import Matcher


def test_killed_anywhere(tmp_path: Path) -> None:
    """Processes die at chosen file operations (mostly while a checkpoint is written) and at chosen times."""
    draw = random.Random(7)  # where they die is fixed, when they die is not
    plans: list[dict[str, Any]] = [
        {"checkpoint_every": 0, "events": [draw.randrange(1, 50) for _ in range(6)], "seconds": []},
        {"checkpoint_every": 1, "events": [draw.randrange(1, 150) for _ in range(6)], "seconds": []},
        {"checkpoint_every": 2, "events": [], "seconds": [random.uniform(0.02, 0.4) for _ in range(5)]},
    ]
    for plan in plans:
        plan["folder"] = str(tmp_path / f"killed {plan['checkpoint_every']}")
    done = warm_process.run(*map(json.dumps, plans), program=("file", small_problem.__file__))
    assert done.returncode == 0, done.stderr
    died = [int(line) for line in done.stdout.split()]
    assert died[0] >= 3
    assert died[1] >= 3
    for plan in plans:
        whole, killed = tmp_path / f"whole {plan['checkpoint_every']}", Path(plan["folder"])
        train(whole, replace(SETTINGS, checkpoint_every=plan["checkpoint_every"]))
        assert_same_run(whole, killed)
        assert [path.name for path in killed.iterdir() if path.name.startswith(".")] == []


STAGED = replace(
    SETTINGS,
    frozen_epochs={"image_encoder": 2, "text_encoder.words": 1},
    ema_only=["text_encoder"],
    loss_ramp_epoch=1,
    optimizer="adam",
    eps=1e-6,
)


@pytest.mark.parametrize("settings", [SETTINGS, STAGED], ids=["plain", "in stages"])
def test_ctrl_c_saves_the_state_between_two_steps(tmp_path: Path, settings: Training) -> None:
    class Interrupting(Triplet):
        def forward(self, pairs: Any) -> torch.Tensor:
            loss = super().forward(pairs)
            if self.training and self.steps_left == 0:
                os.kill(os.getpid(), signal.SIGINT)
            self.steps_left -= 1
            return loss

    def run(folder: Path, steps_left: int, resume: bool) -> None:
        loss = Interrupting(0.2, warmup_epochs=1)
        loss.steps_left = steps_left
        fit(small_matcher(), loss, small_pairs(), settings, folder, share_ranked_first(small_pairs()), resume)

    run(tmp_path / "whole", 999, resume=False)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"the state is saved in .*; go on with resume"):
        run(tmp_path / "run", 6, resume=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert plain_json.read(tmp_path / "run/last/progress.json")["step"] == 7
    run(tmp_path / "run", 999, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_weights_of_the_loss_and_momentum_resume(tmp_path: Path) -> None:
    settings = replace(SETTINGS, optimizer="sgd", ema=0.0)

    def run(name: str, epochs: int, resume: bool) -> InfoNCE:
        loss = InfoNCE(learn_temperature=True)
        fit(
            small_matcher(),
            loss,
            small_pairs(),
            replace(settings, epochs=epochs),
            tmp_path / name,
            resume=resume,
        )
        return loss

    whole = run("whole", 3, resume=False)
    run("run", 1, resume=False)
    again = run("run", 3, resume=True)
    assert again.log_temperature is not None
    assert torch.equal(again.log_temperature, whole.log_temperature)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_more_epochs_go_on_from_a_finished_run(tmp_path: Path) -> None:
    train(tmp_path / "whole", SETTINGS)
    train(tmp_path / "run", replace(SETTINGS, epochs=1))
    history = train(tmp_path / "run", SETTINGS, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert [epoch["epoch"] for epoch in history.epochs] == [0, 1, 2]


def test_a_finished_run_resumes_to_its_result(tmp_path: Path) -> None:
    once = train(tmp_path / "run", SETTINGS)
    assert train(tmp_path / "run", SETTINGS, resume=True) == once


def test_resume_without_a_run_begins_one(tmp_path: Path) -> None:
    train(tmp_path / "whole", SETTINGS)
    train(tmp_path / "run", SETTINGS, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.02}, r"training.learning_rate was 0.01 and is 0.02 now"),
        (
            {"seed": 5, "batch_size": 4},
            r"training.batch_size was 8 and is 4 now; training.seed was 0 and is 5",
        ),
        ({"groups": {"text_encoder": 0.5}}, r"training.groups.text_encoder was None and is 0.5 now"),
    ],
)
def test_other_settings_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    train(tmp_path / "run", replace(SETTINGS, epochs=1))
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", replace(SETTINGS, epochs=1, **change), resume=True)


def test_a_setting_that_is_new_since_the_run_began_had_its_default(tmp_path: Path) -> None:
    train(tmp_path / "run", replace(SETTINGS, epochs=1))
    begun = plain_json.read(tmp_path / "run/run.json")
    for table in (begun["training"], begun["loss"], begun["parts"]["text_encoder"]):
        for new in ("eps", "frozen_epochs", "reduction", "merge"):
            table.pop(new, None)
    checkpoint.write_json(tmp_path / "run/run.json", begun)
    train(tmp_path / "run", replace(SETTINGS, epochs=1), resume=True)
    with pytest.raises(ValueError, match=r"begun differently: training.eps was 1e-08 and is 0.1 now"):
        train(tmp_path / "run", replace(SETTINGS, epochs=1, eps=0.1), resume=True)


def test_another_loss_matcher_or_data_are_named(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1)

    def run(
        loss: Any = None,
        dropout: float = 0.2,
        texts: Callable[[list[str]], list[str]] = list,
        resume: bool = True,
    ) -> None:
        pairs = small_pairs()
        pairs = replace(pairs, texts=texts(list(pairs.texts)))
        fit(small_matcher(dropout), loss or Triplet(0.2), pairs, settings, tmp_path / "run", resume=resume)

    run(resume=False)
    with pytest.raises(ValueError, match=r"loss.margin was 0.2 and is 0.1 now"):
        run(Triplet(0.1))
    with pytest.raises(ValueError, match=r"parts.image_encoder.dropout was 0.2 and is 0.5 now"):
        run(dropout=0.5)
    with pytest.raises(ValueError, match=r"begun differently: data.pairs was '\w+' and is '\w+' now"):
        run(texts=lambda texts: texts[::-1])
    run()


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    """A limit on the size of files makes the write itself fail."""
    train(tmp_path / "whole", SETTINGS)
    train(tmp_path / "run", replace(SETTINGS, epochs=1))
    before = {name: (tmp_path / "run" / name).read_bytes() for name in FILES}
    size = (tmp_path / "run/last/resume.safetensors").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1000, hard))
    try:
        with pytest.raises(
            OSError, match=r"could not be written to .*last.*still holds the one before.*Make room"
        ):
            train(tmp_path / "run", SETTINGS, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {name: (tmp_path / "run" / name).read_bytes() for name in FILES} == before
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == []
    Matcher.from_pretrained(tmp_path / "run/best")
    train(tmp_path / "run", SETTINGS, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_nothing_is_pickled(tmp_path: Path) -> None:
    train(tmp_path / "run", replace(SETTINGS, epochs=1))
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and "tensorboard" not in path.parts:
            assert path.suffix in (".json", ".jsonl", ".safetensors", ".md")
    run = plain_json.read(tmp_path / "run/run.json")
    assert run["training"]["seed"] == 0
    assert run["data"]["texts"] == 40
    assert run["versions"]["torch"] == torch.__version__
