"""Encoders that give one vector per image or text: what every pool promises, and VSE-infinity's numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.golden_inputs import fill, sine
from torch import nn

from wordsight import registry
from wordsight.encode.bert import BertEncoder
from wordsight.encode.cnn import GridCNN
from wordsight.encode.recurrent import RecurrentEncoder
from wordsight.encode.regions import RegionEncoder
from wordsight.registry import REGISTRY, describe
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens

TINY = {
    "model_type": "bert",
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}
DIM, JOINT = 8, 5
Build = Callable[..., nn.Module]


@pytest.fixture(params=["regions", "recurrent", "bert", "grid-cnn"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """An encoder, given its pool and joint layer."""
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    return {
        "regions": lambda **given: RegionEncoder(6, DIM, **given),
        "recurrent": lambda **given: RecurrentEncoder(30, DIM, 6, **given),
        "bert": lambda **given: BertEncoder(str(tmp_path), DIM, pretrained=False, **given),
        "grid-cnn": lambda **given: GridCNN(DIM, width=8, **given),
    }[request.param]


def batch(encoder: nn.Module, longest: int = 4) -> Regions | Tokens | Pixels:
    """Three items; where they can be of different lengths, these are 4, 2 and 1."""
    mask = torch.arange(longest) < torch.tensor([4, 2, 1])[:, None]
    if isinstance(encoder, GridCNN):
        return Pixels(torch.randn(3, 3, 32, 16))
    if isinstance(encoder, RegionEncoder):
        features = torch.where(mask[..., None], torch.randn(3, longest, 6), torch.nan)
        return Regions(features, torch.rand(3, longest, 4), mask)
    return Tokens(torch.randint(1, 30, (3, longest)) * mask, mask)


@pytest.mark.parametrize("pool", REGISTRY["pool"])
def test_one_vector_is_the_pool_of_the_vectors(build: Build, pool: str) -> None:
    encoder = build(pool=pool).eval()
    given = batch(encoder)
    apart = _without(encoder, given)
    found = encoder(given)
    assert found.vectors.shape == (3, 1, DIM)
    assert found.mask.all()
    assert found.boxes is None
    torch.testing.assert_close(found.vectors[:, 0], encoder.pool(apart.vectors, apart.mask))


def _without(encoder: nn.Module, given: Any) -> EmbeddingSet:
    kept, encoder.pool = encoder.pool, None
    apart: EmbeddingSet = encoder(given)
    encoder.pool = kept
    return apart


@pytest.mark.parametrize("pool", REGISTRY["pool"])
def test_one_vector_does_not_depend_on_padding_nor_on_the_batch(build: Build, pool: str) -> None:
    encoder = build(pool=pool, projection=JOINT).eval()
    given = batch(encoder)
    together = encoder(given).vectors
    for row in range(3):
        torch.testing.assert_close(encoder(given[[row]]).vectors, together[[row]], atol=1e-5, rtol=1e-4)
    if not isinstance(given, Pixels):
        wider = type(given).join([given, batch(encoder, longest=9)])
        torch.testing.assert_close(encoder(wider).vectors[:3], together, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pool", REGISTRY["pool"])
def test_every_weight_learns(build: Build, pool: str) -> None:
    encoder = build(pool=pool, projection=JOINT)
    encoder(batch(encoder)).vectors.square().mul(torch.rand(JOINT)).sum().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []
    assert all(weight.grad.isfinite().all() for weight in encoder.parameters())


def test_the_joint_layer_comes_after_the_pool(build: Build) -> None:
    encoder = build(pool="max", projection=JOINT).eval()
    given = batch(encoder)
    layer, encoder.joint_layer = encoder.joint_layer, None
    one = encoder(given).vectors[:, 0]
    encoder.joint_layer = layer
    torch.testing.assert_close(encoder(given).vectors[:, 0], layer(one))
    assert encoder(given).dim == JOINT


def test_pool_and_joint_are_read_back_as_the_table_that_builds_them(build: Build) -> None:
    kinds = {name: kind for kind in ("image_encoder", "text_encoder") for name in REGISTRY[kind]}
    encoder = build(pool={"name": "gpo", "hidden": 7}, projection={"dim": JOINT, "eps": 0.001}).eval()
    table = json.loads(json.dumps(describe(encoder)))
    again = registry.build(kinds[table["name"]], table).eval()
    again.load_state_dict(encoder.state_dict())
    given = batch(encoder)
    assert torch.equal(again(given).vectors, encoder(given).vectors)


def test_without_a_pool_nothing_is_added(build: Build) -> None:
    assert not any(name.startswith(("pool", "projection")) for name in build().state_dict())


def test_golden_numbers_of_vse_infinitys_region_encoder() -> None:
    """Filled in the order of the published module, which registers its MLP's maps before their norms."""
    encoder = RegionEncoder(6, 8, mlp=True, pool="gpo").double().eval()
    mlp = encoder.residual
    unused = nn.BatchNorm1d(8)  # the published module has a second norm, which it never applies
    fill(nn.ModuleList([encoder.linear, mlp[0], mlp[3], mlp[1], unused, encoder.pool]))
    mask = torch.arange(4) < torch.tensor([4, 3])[:, None]
    expected = torch.tensor(
        [
            [0.367570, 0.361343, 0.215058, 0.645625, 0.366444, -0.178051, 0.129791, -0.297341],
            [0.411241, 0.271466, 0.265060, 0.550844, 0.416555, -0.236438, 0.186049, -0.345637],
        ]
    )
    one = encoder(Regions(sine(2, 4, 6), None, mask)).vectors[:, 0]
    torch.testing.assert_close(one / one.norm(dim=1, keepdim=True), expected.double(), atol=1e-6, rtol=0)


def test_vse_infinitys_region_encoder_has_the_published_size_without_its_unused_norm() -> None:
    encoder = RegionEncoder(2048, 1024, mlp=True, pool="gpo")
    assert sum(weight.numel() for weight in encoder.parameters()) == 3_688_352 - 2 * 1024


def test_padding_may_count_in_the_batch_statistics_as_in_vse_infinitys_code() -> None:
    encoder = RegionEncoder(6, DIM, mlp=True, norm_padding=True)
    features, mask = torch.randn(2, 4, 6), torch.arange(4) < torch.tensor([4, 2])[:, None]
    encoder(Regions(torch.where(mask[..., None], features, torch.nan), None, mask))
    rows = torch.cat([features[0], features[1, :2], torch.zeros(2, 6)])
    hidden = rows @ encoder.residual[0].weight.T + encoder.residual[0].bias
    torch.testing.assert_close(encoder.residual[1].running_mean, 0.1 * hidden.mean(0))
    torch.testing.assert_close(encoder.residual[1].running_var, 0.9 + 0.1 * hidden.var(0))


def test_padding_that_counts_changes_nothing_in_evaluation() -> None:
    counting = RegionEncoder(6, DIM, mlp=True, norm_padding=True).eval()
    usual = RegionEncoder(6, DIM, mlp=True).eval()
    usual.load_state_dict(counting.state_dict())
    given = batch(usual)
    torch.testing.assert_close(counting(given).vectors, usual(given).vectors)


def test_padding_can_count_only_where_there_is_an_mlp() -> None:
    with pytest.raises(ValueError, match="norm_padding = true needs mlp = true"):
        RegionEncoder(6, DIM, norm_padding=True)
