"""Training: it learns, it repeats itself, and each setting does what it says."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import warm_process
from support.small_problem import (
    COLOURS,
    DIM,
    SETTINGS,
    share_ranked_first,
    small_matcher,
    small_pairs,
    train,
)
from torch import Tensor, nn

from wordsight.encode.regions import RegionEncoder
from wordsight.errors import InputError
from wordsight.learn.average import WeightAverage
from wordsight.learn.batches import Batches
from wordsight.learn.collapse import Collapse, CollapseWarning, score_spread
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.loss import Loss
from wordsight.learn.optimizers import (
    learning_rate_share,
    make_optimizer,
    named_weights,
    set_learning_rates,
)
from wordsight.learn.settings import Training
from wordsight.learn.training import fit
from wordsight.learn.triplet import Triplet
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.runtime.device import training_device
from wordsight.sets import Regions

PLAIN = replace(SETTINGS, drop_regions=0.0, drop_words=0.0, ema=0.0, epochs=1)


def weights_of(module: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def fit_plainly(
    folder: Path, loss: Loss | None = None, pairs: PairSet | None = None, **other: Any
) -> Matcher:
    """One epoch without dropout or augmentation, unless ``other`` says more; the trained matcher."""
    matcher = small_matcher(dropout=0.0)
    fit(matcher, loss or InfoNCE(0.1), pairs or small_pairs(), replace(PLAIN, **other), folder)
    return matcher


def test_it_learns(tmp_path: Path) -> None:
    pairs = small_pairs()
    settings = replace(PLAIN, epochs=12, learning_rate=0.02)
    history = fit(
        small_matcher(0.0), InfoNCE(0.1), pairs, settings, tmp_path / "run", share_ranked_first(pairs)
    )
    losses = [epoch["loss"] for epoch in history.epochs]
    assert losses[-1] < losses[0] / 2
    assert history.best_rsum is not None
    assert history.best_rsum > 40  # of 100; chance is 5
    assert history.steps == 12 * 5


def test_the_same_seed_trains_the_same_weights(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        train(tmp_path / name, replace(SETTINGS, seed=seed, epochs=1))
    one, again, other = (
        load_file(tmp_path / name / "last/weights.safetensors") for name in ("one", "again", "other")
    )
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("settings", [{"workers": 0}, {"workers": 3, "prefetch": 5}, {"log_every": 3}])
def test_reading_ahead_and_logging_change_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    expected = weights_of(fit_plainly(tmp_path / "one"))
    assert torch.equal(weights_of(fit_plainly(tmp_path / "other", **settings)), expected)


def test_a_step_is_plain_gradient_descent(tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "betas": (0.0, 0.0), "weight_decay": 0.0, "clip": 0.0, "batch_size": 40}
    trained = fit_plainly(tmp_path / "run", learning_rate=0.5, **settings)
    expected = small_matcher(dropout=0.0)
    gradient_of_rows(expected, range(40))
    for weight in expected.parameters():
        weight.data -= 0.5 * weight.grad
    torch.testing.assert_close(weights_of(trained), weights_of(expected))


def gradient_of_rows(matcher: Matcher, *batches: Iterable[int]) -> None:
    """Leaves the mean gradient of the batches in the matcher's weights."""
    from wordsight.learn.batches import Batches

    made = Batches(small_pairs(), matcher.tokenizer, matcher.read_images, 2)
    for rows in batches:
        (InfoNCE(0.1)(matcher.train()(made.make(0, 0, list(rows)))) / len(batches)).backward()


@pytest.mark.parametrize("loss", [Triplet(mask_matches=True), InfoNCE(mask_matches=True)])
def test_an_image_encoded_once_for_its_texts_is_the_same_step(loss: Loss) -> None:
    """As one in which every pair brings its own."""
    pairs, matcher = small_pairs(images=8, texts=3), small_matcher(dropout=0.0).double()
    made = Batches(pairs, matcher.tokenizer, matcher.read_images, 12, texts_per_image=3)
    shared = made.make(0, 0, made.rows(0)[0])
    assert isinstance(shared.images, Regions)
    shared = replace(shared, images=replace(shared.images, features=shared.images.features.double()))
    assert shared.image_of is not None
    assert len(shared.images) < len(shared)
    found = []
    for batch in (shared, replace(shared, images=shared.images[shared.image_of], image_of=None)):
        matcher.zero_grad()
        value = loss(matcher(batch))
        value.backward()
        found.append([value, *(weight.grad for weight in matcher.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_accumulation_takes_the_mean_over_batches(tmp_path: Path) -> None:
    from wordsight.learn.batches import Batches

    settings = {"optimizer": "sgd", "betas": (0.0, 0.0), "weight_decay": 0.0, "clip": 0.0, "batch_size": 10}
    trained = fit_plainly(tmp_path / "run", learning_rate=0.5, accumulate=4, **settings)
    expected = small_matcher(dropout=0.0)
    gradient_of_rows(expected, *Batches(small_pairs(), expected.tokenizer, expected.read_images, 10).rows(0))
    for weight in expected.parameters():
        weight.data -= 0.5 * weight.grad
    torch.testing.assert_close(weights_of(trained), weights_of(expected))


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "betas": (0.0, 0.0), "weight_decay": 0.0, "batch_size": 40}
    trained = fit_plainly(tmp_path / "run", learning_rate=1.0, clip=0.01, **settings)
    moved = weights_of(trained) - weights_of(small_matcher(dropout=0.0))
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-4)
    assert events(tmp_path / "run", "step")[0]["gradient_norm"] > 0.01  # the log has the length it had


def test_groups_by_prefix() -> None:
    weights = named_weights(small_matcher(), InfoNCE(learn_temperature=True))
    groups = {"text_encoder": 0.1, "text_encoder.words": {"factor": 0.5, "weight_decay": 0.0}, "loss": 2}
    settings = Training(learning_rate=0.02, weight_decay=0.3, groups=groups)
    optimizer = make_optimizer(weights, settings)
    assert set_learning_rates(optimizer, 0, 0, 9, settings) == 0.02
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, weight in weights.items()
        if any(weight is each for each in group["params"])
    }
    assert found["image_encoder.linear.weight"] == (0.02, 0.3)
    assert found["text_encoder.reader.weight_ih_l0"] == (pytest.approx(0.002), 0.3)
    assert found["text_encoder.words.weight"] == (0.01, 0.0)
    assert found["loss.log_temperature"] == (0.04, 0.3)
    assert found.keys() == weights.keys()


def test_a_factor_of_zero_freezes(tmp_path: Path) -> None:
    trained = fit_plainly(tmp_path / "run", groups={"text_encoder": 0})
    start = small_matcher(dropout=0.0)
    assert torch.equal(weights_of(trained.text_encoder), weights_of(start.text_encoder))
    assert not torch.equal(weights_of(trained.image_encoder), weights_of(start.image_encoder))


@pytest.mark.parametrize("prefix", ["text_encoder.bert", "text", "image_encoder.lin"])
def test_an_unknown_group_lists_the_known(prefix: str) -> None:
    weights = named_weights(small_matcher(), InfoNCE())
    with pytest.raises(ValueError, match=f'"{prefix}".*known: image_encoder.linear, text_encoder.reader'):
        make_optimizer(weights, Training(groups={prefix: 0.1}))


def test_an_unknown_setting_of_a_group_lists_the_known() -> None:
    weights = named_weights(small_matcher(), InfoNCE())
    with pytest.raises(
        ValueError, match=r'groups."text_encoder": faktor is not .* known: decay, every, fact'
    ):
        make_optimizer(weights, Training(groups={"text_encoder": {"faktor": 0.1}}))
    with pytest.raises(ValueError, match=r"every = 3 and milestones = \[5\]: give only one"):
        Training(groups={"loss": {"every": 3, "milestones": [5]}})


def test_a_group_may_have_a_schedule_of_its_own() -> None:
    """CASC: all weights x 0.1 at epoch 15, the label head x 0.8 after every 3, at 50 times the rate."""
    groups = {
        "loss": {"factor": 50, "every": 3, "decay": 0.8},
        "text_encoder": {"factor": 0.5, "milestones": [2, 4], "decay": 0.5},
        "text_encoder.words": 0.1,
    }
    weights = named_weights(small_matcher(), InfoNCE(learn_temperature=True))
    settings = Training(learning_rate=2e-4, milestones=[15], groups=groups, warmup_steps=2)
    optimizer = make_optimizer(weights, settings)

    def rate(name: str, step: int, epoch: int) -> float:
        set_learning_rates(optimizer, step, epoch, 9, settings)
        return next(
            group["lr"]
            for group in optimizer.param_groups
            if any(weight is weights[name] for weight in group["params"])
        )

    head, words, reader = (
        "loss.log_temperature",
        "text_encoder.words.weight",
        "text_encoder.reader.weight_ih_l0",
    )
    at = {epoch: [rate(name, 99, epoch) for name in (head, words, reader)] for epoch in (0, 2, 3, 5, 15)}
    assert at[0] == pytest.approx([0.01, 2e-5, 1e-4])
    assert at[2] == pytest.approx([0.01, 2e-5, 0.5e-4])
    assert at[3] == pytest.approx([0.008, 2e-5, 0.5e-4])
    assert at[5] == pytest.approx([0.008, 2e-5, 0.25e-4])
    assert at[15] == pytest.approx([0.01 * 0.8**5, 2e-6, 0.25e-4])
    assert [rate(name, 0, 0) for name in (head, words)] == pytest.approx([0.005, 1e-5])


def test_each_group_may_be_clipped_on_its_own(tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "betas": (0.0, 0.0), "weight_decay": 0.0, "batch_size": 40}
    groups = {"text_encoder": {"factor": 1.0}}
    settings |= {"learning_rate": 1.0, "clip": 0.01, "clip_groups": True, "groups": groups}
    trained, start = fit_plainly(tmp_path / "run", **settings), small_matcher(dropout=0.0)
    for one, other in (
        (trained.image_encoder, start.image_encoder),
        (trained.text_encoder, start.text_encoder),
    ):
        assert (weights_of(one) - weights_of(other)).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_step_schedule() -> None:
    settings = Training(schedule="step", milestones=[2, 3], factor=0.1)
    shares = [learning_rate_share(step, step // 4, 4, settings) for step in (0, 7, 8, 11, 12, 99)]
    assert shares == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_schedule_with_warm_up() -> None:
    settings = Training(schedule="cosine", epochs=3, factor=0.2, warmup_steps=4)
    shares = [learning_rate_share(step, step // 8, 8, settings) for step in (0, 1, 3, 4, 14, 24, 30)]
    assert shares == pytest.approx([0.25, 0.5, 1, 1, 0.6, 0.2, 0.2])


def test_constant_schedule() -> None:
    assert [learning_rate_share(step, 0, 4, Training(schedule="constant")) for step in (0, 99)] == [1, 1]


def test_the_schedule_reaches_the_log(tmp_path: Path) -> None:
    fit_plainly(tmp_path / "run", epochs=2, schedule="step", milestones=[1], factor=0.5, warmup_steps=2)
    rates = [line["learning_rate"] for line in events(tmp_path / "run", "step")]
    assert rates == pytest.approx([0.005] + [0.01] * 4 + [0.005] * 5)


def test_weight_average_against_the_formula() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, decay=0.25)
    expected = layer.weight.item()
    for step in range(1, 6):
        layer.weight.data.fill_(float(step))
        average.update(step)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 5


def test_the_average_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    seen = []

    def validate(matcher: Matcher) -> dict[str, float]:
        seen.append(weights_of(matcher))
        return {"rsum": 1.0}

    matcher = small_matcher()
    fit(matcher, InfoNCE(), small_pairs(), replace(PLAIN, ema=0.9), tmp_path / "run", validate)
    best = Matcher.from_pretrained(tmp_path / "run/best")
    assert torch.equal(weights_of(best), seen[0])
    assert not torch.equal(weights_of(best), weights_of(matcher))


def test_only_some_weights_are_averaged(tmp_path: Path) -> None:
    settings = replace(PLAIN, ema=0.9, ema_only=["image_encoder"])
    matcher = small_matcher()
    fit(matcher, InfoNCE(), small_pairs(), settings, tmp_path / "run")
    best = Matcher.from_pretrained(tmp_path / "run/best")
    assert torch.equal(weights_of(best.text_encoder), weights_of(matcher.text_encoder))
    assert not torch.equal(weights_of(best.image_encoder), weights_of(matcher.image_encoder))
    with pytest.raises(ValueError, match='ema_only: no weight is called "image"'):
        fit(small_matcher(), InfoNCE(), small_pairs(), replace(settings, ema_only=["image"]), tmp_path / "no")


def normed() -> Matcher:
    """A small matcher whose image encoder has a batch norm."""
    matcher = small_matcher(dropout=0.0)
    matcher.image_encoder = RegionEncoder(len(COLOURS), 16, mlp=True)
    return matcher


def test_two_stages(tmp_path: Path) -> None:
    """What is frozen keeps weights and statistics to the bit, and learns like the rest afterwards."""
    start, states = normed(), []

    def validate(matcher: Matcher) -> dict[str, float]:
        states.append({name: tensor.clone() for name, tensor in matcher.state_dict().items()})
        return {"rsum": 1.0}

    matcher = normed()
    matcher.load_state_dict(start.state_dict())
    frozen = {"image_encoder": 2, "image_encoder.linear": 1}
    settings = replace(PLAIN, epochs=3, frozen_epochs=frozen)
    fit(matcher, InfoNCE(), small_pairs(), settings, tmp_path / "run", validate)

    def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
        return {
            ".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])
        }

    text = {"text_encoder.words", "text_encoder.reader"}
    assert changed(start.state_dict(), states[0]) == text
    assert changed(states[0], states[1]) == text | {"image_encoder.linear"}
    assert changed(states[1], states[2]) == text | {"image_encoder.linear", "image_encoder.residual"}


def test_frozen_weights_are_the_same_run_as_a_factor_of_zero(tmp_path: Path) -> None:
    frozen = fit_plainly(tmp_path / "frozen", frozen_epochs={"text_encoder": 9})
    expected = fit_plainly(tmp_path / "factor", groups={"text_encoder": 0})
    assert torch.equal(weights_of(frozen), weights_of(expected))


def test_what_freezes_nothing_or_everything_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'frozen_epochs: no weight is called "image_encoder\.cnn"'):
        fit_plainly(tmp_path / "one", frozen_epochs={"image_encoder.cnn": 1})
    with pytest.raises(ValueError, match="nothing to train in epoch 1: every weight is frozen"):
        fit_plainly(tmp_path / "two", frozen_epochs={"image_encoder": 1, "text_encoder": 1})


def test_a_ramp_lets_early_batches_count_less(tmp_path: Path) -> None:
    for name, ramp in (("ramp", 0), ("later", 1)):
        fit_plainly(tmp_path / name, loss_ramp_epoch=ramp, clip=0.0, optimizer="sgd", learning_rate=1e-9)
    ramped, plain = (events(tmp_path / name, "step") for name in ("ramp", "later"))
    shares = [one["gradient_norm"] / other["gradient_norm"] for one, other in zip(ramped, plain, strict=True)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], rel=1e-4)
    assert [one["loss"] for one in ramped] == pytest.approx([one["loss"] for one in plain], rel=1e-4)


def test_the_epsilon_of_adam_reaches_it() -> None:
    weights = named_weights(small_matcher(), InfoNCE())
    for name in ("adam", "adamw"):
        assert make_optimizer(weights, Training(optimizer=name, eps=1.0)).defaults["eps"] == 1.0


def scripted(*rsums: float) -> Callable[[Matcher], dict[str, float]]:
    coming = iter(rsums)
    return lambda matcher: {"rsum": next(coming)}


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    at_each_epoch = []

    def validate(matcher: Matcher) -> dict[str, float]:
        at_each_epoch.append(weights_of(matcher))
        return {"rsum": [10.0, 30.0, 20.0, 30.0, 99.0][len(at_each_epoch) - 1]}

    settings = replace(PLAIN, epochs=9, patience=2)
    history = fit(small_matcher(), InfoNCE(), small_pairs(), settings, tmp_path / "run", validate)
    assert (history.best_epoch, history.best_rsum, history.stopped_early) == (1, 30.0, True)
    assert len(history.epochs) == 4
    assert torch.equal(weights_of(Matcher.from_pretrained(tmp_path / "run/best")), at_each_epoch[1])


def test_validation_every_few_epochs_and_at_the_end(tmp_path: Path) -> None:
    settings = replace(PLAIN, epochs=4, validate_every=3)
    history = fit(small_matcher(), InfoNCE(), small_pairs(), settings, tmp_path / "run", scripted(1.0, 2.0))
    assert [epoch.get("rsum") for epoch in history.epochs] == [None, None, 1.0, 2.0]


@pytest.mark.parametrize("facts", [{"r1": 3.0}, {"rsum": math.nan}])
def test_a_validation_without_a_finite_rsum_is_refused(tmp_path: Path, facts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="finite number named rsum; it returned"):
        fit(small_matcher(), InfoNCE(), small_pairs(), PLAIN, tmp_path / "run", lambda matcher: facts)


def test_without_validation_best_is_the_latest(tmp_path: Path) -> None:
    matcher = fit_plainly(tmp_path / "run", epochs=2)
    assert torch.equal(weights_of(Matcher.from_pretrained(tmp_path / "run/best")), weights_of(matcher))


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(tmp_path: Path) -> None:
    seen = []

    class Watching(InfoNCE):
        def forward(self, pairs: Any) -> Tensor:
            seen.append(pairs.scores.dtype)
            return super().forward(pairs)

    exact = fit_plainly(tmp_path / "exact")
    rough = fit_plainly(tmp_path / "rough", Watching(0.1), precision="bf16")
    assert set(seen) == {torch.float32}
    assert {weight.dtype for weight in rough.parameters()} == {torch.float32}
    first, other = (events(tmp_path / name, "step")[0]["loss"] for name in ("exact", "rough"))
    assert first != other
    assert first == pytest.approx(other, rel=0.05)
    assert not torch.equal(weights_of(exact), weights_of(rough))


@pytest.mark.parametrize("loss", [Triplet(mask_matches=True), InfoNCE(mask_matches=True), Triplet()])
def test_a_batch_of_one_image_does_no_harm(tmp_path: Path, loss: Loss) -> None:
    matcher = fit_plainly(tmp_path / "run", loss, small_pairs(images=1, texts=10))
    assert weights_of(matcher).isfinite().all()


@dataclass(frozen=True)
class Sick:
    """An image source with one image that holds NaN."""

    healthy: Any
    row: int

    def __len__(self) -> int:
        return len(self.healthy)

    def read(self, rows: Sequence[int]) -> Regions:
        read = self.healthy.read(rows)
        bad = torch.tensor([row == self.row for row in rows])
        return replace(read, features=read.features.masked_fill(bad[:, None, None], math.nan))


def test_a_loss_that_is_not_finite_stops_before_it_does_harm(tmp_path: Path) -> None:
    pairs = small_pairs()
    sick = pairs.with_images(Sick(pairs.images, 7))
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan at epoch 1, step.*image 7 encode.*data check"
    ):
        fit_plainly(tmp_path / "run", pairs=sick, checkpoint_every=1, distinct_images=True)
    for tensor in load_file(tmp_path / "run/last/weights.safetensors").values():
        assert tensor.isfinite().all()
    assert "nan" in events(tmp_path / "run", "error")[0]["message"]


def test_equal_scores_are_called_a_collapse(tmp_path: Path) -> None:
    matcher = small_matcher()
    matcher.image_encoder.linear.weight.data.zero_()
    settings = replace(PLAIN, epochs=3, batch_size=2, groups={"image_encoder.linear": 0})
    with pytest.warns(CollapseWarning, match="same score.*What helps") as caught:
        fit(matcher, Triplet(), small_pairs(), settings, tmp_path / "run")
    assert len([one for one in caught if one.category is CollapseWarning]) == 1
    assert "collapsed" in events(tmp_path / "run", "warning")[0]["message"]


def test_a_loss_that_sits_at_the_collapsed_value_is_called_a_collapse() -> None:
    watch = Collapse(patience=3)
    seen = [watch.see(loss, 12.8, spread=0.5) for loss in (12.7, 12.9, 11.0, 12.7, 12.9, 12.8, 12.8)]
    assert [message is not None for message in seen] == [False] * 5 + [True, False]
    assert "sat at 12.8, within 3% of 12.8" in str(seen[5])


def test_a_loss_without_a_collapsed_value_does_not_collapse() -> None:
    watch = Collapse(patience=1)
    assert watch.see(0.0, None, 0.5) is None
    assert watch.see(0.0, 0.0, 0.5) is None


def test_score_spread() -> None:
    assert score_spread(torch.full((3, 3), 7.0)).item() == 0
    assert score_spread(torch.tensor([[2.0, -2.0], [-2.0, 2.0]])).item() == pytest.approx(1.1547, abs=1e-4)
    assert score_spread(torch.ones(1, 1)).item() == 1


def test_the_log_holds_steps_and_epochs(tmp_path: Path) -> None:
    train(tmp_path / "run", replace(SETTINGS, epochs=2, log_every=2))
    assert [line["step"] for line in events(tmp_path / "run", "step")] == [2, 4, 6, 8, 10]
    step = events(tmp_path / "run", "step")[0]
    assert step.keys() >= {"epoch", "loss", "learning_rate", "gradient_norm", "pairs_per_second"}
    assert [line["epoch"] for line in events(tmp_path / "run", "epoch")] == [0, 1]
    assert events(tmp_path / "run", "epoch")[1].keys() >= {"loss", "rsum"}


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tmp_path / "run", replace(SETTINGS, epochs=1))
    board = accumulator.EventAccumulator(str(tmp_path / "run/tensorboard"))
    board.Reload()
    logged = [line["loss"] for line in events(tmp_path / "run", "step")]
    assert [point.value for point in board.Scalars("step/loss")] == pytest.approx(logged)


def test_batches_computed_at_once_give_the_bits_of_one_after_another(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ends = [
            fit_plainly(tmp_path / f"{parallel}", accumulate=2, epochs=3, parallel_batches=parallel)
            for parallel in (False, True)
        ]
    finally:
        torch.set_num_threads(threads)
    assert weights_of(ends[0]).equal(weights_of(ends[1]))
    logs = [[step["loss"] for step in events(tmp_path / name, "step")] for name in ("False", "True")]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 9  # three steps an epoch: two of two batches, and one of the last batch


def test_batches_that_depend_on_each_other_are_not_computed_at_once(tmp_path: Path) -> None:
    settings = replace(PLAIN, accumulate=2, parallel_batches=True)
    drawing = small_matcher(dropout=0.2)
    before = weights_of(drawing)
    with pytest.raises(InputError, match="an encoder draws random numbers"):
        fit(drawing, InfoNCE(0.1), small_pairs(), settings, tmp_path / "dropout")
    assert weights_of(drawing).equal(before)
    counting = small_matcher(dropout=0.0)
    counting.image_encoder.norm = nn.BatchNorm1d(DIM)
    with pytest.raises(InputError, match=r"image_encoder\.norm is a batch norm"):
        fit(counting, InfoNCE(0.1), small_pairs(), settings, tmp_path / "norm")


def test_one_line_per_epoch_is_logged_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "wordsight"):
        train(tmp_path / "run", replace(SETTINGS, epochs=2))
    assert capsys.readouterr() == ("", "")
    first, second = caplog.messages[-2:]
    assert first.startswith("epoch 1/2: loss ")
    assert "left" in first
    assert "rsum" in second


@pytest.mark.parametrize(
    ("loss", "setting", "said"),
    [
        (
            InfoNCE(0.1),
            {"warmup_steps": 100},
            "2 epochs of 5 steps are 10 steps, and [training] warmup_steps = 100",
        ),
        (InfoNCE(0.1), {"warmup_steps": 10}, "the learning rate still rises at the last step (0.01 of 0.01)"),
        (InfoNCE(0.1), {"frozen_epochs": {"text_encoder": 2}}, 'ends before "text_encoder" learns'),
        (InfoNCE(0.1), {"loss_ramp_epoch": 2}, "ends before [training] loss_ramp_epoch = 2"),
        (
            Triplet(warmup_epochs=2),
            {},
            "inside the warm-up of its loss: [loss] warmup_epochs = 2 of 2 epochs",
        ),
    ],
)
def test_a_run_that_ends_before_a_stage_says_so_before_its_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, loss: Loss, setting: dict[str, Any], said: str
) -> None:
    fit_plainly(tmp_path / "run", loss, epochs=2, log_every=1, **setting)
    assert said in caplog.messages[0]
    first = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert (first["event"], first["step"]) == ("warning", 0)
    assert said in first["message"]


def test_a_run_that_reaches_every_stage_warns_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = {"warmup_steps": 9, "frozen_epochs": {"text_encoder": 1}, "loss_ramp_epoch": 1}
    fit_plainly(tmp_path / "run", Triplet(warmup_epochs=1), epochs=2, **stages)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert events(tmp_path / "run", "warning") == []


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    fit_plainly(tmp_path / "run")
    with pytest.raises(FileExistsError, match="already holds a run; resume it, or name another folder"):
        fit_plainly(tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs = 0; expected at least 1"),
        ({"batch_size": 1}, "batch_size = 1; expected at least 2"),
        ({"parallel_batches": True}, "accumulate = 1; expected at least 2 where parallel_batches = true"),
        ({"texts_per_image": 0}, "texts_per_image = 0; expected at least 1"),
        ({"texts_per_image": 2, "distinct_images": True}, "since distinct_images keeps them apart"),
        ({"schedule": "linear"}, "schedule = 'linear'; expected one of constant, step, cosine"),
        ({"milestones": [5, 3]}, r"milestones = \[5, 3\]; expected epochs that rise"),
        ({"ema": 1.0}, "ema = 1.0; expected 0 up to"),
        ({"ema_only": ["text_encoder"]}, r"ema = 0\.0; expected more than 0 where ema_only is set"),
        ({"frozen_epochs": {"loss": -1}}, r"frozen_epochs = \{'loss': -1\}; expected epochs, 0 or more"),
        ({"loss_ramp_epoch": -1}, "loss_ramp_epoch = -1; expected 0 or more"),
        ({"eps": 0.0}, "eps = 0.0; expected more than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training(**setting)


def test_a_gpu_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=r"\[training\] device = cuda: (this torch|torch sees no GPU)"):
        training_device("cuda")
    with pytest.raises(ValueError, match=r"device = gpu: no such device; give one of auto, cpu, cuda"):
        training_device("gpu")


def test_the_small_problem_is_what_it_says() -> None:
    pairs = small_pairs()
    for row in range(len(pairs)):
        shown = pairs.images.read([int(pairs.image_of[row])]).features[0].argmax(1).tolist()
        assert all(COLOURS.index(word) in shown for word in pairs.texts[row].split())


COMPILED = """
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from support.small_problem import SETTINGS, small_matcher, small_pairs

from wordsight.learn.compiling import Probe
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.training import fit
from wordsight.pairs import PairBatch

compiled, compile_module, found, graphs = [], torch.nn.Module.compile, [], []


def counted(graph, inputs):
    graphs.append(graph)
    return graph.forward


def plainly(module):  # without the code generator, which is slow and needs a compiler of C++
    compiled.append(type(module).__name__)
    compile_module(module, backend=counted)


torch.nn.Module.compile = plainly
for compile in (False, True):
    matcher = small_matcher(dropout=0.0)
    settings = replace(SETTINGS, drop_regions=0.0, drop_words=0.0, ema=0.0, epochs=1, compile=compile)
    history = fit(matcher, InfoNCE(0.1), small_pairs(), settings, Path(sys.argv[1]) / str(compile))
    found.append([history.epochs[0]["loss"], *(weight.detach() for weight in matcher.parameters())])
assert compiled == ["RegionEncoder", "RecurrentEncoder"]
torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)

encoder, before = matcher.image_encoder, len(graphs)
for count in (3, 4, 5, 6, 7, 8):  # sizes change, and torch does not translate each anew
    encoder(small_pairs().images.read(range(count)))
assert len(graphs) <= before + 4, (before, len(graphs))

pairs, matcher = small_pairs(), small_matcher()
weights = [weight.detach().clone() for weight in matcher.state_dict().values()]
batch = PairBatch(pairs.images.read(range(4)), matcher.tokenizer(pairs.texts[:4]), torch.arange(4))
probe = Probe(matcher, lambda: batch, nullcontext, 100)
for name in ("image_encoder", "text_encoder"):
    assert probe.seconds(name) > 0
    assert probe.compiled_seconds(name) > 0
    assert getattr(matcher, name)._compiled_call_impl is None
torch.testing.assert_close([*matcher.state_dict().values()], weights, rtol=0, atol=0)
assert all(weight.grad is None for weight in matcher.parameters())
"""


def test_compiled_encoders_train_as_the_others(tmp_path: Path) -> None:
    """In a process of its own: Dynamo cannot read the check of shapes."""
    done = warm_process.run(tmp_path, program=("code", COMPILED))
    assert done.returncode == 0, done.stderr[-3000:]
