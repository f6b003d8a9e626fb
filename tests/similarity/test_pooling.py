"""Poolings against their formulas and the golden numbers; padding never counts."""

import math

import pytest
import torch
from support.golden_chan import FOUND, MASK

from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum

POOLINGS: dict[str, Pooling] = {
    "mean": Mean(),
    "max": Max(),
    "sum": Sum(),
    "softmax": Softmax(0.1),
    "log-sum-exp": LogSumExp(0.1),
    "log-sum-exp, unscaled": LogSumExp(0.1, scaled=False),
}
every_pooling = pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS.keys())


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (Max(), [[0.979258, 0.979258], [0.974212, 0.950212], [0.950212, 0.950212]]),
        (Mean(), [[0.960113, 0.369719], [0.950113, 0.911659], [0.606297, 0.701852]]),
        (Sum(), [[2.880339, 0.739438], [2.850338, 1.823318], [1.818890, 1.403704]]),
        (
            LogSumExp(0.1, scaled=False),
            [[10.725927, 9.792582], [10.619075, 9.882284], [9.584085, 9.509059]],
        ),
        (LogSumExp(1.0, scaled=False), [[2.059002, 1.238156], [2.048919, 1.605549], [1.755592, 1.425528]]),
    ],
)
def test_golden_numbers(pooling: Pooling, expected: list[list[float]]) -> None:
    torch.testing.assert_close(pooling(FOUND, MASK), torch.tensor(expected).double(), atol=5e-6, rtol=0)


def test_golden_softmax() -> None:
    pooled = Softmax(0.1)(FOUND, MASK)
    torch.testing.assert_close(
        pooled[:, 0], torch.tensor([0.965171, 0.953960, 0.930622]).double(), atol=2e-6, rtol=0
    )
    assert pooled.isfinite().all()


def test_golden_gradient_of_unscaled_log_sum_exp() -> None:
    found = FOUND.clone().requires_grad_()
    LogSumExp(0.1, scaled=False)(found, MASK).sum().backward()
    expected = torch.tensor([[2.328794, 3.738864, 3.932342], [9.999949, 0.000051, 0]]).double()
    torch.testing.assert_close(found.grad[0], expected, atol=2e-5, rtol=0)


@every_pooling
def test_ignores_padding(pooling: Pooling) -> None:
    values = torch.rand(5, 4, dtype=torch.float64)
    filler = torch.tensor([9.0, -9.0, float("nan")]).double().expand(5, 3)
    mask = torch.arange(7) < 4
    torch.testing.assert_close(
        pooling(torch.cat([values, filler], 1), mask.expand(5, 7)), pooling(values), atol=1e-12, rtol=0
    )


@every_pooling
def test_gradient_is_finite_and_zero_at_padding(pooling: Pooling) -> None:
    values = FOUND.clone().requires_grad_()
    pooling(values, MASK).sum().backward()
    assert values.grad.isfinite().all()
    assert (values.grad[:, 1, 2] == 0).all()


@every_pooling
def test_an_empty_row_is_an_error(pooling: Pooling) -> None:
    with pytest.raises(ValueError, match="no value"):
        pooling(torch.zeros(2, 3), torch.tensor([[True, False, True], [False, False, False]]))


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.001])
def test_log_sum_exp_is_a_smooth_maximum(temperature: float) -> None:
    values = torch.rand(50, 7, dtype=torch.float64) * 2 - 1
    above = LogSumExp(temperature)(values) - values.amax(-1)
    assert (above >= -1e-12).all()
    assert (above <= temperature * math.log(7) + 1e-12).all()


def test_gradient_of_log_sum_exp_is_a_softmax() -> None:
    values = torch.rand(5, 7, dtype=torch.float64, requires_grad=True)
    LogSumExp(0.2)(values).sum().backward()
    torch.testing.assert_close(values.grad, (values.detach() / 0.2).softmax(-1))


def test_log_sum_exp_does_not_overflow_when_cold() -> None:
    assert LogSumExp(0.001, scaled=False)(torch.ones(1, 3)).isfinite().all()


@pytest.mark.parametrize("pooling", [Softmax, LogSumExp])
def test_a_temperature_of_zero_is_an_error(pooling: type[Pooling]) -> None:
    with pytest.raises(ValueError, match="temperature = 0"):
        pooling(temperature=0.0)
