"""CHAN's codings in the published code's own numbers: what each word and each region finds, and its pools."""

import pytest
import torch
from support.golden_chan import FOUND, MASK, UNSCALED, golden_images, golden_texts
from support.golden_inputs import sine
from torch import Tensor

from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels.blocks import cosines_of
from wordsight.similarity.kernels.packed import masked_unit
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.pooling import LogSumExp

OF_WORDS = [
    [[0.926869, 0.974212, 0.979258], [0.979258, -0.239820]],
    [[0.925913, 0.974212, 0.950212], [0.950212, 0.873106]],
    [[0.164942, 0.703736, 0.950212], [0.950212, 0.453492]],
]
OF_REGIONS = [
    [[0.188626, 0.926869, 0.974212, 0.979258], [-0.592528, 0.097613, 0.764284, 0.979258]],
    [[0.974212, 0.950212, -0.520475], [0.764284, 0.950212, 0.873106]],
    [[0.950212, -0.792629], [0.950212, 0.453492]],
]
COSINES = {  # of image and text: [region][word], as if nothing were padding
    (0, 0): [
        [0.188626, -0.412485, -0.782365],
        [0.926869, 0.540509, 0.097613],
        [0.925913, 0.974212, 0.764284],
        [0.633920, 0.963973, 0.979258],
    ],
    (2, 1): [
        [0.950212, 0.275136, -0.853352],
        [-0.907908, 0.453492, 0.979868],
        [0.121207, -0.996528, -0.345751],
        [0.945347, 0.289773, -0.845299],
    ],
}
WARM = {"name": "log-sum-exp", "temperature": 1.0, "scaled": False}
OF_REGIONS_POOLED = {
    "max": [[0.979258, 0.979258], [0.974212, 0.950212], [0.950212, 0.950212]],
    "log-sum-exp at 1": [[2.202293, 1.866465], [1.762944, 1.964038], [1.111499, 1.425528]],
}


def near(found: Tensor, expected: object, within: float = 1e-6) -> None:
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=within, rtol=0)


def everything(items: EmbeddingSet) -> EmbeddingSet:
    return EmbeddingSet(items.vectors, torch.ones_like(items.mask))


def test_the_inputs_are_those_of_the_published_numbers() -> None:
    near(sine(3, 4, 6)[0, 0], [0.991665, 0.515501, -0.818277, -0.083089, 0.501021, -0.358229])
    unit = [0.653179, 0.339545, -0.538974, -0.054728, 0.330007, -0.235954]
    near(masked_unit(golden_images())[0, 0], unit)


@pytest.mark.parametrize(("image", "text"), COSINES)
def test_cosines(image: int, text: int) -> None:
    regions, words = (masked_unit(everything(side())) for side in (golden_images, golden_texts))
    near(cosines_of(regions[[image]], words[text])[0], COSINES[image, text])


@pytest.mark.parametrize(("direction", "expected"), [("word", OF_WORDS), ("region", OF_REGIONS)])
def test_what_each_word_and_each_region_finds(direction: str, expected: list[list[list[float]]]) -> None:
    for image, by_text in enumerate(expected):
        for text, found in enumerate(by_text):
            pair = golden_images()[[image]], golden_texts()[[text]]
            (alignment,) = MaxSim(direction).align(*pair)
            near(alignment.found[0, : len(found)], found)
            assert (alignment.found[0, len(found) :] == 0).all()


@pytest.mark.parametrize(("pooling", "name"), [("max", "max"), (WARM, "log-sum-exp at 1")])
def test_pools_of_what_regions_find(pooling: str | dict[str, object], name: str) -> None:
    near(MaxSim("region", pooling)(golden_images(), golden_texts()), OF_REGIONS_POOLED[name])


def test_a_softmax_pool_is_finite_where_the_published_one_is_not() -> None:
    """Of images and texts with padding the published code gives NaN; of the others it gives these."""
    by_word = MaxSim("word", "softmax")(golden_images(), golden_texts())
    by_region = MaxSim("region", "softmax")(golden_images(), golden_texts())
    near(by_word[:, 0], [0.965171, 0.953960, 0.930622])
    near(by_region[0], [0.965059, 0.956710])
    assert by_word.isfinite().all()
    assert by_region.isfinite().all()


def test_the_gradient_of_unscaled_log_sum_exp() -> None:
    found = FOUND.clone().requires_grad_()
    LogSumExp(0.1, scaled=False)(found, MASK).sum().backward()
    near(found.grad[1, 0], [2.566753, 4.160497, 3.272750], 2e-5)
    near(found.grad[2, 0], [0.003581, 0.783375, 9.213044], 2e-5)
    torch.testing.assert_close(found.grad.sum(2), torch.full((3, 2), 10.0).double())


def test_without_padding_the_last_word_and_region_count_too() -> None:
    images, texts = everything(golden_images()), everything(golden_texts())
    for image, last in ((0, [0.979258, -0.239820, 0.618569]), (1, [0.950212, 0.873106, 0.962824])):
        near(MaxSim("word").align(images[[image]], texts[[1]])[0].found[0], last)
    near(MaxSim("word", UNSCALED)(images, texts)[:2], [[10.725927, 9.819357], [10.619075, 10.456457]])
    near(MaxSim("word", "mean")(images, texts)[:2], [[0.960113, 0.452669], [0.950113, 0.928714]])
