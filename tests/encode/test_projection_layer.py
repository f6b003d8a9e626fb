"""CMPL's joint layer: a slow loop, TensorFlow's numbers, and what padding may not change."""

import pytest
import torch

from wordsight.encode.projection import ProjectionLayer, build_projection, projected
from wordsight.sets import EmbeddingSet


def a_set(items: int = 4) -> EmbeddingSet:
    mask = torch.arange(items) < torch.tensor([1, 4, 2])[:, None]
    return EmbeddingSet(torch.randn(3, items, 6) * mask[..., None], mask)


def test_is_a_linear_map_then_a_norm_over_the_batch() -> None:
    layer, rows = ProjectionLayer(6, 5, eps=0.001), torch.randn(8, 6)
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.uniform_(-1, 1)
    out = layer(rows)
    for channel in range(5):
        values = [
            sum(layer.linear.weight[channel, k].item() * row[k].item() for k in range(6)) for row in rows
        ]
        mean = sum(values) / 8
        spread = (sum((value - mean) ** 2 for value in values) / 8 + 0.001) ** 0.5
        scale, shift = layer.norm.weight[channel].item(), layer.norm.bias[channel].item()
        expected = [scale * (value - mean) / spread + shift for value in values]
        torch.testing.assert_close(out[:, channel], torch.tensor(expected))


def test_momentum_is_one_less_tensorflows_decay() -> None:
    layer, rows = ProjectionLayer(6, 5, momentum=1 - 0.997), torch.randn(8, 6)
    layer(rows)
    torch.testing.assert_close(layer.norm.running_mean, 0.003 * layer.linear(rows).mean(0))


def test_padding_counts_in_no_statistics_and_stays_zero() -> None:
    items, layer = a_set(), ProjectionLayer(6, 5)
    together = projected(items, layer)
    torch.testing.assert_close(together.vectors[items.mask], layer(items.vectors[items.mask]))
    assert not together.vectors[~items.mask].any()
    assert torch.equal(together.mask, items.mask)


def test_in_evaluation_a_vector_stands_alone() -> None:
    items, layer = a_set(), ProjectionLayer(6, 5)
    layer(torch.randn(20, 6))
    layer.eval()
    torch.testing.assert_close(projected(items[[0]], layer).vectors, projected(items, layer).vectors[[0]])


def test_the_map_starts_as_tensorflows_scopes_do() -> None:
    assert ProjectionLayer(200, 400, std=0.09).linear.weight.std().item() == pytest.approx(
        0.09 * 0.88, rel=0.02
    )  # tails cut
    wide = ProjectionLayer(200, 400).linear.weight
    assert wide.std().item() == pytest.approx(0.1, rel=0.02)
    assert wide.abs().max() <= 0.2 * 1.3**0.5


def test_a_size_or_a_table_or_nothing() -> None:
    assert build_projection(None, 6) is None
    small = build_projection(5, 6)
    table = build_projection({"dim": 5, "eps": 0.001, "momentum": 0.0003, "std": 0.09}, 6)
    assert small is not None
    assert table is not None
    assert (small.linear.weight.shape, small.linear.bias) == ((5, 6), None)
    assert (table.norm.eps, table.norm.momentum) == (0.001, 0.0003)
    items = a_set()
    assert projected(items, None) is items
    with pytest.raises(
        ValueError, match=r'\[projection\] epsilon is not a setting of ProjectionLayer \(did you mean "eps"'
    ):
        build_projection({"dim": 5, "epsilon": 0.1}, 6)


def test_a_batch_of_one_cannot_be_normalized() -> None:
    with pytest.raises(ValueError, match="this batch has one vector; train with batches of at least 2"):
        ProjectionLayer(6, 5)(torch.randn(1, 6))
