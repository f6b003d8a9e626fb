"""Region encoders: the golden numbers of CHAN's three, and what padding and batch mates may not change."""

import pytest
import torch
from support.golden_inputs import fill, sine
from torch import Tensor

from wordsight.encode.regions import RegionEncoder
from wordsight.sets import EmbeddingSet, Regions

GOLDEN = {
    "none": (
        [0.009455, 0.378817, 0.178511, 0.624836, 0.028243, 0.496459, -0.388936, 0.188632],
        [0.079246, 0.283717, 0.155879, 0.560553, -0.039101, 0.516957, -0.455807, 0.313327],
    ),
    "self-attention": (
        [0.206494, 0.159966, 0.525306, 0.384749, -0.046139, 0.475173, -0.523730, -0.074712],
        [0.230799, 0.125772, 0.487503, 0.371905, -0.078362, 0.492203, -0.553427, 0.016004],
    ),
}
TRANSFORMER = [0.510080, -0.105444, 0.649828, 0.104764, 0.063584, 0.253212, -0.476592, 0.012177]
EVERY_OPTION = [
    {},
    {"mlp": True},
    {"positions": True},
    {"normalize_input": True},
    {"attention": "self-attention", "heads": 4},
    {"attention": "transformer", "heads": 4},
    {"attention": "transformer", "heads": 2, "mlp": True, "positions": True, "normalize_input": True},
]


def regions(features: Tensor, lengths: list[int] | None = None) -> Regions:
    n, longest, _ = features.shape
    mask = torch.arange(longest) < torch.tensor(lengths or [longest] * n)[:, None]
    corner = torch.rand(n, longest, 2) * 0.5
    return Regions(features, torch.cat([corner, corner + 0.4], -1), mask)


def filled(**settings: object) -> RegionEncoder:
    encoder = RegionEncoder(6, 8, **settings).double().eval()  # type: ignore[arg-type]
    fill(encoder)
    return encoder


def unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-8)


def awake(**settings: object) -> RegionEncoder:
    """An encoder whose zero-initialised weights are not zero, so that every option takes part."""
    encoder = RegionEncoder(6, 8, **settings)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return encoder


@pytest.mark.parametrize("attention", GOLDEN)
@pytest.mark.parametrize("attend_padding", [False, True])
def test_golden_numbers_of_chan(attention: str, attend_padding: bool) -> None:
    encoder = filled(attention=attention, attend_padding=attend_padding)
    out = unit(encoder(regions(sine(2, 4, 6))).vectors)
    for got, expected in zip((out[0, 0], out[1, 3]), GOLDEN[attention], strict=True):
        torch.testing.assert_close(got.detach(), torch.tensor(expected).double(), atol=2e-6, rtol=0)


def test_golden_numbers_of_chans_transformer_which_attends_along_the_batch() -> None:
    encoder = filled(attention="transformer", attend_batch=True)
    batch = regions(sine(2, 4, 6))
    out = unit(encoder(batch).vectors)[0, 0]
    torch.testing.assert_close(out.detach(), torch.tensor(TRANSFORMER).double(), atol=2e-6, rtol=0)
    alone = unit(encoder(batch[:1]).vectors)[0, 0]
    assert (alone - out).abs().max() > 1e-3


def test_attended_padding_is_the_bias_as_in_chans_code() -> None:
    """A padded row there is a zero row of features put through the linear map, and looked at."""
    batch = regions(torch.randn(2, 4, 6).double(), [4, 2])
    encoder = filled(attention="self-attention", attend_padding=True)
    whole = Regions(batch.features * batch.mask[..., None], batch.boxes, torch.ones(2, 4, dtype=torch.bool))
    real = batch.mask
    torch.testing.assert_close(encoder(batch).vectors[real], encoder(whole).vectors[real])


ALONE_IN_TRAINING = [settings for settings in EVERY_OPTION if not settings.get("mlp")]  # no batch statistics


@pytest.mark.parametrize(
    ("settings", "training"),
    [(settings, False) for settings in EVERY_OPTION] + [(settings, True) for settings in ALONE_IN_TRAINING],
    ids=str,
)
def test_ignores_padding_and_batch_mates(settings: dict[str, object], training: bool) -> None:
    encoder = awake(**settings).train(training)
    batch = regions(torch.randn(3, 5, 6), [5, 2, 3])
    together = encoder(batch)
    for image, length in enumerate([5, 2, 3]):
        alone = batch[[image]]
        cut = Regions(alone.features[:, :length], alone.boxes[:, :length], alone.mask[:, :length])
        torch.testing.assert_close(together.vectors[image, :length], encoder(cut).vectors[0])
        assert not together.vectors[image, length:].any()


@pytest.mark.parametrize("settings", EVERY_OPTION, ids=str)
@pytest.mark.parametrize("rubbish", [1e30, torch.nan, torch.inf])
def test_whatever_padding_holds_changes_neither_vectors_nor_gradients(settings: dict, rubbish: float) -> None:
    encoder = awake(**settings)
    batch = regions(torch.randn(2, 4, 6), [4, 2])
    spoilt = batch.features.clone()
    spoilt[1, 2:] = rubbish
    for other in (batch, Regions(spoilt, batch.boxes, batch.mask)):
        encoder.zero_grad()
        vectors = encoder(other).vectors
        vectors.square().sum().backward()
        gradients = [parameter.grad.clone() for parameter in encoder.parameters()]
        if other is batch:
            expected = vectors, gradients
    torch.testing.assert_close((vectors, gradients), expected)


def test_statistics_of_the_mlp_are_of_real_regions_only() -> None:
    features = torch.randn(2, 4, 6)
    encoder = awake(mlp=True)
    encoder(regions(features, [4, 2]))
    mean = torch.cat([features[0], features[1, :2]]) @ encoder.residual[0].weight.T + encoder.residual[0].bias
    torch.testing.assert_close(encoder.residual[1].running_mean, 0.1 * mean.mean(0))


@pytest.mark.parametrize("settings", EVERY_OPTION, ids=str)
def test_order_of_regions_carries_no_meaning(settings: dict[str, object]) -> None:
    encoder = awake(**settings).eval()
    batch = regions(torch.randn(2, 5, 6))
    order = torch.randperm(5)
    turned = Regions(batch.features[:, order], batch.boxes[:, order], batch.mask)
    torch.testing.assert_close(encoder(turned).vectors, encoder(batch).vectors[:, order])


def test_boxes_and_mask_are_carried_through() -> None:
    batch = regions(torch.randn(2, 4, 6), [4, 1])
    out = RegionEncoder(6, 8)(batch)
    assert isinstance(out, EmbeddingSet)
    assert out.boxes is batch.boxes
    assert out.mask is batch.mask


def test_an_image_without_any_region_is_all_zero_and_finite() -> None:
    for attention in ("none", "self-attention", "transformer"):
        encoder = RegionEncoder(6, 8, attention)
        vectors = encoder(regions(torch.randn(2, 3, 6), [3, 0])).vectors
        vectors.sum().backward()
        assert not vectors[1].any()
        assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_parameter_counts_of_the_published_encoders() -> None:
    counts = {"none": 2_098_176, "self-attention": 6_298_624, "transformer": 14_694_400}
    for attention, count in counts.items():
        encoder = RegionEncoder(2048, 1024, attention)
        assert sum(parameter.numel() for parameter in encoder.parameters()) == count


def test_linear_map_starts_as_the_papers_do() -> None:
    linear = RegionEncoder(100, 50).linear
    assert 0.19 < linear.weight.abs().max() <= 0.2  # sqrt(6 / 150)
    assert not linear.bias.any()


def test_positions_start_silent_and_learn_to_speak() -> None:
    encoder = RegionEncoder(6, 8, positions=True)
    batch = regions(torch.randn(2, 4, 6))
    torch.testing.assert_close(encoder(batch).vectors, encoder.linear(batch.features))
    encoder(batch).vectors.square().sum().backward()
    assert encoder.place.weight.grad.abs().sum() > 0


def test_dropout_only_in_training() -> None:
    encoder = RegionEncoder(6, 8, dropout=0.5, input_dropout=0.5)
    batch = regions(torch.randn(2, 4, 6))
    assert not torch.equal(encoder(batch).vectors, encoder(batch).vectors)
    encoder.eval()
    torch.testing.assert_close(encoder(batch).vectors, encoder.linear(batch.features))


def test_normalized_input_hears_directions_only() -> None:
    encoder = RegionEncoder(6, 8, normalize_input=True)
    batch = regions(torch.randn(2, 4, 6))
    louder = Regions(batch.features * 7, batch.boxes, batch.mask)
    torch.testing.assert_close(encoder(louder).vectors, encoder(batch).vectors)


def test_half_precision_features_are_read() -> None:
    batch = regions(torch.randn(2, 4, 6).half())
    assert RegionEncoder(6, 8)(batch).vectors.dtype == torch.float32


def test_mistakes_name_value_and_remedy() -> None:
    with pytest.raises(
        ValueError, match="have 6 features each, but the encoder was built for feature_dim = 7"
    ):
        RegionEncoder(7, 8)(regions(torch.randn(2, 4, 6)))
    batch = regions(torch.randn(2, 4, 6))
    with pytest.raises(ValueError, match="positions = true needs the boxes"):
        RegionEncoder(6, 8, positions=True)(Regions(batch.features, None, batch.mask))
    with pytest.raises(
        ValueError, match='attention "self" is not known; known: none, self-attention, transf'
    ):
        RegionEncoder(6, 8, "self")
    with pytest.raises(ValueError, match="3 heads do not divide 8 dimensions"):
        RegionEncoder(6, 8, "transformer", heads=3)
