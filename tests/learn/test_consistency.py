"""The loss of CASC: golden numbers, a slow loop, the weights of rare labels, and labels that do not fit."""

import math
from dataclasses import replace

import jaxtyping
import pytest
import torch
from support.golden_casc import casc, images, texts
from torch import Tensor

from wordsight.learn.consistency import Consistency, positive_weights
from wordsight.learn.triplet import Triplet
from wordsight.pairs import EncodedPairs
from wordsight.registry import build, describe

LABELS = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
WEIGHTS = [1.0, 2.0, 3.0, 4.0]


def golden_pairs() -> EncodedPairs:
    similarity, two = casc().train(), images()[:2]
    logits = similarity.label_logits(two, texts())
    return EncodedPairs(two, texts(), similarity(two, texts()), torch.arange(2), LABELS, logits)


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_golden_numbers(negatives: str) -> None:
    pairs = golden_pairs()
    loss = Consistency({"name": "triplet", "negatives": negatives}, positive_weights=WEIGHTS)
    assert loss.of_labels(pairs, 1).item() == pytest.approx(1.036154, abs=1e-6)
    assert loss.of_labels(pairs, 0).item() == pytest.approx(1.033597, abs=1e-6)
    assert loss.ranking(pairs).item() == pytest.approx(0.421201, abs=1e-6)
    assert (loss(pairs) - loss.ranking(pairs)).item() == pytest.approx(20.697513, abs=2e-6)
    assert loss(pairs).item() == pytest.approx(21.118714, abs=1e-6)


def test_labels_are_the_slow_loop() -> None:
    pairs = golden_pairs()
    logits = pairs.label_logits.detach()
    for side in (0, 1):
        total = 0.0
        for i in range(2):
            for label in range(4):
                probability = 1 / (1 + math.exp(-float(logits[i, side, label])))
                has = bool(LABELS[i, label])
                total -= WEIGHTS[label] * math.log(probability) if has else math.log(1 - probability)
        value = Consistency(positive_weights=WEIGHTS).of_labels(pairs, side)
        assert value.item() == pytest.approx(total / 8)


def test_it_has_the_epochs_of_the_loss_inside() -> None:
    loss = Consistency(Triplet(warmup_epochs=1), weight=0.0)
    pairs = golden_pairs()
    for epoch, inside in ((0, Triplet(negatives="all")), (1, Triplet())):
        loss.begin(epoch)
        assert torch.equal(loss(pairs), inside(pairs))


def test_half_precision_logits_are_taken_in_single() -> None:
    pairs = golden_pairs()
    halves = replace(pairs, label_logits=pairs.label_logits.bfloat16())
    assert Consistency().of_labels(halves, 0).dtype == torch.float32


def test_rare_labels_weigh_more_up_to_a_limit() -> None:
    labels = torch.zeros(100, 4)
    labels[:50, 0] = labels[:4, 1] = labels[:1, 2] = 1
    assert positive_weights(labels) == [1.0, 24.0, 99.0, 1000.0]
    assert positive_weights(labels, largest=30.0) == [1.0, 24.0, 30.0, 30.0]


def test_a_loss_describes_itself_with_the_loss_inside() -> None:
    loss = Consistency({"name": "triplet", "margin": 0.3}, positive_weights=WEIGHTS)
    described = describe(loss)
    assert described["ranking"]["margin"] == 0.3
    assert describe(build("loss", described)) == described


@pytest.mark.parametrize(
    ("change", "weights", "message"),
    [
        ({"labels": None}, 1.0, r"these pairs have none; add a \[labels\] table"),
        ({"label_logits": None}, 1.0, 'name = "label-agreement"'),
        ({"labels": torch.zeros(2, 3)}, 1.0, "predicts 4 labels, the data has 3"),
        ({}, [1.0, 2.0], "there are 2 positive_weights"),
    ],
)
def test_labels_that_do_not_fit_are_an_error(
    change: dict[str, Tensor | None], weights: float | list[float], message: str
) -> None:
    pairs, loss = golden_pairs(), Consistency(positive_weights=weights)
    jaxtyping.config.update("jaxtyping_disable", True)  # as it is outside of the tests
    try:
        with pytest.raises(ValueError, match=message):
            loss(replace(pairs, **change))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
