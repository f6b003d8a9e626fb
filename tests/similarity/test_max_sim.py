"""MaxSim against CHAN's golden numbers and a slow loop."""

import pytest
import torch
from conftest import sine

from wordsight.sets import EmbeddingSet
from wordsight.similarity.max_sim import MaxSim


def golden_images() -> EmbeddingSet:
    return EmbeddingSet(sine(3, 4, 6), torch.arange(4) < torch.tensor([4, 3, 2])[:, None])


def golden_texts() -> EmbeddingSet:
    return EmbeddingSet(sine(2, 3, 6, shift=1), torch.arange(3) < torch.tensor([3, 2])[:, None])


UNSCALED = {"name": "log-sum-exp", "scaled": False}


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
