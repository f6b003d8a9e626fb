"""MaxSim against CHAN's golden numbers and a slow loop."""

import pytest
import torch
from support.golden_chan import UNSCALED, golden_images, golden_texts

from wordsight.similarity.max_sim import MaxSim


@pytest.mark.parametrize(
    ("direction", "pooling", "expected"),
    [
        ("word", "max", [[0.979258, 0.979258], [0.974212, 0.950212], [0.950212, 0.950212]]),
        ("word", "mean", [[0.960113, 0.369719], [0.950113, 0.911659], [0.606297, 0.701852]]),
        ("word", "sum", [[2.880339, 0.739438], [2.850338, 1.823318], [1.818890, 1.403704]]),
        ("word", UNSCALED, [[10.725927, 9.792582], [10.619075, 9.882284], [9.584085, 9.509059]]),
        ("region", "mean", [[0.767241, 0.312157], [0.467983, 0.862534], [0.078791, 0.701852]]),
        ("region", "sum", [[3.068966, 1.248626], [1.403949, 2.587602], [0.157583, 1.403704]]),
        ("region", UNSCALED, [[10.726072, 9.902922], [10.322453, 9.983502], [9.502120, 9.509059]]),
    ],
)
def test_golden_numbers(
    direction: str, pooling: str | dict[str, object], expected: list[list[float]]
) -> None:
    scores = MaxSim(direction, pooling)(golden_images(), golden_texts())
    torch.testing.assert_close(scores, torch.tensor(expected).double(), atol=1e-6, rtol=0)
