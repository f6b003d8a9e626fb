"""SCAN and CASC as published: their recipes give the golden numbers of the published code."""

import pytest
import torch
from support.golden_casc import GOLDEN, images, texts

from wordsight.config import load_config
from wordsight.encode.regions import RegionEncoder
from wordsight.registry import build, describe
from wordsight.sets import Regions
from wordsight.similarity.cross_attention import CrossAttention

MEAN_OF_WORDS = [[0.845746, 0.238016], [0.956775, 0.917377], [0.913126, 0.714652]]
MEAN_OF_REGIONS = [[0.646302, 0.222176], [0.046511, 0.493390], [0.395636, 0.546470]]
PUBLISHED = {
    "scan-f30k-t2i-lse": [[1.099129, 0.888082], [1.141915, 1.038537], [1.101090, 0.980753]],
    "scan-f30k-t2i-avg": MEAN_OF_WORDS,
    "scan-f30k-i2t-lse": [[1.168880, 1.034148], [1.082829, 1.104803], [1.081375, 1.143202]],
    "scan-f30k-i2t-avg": MEAN_OF_REGIONS,
    "scan-coco-t2i-lse": [[1.099129, 0.888082], [1.141915, 1.038537], [1.101090, 0.980753]],
    "scan-coco-t2i-avg": MEAN_OF_WORDS,
    "scan-coco-i2t-avg": MEAN_OF_REGIONS,
    "casc-f30k": GOLDEN,
    "casc-coco": GOLDEN,
}
OTHER_POOLINGS = {
    ("word", "max"): [[0.995438, 0.888013], [0.983715, 0.960964], [0.948081, 0.973449]],
    ("word", "sum"): [[2.537239, 0.476031], [2.870326, 1.834754], [2.739378, 1.429304]],
    ("region", "max"): [[0.996448, 0.974682], [0.997753, 0.985859], [0.896459, 0.999455]],
    ("region", "sum"): [[2.585208, 0.888705], [0.186043, 1.973561], [1.582546, 2.185879]],
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_recipes_give_the_golden_numbers(recipe: str) -> None:
    table = load_config(recipe).tables["similarity"]
    similarity = build("similarity", table.get("similarity", table))
    expected = torch.tensor(PUBLISHED[recipe]).double()
    torch.testing.assert_close(similarity(images(), texts()), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("direction", "pooling"), OTHER_POOLINGS)
def test_golden_numbers_of_the_other_poolings(direction: str, pooling: str) -> None:
    similarity = CrossAttention(direction, 1 / 9 if direction == "word" else 1 / 4, pooling=pooling)
    expected = torch.tensor(OTHER_POOLINGS[direction, pooling]).double()
    torch.testing.assert_close(similarity(images(), texts()), expected, atol=2e-6, rtol=0)


def test_golden_attention() -> None:
    (alignment,) = CrossAttention("word", 1 / 9).align(images()[:1], texts()[:1])
    expected = [
        [0.573999, 0.000244, 0.000080],
        [0.382436, 0.132308, 0.005304],
        [0.036366, 0.420242, 0.200714],
        [0.007200, 0.447206, 0.793903],
    ]
    torch.testing.assert_close(alignment.shares[0], torch.tensor(expected).double(), atol=1e-6, rtol=0)
    unit = torch.nn.functional.normalize(images().vectors[0], dim=1)
    expected = [0.558786, 0.133056, -0.596828, 0.149628, 0.122819, -0.025069]
    blend = alignment.shares[0, :, 0] @ unit
    torch.testing.assert_close(blend, torch.tensor(expected).double(), atol=1e-6, rtol=0)


def test_coco_has_its_own_temperature_for_regions() -> None:
    tables = [load_config(f"scan-{data}-i2t-lse").tables["similarity"] for data in ("f30k", "coco")]
    assert [table["pooling"]["temperature"] for table in tables] == [1 / 5, 1 / 20]


@pytest.mark.parametrize(("recipe", "rate"), [("casc-f30k", 2e-4), ("casc-coco", 5e-4)])
def test_the_label_head_of_casc_has_its_own_learning_rate(recipe: str, rate: float) -> None:
    training = load_config(recipe).training
    assert training.learning_rate == rate
    assert training.groups["similarity.head"]["factor"] * rate == pytest.approx(0.01)


def test_weight_norm_is_one_length_times_a_direction() -> None:
    encoder = RegionEncoder(5, 4, weight_norm=True)
    regions = Regions(torch.randn(2, 3, 5), None, torch.ones(2, 3) > 0)
    before = encoder(regions).vectors
    length, direction = encoder.linear.parametrizations.weight.parameters()
    assert length.numel() == 1
    torch.testing.assert_close(encoder.linear.weight, length * direction / direction.norm())
    with torch.no_grad():
        encoder.linear.bias.zero_()
        direction.mul_(3.0)
    torch.testing.assert_close(encoder(regions).vectors, before)
    again = build("image_encoder", describe(encoder))
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(regions).vectors, before)
