"""Muon: matrices move by orthogonalized momentum, everything else as AdamW moves it."""

from pathlib import Path

import pytest
import torch
from support.small_problem import SETTINGS, small_matcher, train
from torch import Tensor, nn
from torch.optim import AdamW

from wordsight.errors import InputError
from wordsight.learn.muon import ITERATIONS, MOMENTUM, QUINTIC, Muon, orthogonalized, stacked_matrices
from wordsight.learn.optimizers import make_optimizer, named_weights, set_learning_rates
from wordsight.learn.resume import RUN
from wordsight.learn.settings import Training

TORCH_MUON = getattr(torch.optim, "Muon", None)


def slow_orthogonalized(matrix: Tensor) -> Tensor:
    """The published iteration, on the singular values themselves."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / matrix.double().square().sum().sqrt()
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        values = a * values + b * values**3 + c * values**5
    return (left * values) @ right


@pytest.mark.parametrize("size", [(1, 6, 6), (3, 4, 9), (2, 9, 4)])
def test_orthogonalized_is_the_iteration_on_singular_values(size: tuple[int, int, int]) -> None:
    matrices = torch.randn(size, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([slow_orthogonalized(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalized(matrices).double(), expected, atol=1e-4, rtol=0)


def test_a_step_is_the_published_one_with_each_gate_a_matrix() -> None:
    """Two steps of a stacked weight, written out gate by gate."""
    torch.manual_seed(0)
    reader = nn.GRU(5, 4)
    weight, parts = next(iter(stacked_matrices([reader])))
    assert (tuple(weight.shape), parts) == ((12, 5), 3)
    expected, mean = weight.detach().clone(), torch.zeros(12, 5)
    optimizer = Muon([{"params": [weight], "parts": [3]}], lr=0.1, weight_decay=0.2)
    for seed in (1, 2):
        gradient = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
        weight.grad = gradient.clone()
        optimizer.step()
        mean = MOMENTUM * mean + (1 - MOMENTUM) * gradient
        ahead = MOMENTUM * mean + (1 - MOMENTUM) * gradient
        change = torch.cat([slow_orthogonalized(gate) for gate in ahead.chunk(3)])
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * change.float()
    torch.testing.assert_close(weight.detach(), expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(TORCH_MUON is None, reason="this torch has no Muon of its own")
def test_it_agrees_with_torch_where_both_can() -> None:
    """torch's computes in bfloat16, so only roughly."""
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(8, 24, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine = Muon([{"params": [ours.weight], "parts": [1]}], lr=0.1, weight_decay=0.1)
    other = TORCH_MUON([theirs.weight], lr=0.1, weight_decay=0.1)  # type: ignore[misc]
    for seed in range(3):
        gradient = torch.randn(24, 8, generator=torch.Generator().manual_seed(seed))
        for layer, optimizer in ((ours, mine), (theirs, other)):
            layer.weight.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, atol=0.02, rtol=0)


def test_what_is_no_matrix_moves_as_with_adamw() -> None:
    matchers = [small_matcher(dropout=0.0, seed=3) for _ in range(2)]
    settings = Training(optimizer="muon", learning_rate=0.01, matrix_rate=0.05, schedule="constant")
    named = [named_weights(matcher, nn.Module()) for matcher in matchers]
    muon = make_optimizer(named[0], settings, matchers[0].modules())
    adamw = AdamW(named[1].values(), lr=0.01, betas=(0.9, 0.999), weight_decay=settings.weight_decay)
    assert set_learning_rates(muon, 0, 0, 10, settings) == 0.01
    assert {group["lr"] for group in muon.param_groups} == {0.01, 0.05}
    for weights, optimizer in zip(named, (muon, adamw), strict=True):
        for weight in weights.values():
            weight.grad = torch.full_like(weight, 0.1)
        optimizer.step()
    matrices = {id(weight) for weight, _ in stacked_matrices(matchers[0].modules())}
    same = {name for name in named[0] if named[0][name].allclose(named[1][name], rtol=1e-6, atol=1e-7)}
    assert same == {name for name, weight in named[0].items() if id(weight) not in matrices}
    assert "text_encoder.words.weight" in same
    assert "text_encoder.reader.weight_hh_l0" not in same


def test_a_run_with_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = Training(**{**vars(SETTINGS), "optimizer": "muon", "schedule": "constant", "epochs": 3})
    whole = train(tmp_path / "whole", settings)
    train(tmp_path / "run", Training(**{**vars(settings), "epochs": 1}))
    train(tmp_path / "run", settings, resume=True)
    assert (tmp_path / "run" / RUN).is_file()
    for name in ("last/weights.safetensors", "last/resume.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert whole.steps > 0


def test_its_rate_is_a_number_above_zero() -> None:
    with pytest.raises(InputError, match="matrix_rate = 0; expected more than 0"):
        Training(optimizer="muon", matrix_rate=0)
