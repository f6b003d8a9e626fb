"""A batch that the memory does not hold is encoded in parts: the same loss, the same training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.fake_gpu import fake_gpu
from support.small_problem import SETTINGS, small_matcher, small_pairs
from torch import Tensor, nn

from wordsight.encode.regions import RegionEncoder
from wordsight.errors import InputError
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.loss import Loss
from wordsight.learn.training import History, fit
from wordsight.learn.triplet import Triplet
from wordsight.matcher import Matcher

PLAIN = replace(SETTINGS, drop_regions=0.0, drop_words=0.0, ema=0.0, epochs=1, workers=0)


@contextmanager
def small_memory(pairs: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """An encoder of regions that is out of memory with more rows than this; the sizes that it saw."""
    seen: list[int] = []
    forward = RegionEncoder.forward

    def limited(self: RegionEncoder, regions: Any) -> Any:
        seen.append(len(regions))
        if len(regions) > pairs:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, regions)

    with monkeypatch.context() as changed:
        changed.setattr(RegionEncoder, "forward", limited)
        yield seen


def trained(folder: Path, loss: Loss, dropout: float = 0.0, **other: Any) -> tuple[Matcher, History]:
    matcher = small_matcher(dropout=dropout)
    return matcher, fit(matcher, loss, small_pairs(), replace(PLAIN, **other), folder)


def same(one: Matcher, other: Matcher) -> None:
    for (name, weight), (_, expected) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "loss", [InfoNCE(0.1, learn_temperature=True), Triplet()], ids=["info-nce", "triplet"]
)
@pytest.mark.parametrize(
    "settings", [{}, {"accumulate": 3}, {"texts_per_image": 2}, {"swap_words": 1.0}], ids=str
)
def test_parts_train_the_weights_of_the_whole(
    loss: Loss, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    start = {name: value.clone() for name, value in loss.state_dict().items()}
    expected, history = trained(tmp_path / "whole", loss, **settings)
    loss.load_state_dict(start)
    with small_memory(3, monkeypatch) as seen:
        found, divided = trained(tmp_path / "parts", loss, **settings)
    same(found, expected)
    assert divided.epochs[0]["loss"] == pytest.approx(history.epochs[0]["loss"], rel=1e-4)
    messages = [record.message for record in caplog.records if "encoded at once" in record.message]
    assert messages[0] == (
        "out of memory with a batch of 8 pairs, 8 encoded at once; going on with 4 at once: the loss is the "
        "same, a step takes longer"
    )
    assert max(seen[10:]) <= 3  # what was too much is not tried again


def test_both_passes_of_a_part_draw_the_same_dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the gradient is that of another loss: here each part's vectors are compared."""
    passes: dict[bool, list[Tensor]] = {False: [], True: []}

    def noted(self: RegionEncoder, regions: Any) -> Any:
        encoded = forward(self, regions)
        passes[torch.is_grad_enabled()].append(encoded.vectors.detach())
        return encoded

    with small_memory(4, monkeypatch), monkeypatch.context() as changed:
        forward = RegionEncoder.forward
        changed.setattr(RegionEncoder, "forward", noted)
        trained(tmp_path, Triplet(), dropout=0.5)
    first, second = passes[False], passes[True]
    assert len(first) == len(second) == 2 * 5
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_gradients_of_a_failed_attempt_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ends in the middle of a backward pass, when some weights have their gradient already."""
    expected, _ = trained(tmp_path / "whole", Triplet(), accumulate=2)
    backward, failures = Tensor.backward, iter([False, True, False, True])

    def failing(self: Tensor, *arguments: Any, **options: Any) -> None:
        backward(self, *arguments, **options)
        if next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Tensor, "backward", failing)
    found, _ = trained(tmp_path / "parts", Triplet(), accumulate=2)
    same(found, expected)


def test_a_batch_norm_needs_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = small_matcher(dropout=0.0)
    matcher.image_encoder.norm = nn.BatchNorm1d(4)
    with (
        small_memory(3, monkeypatch),
        pytest.raises(
            InputError, match=r"image_encoder\.norm is a batch norm.*smaller \[training\] batch_size"
        ),
    ):
        fit(matcher, Triplet(), small_pairs(), PLAIN, tmp_path)


def test_a_single_pair_that_is_too_much_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        small_memory(0, monkeypatch),
        pytest.raises(InputError, match="out of memory with 1 of a batch's 8 pairs encoded at once; give a"),
    ):
        trained(tmp_path, Triplet())


def test_training_goes_on_with_parts_on_a_gpu_that_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The pretended GPU has no room for all pictures, nor for all cosines: the weights are the same."""
    expected, _ = trained(tmp_path / "cpu", Triplet(), batch_size=40)
    with small_memory(20, monkeypatch), fake_gpu(most_numbers=7000) as gpu:
        found, _ = trained(tmp_path / "gpu", Triplet(), batch_size=40, device="cuda")
        assert gpu.refused > 0
        weights = {name: weight.detach().cpu() for name, weight in found.named_parameters()}
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(weights[name], weight.detach(), rtol=1e-3, atol=1e-5)
    assert "encoded at once; going on with 20 at once" in caplog.text
    assert "vectors of a block of scores at once; going on with" in caplog.text
