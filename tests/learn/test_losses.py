"""Losses over all pairs of a batch: golden numbers, slow loops from the papers, and promises."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wordsight.learn.consistency import Consistency
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.loss import Loss
from wordsight.learn.projection import Projection
from wordsight.learn.triplet import Triplet
from wordsight.pairs import EncodedPairs
from wordsight.sets import EmbeddingSet

GOLDEN = [[0.9, 0.5, 0.1, 0.3], [0.4, 0.8, 0.75, 0.2], [0.2, 0.6, 0.7, 0.65], [0.1, 0.0, 0.3, 0.5]]


def pairs(scores: Tensor, identities: list[int] | None = None) -> EncodedPairs:
    """Pairs of these scores, and vectors that say the same: image i is row i, text j lies along axis j.

    What they say of the labels is right.
    """
    n, mask = len(scores), torch.ones(len(scores), 1, dtype=torch.bool)
    images, texts = scores[:, None], 100 * torch.eye(scores.shape[1], dtype=scores.dtype)[:n, None]
    names = torch.tensor(identities if identities is not None else list(range(n)))
    labels = torch.tensor([[1.0, 0.0, 1.0]]).repeat(n, 1)
    logits = (200 * labels - 100)[:, None].repeat(1, 2, 1)
    return EncodedPairs(EmbeddingSet(images, mask), EmbeddingSet(texts, mask), scores, names, labels, logits)


@pytest.mark.parametrize("count", ["hardest", "all", 2])
def test_texts_of_no_image_are_negatives_of_every_image(count: str | int) -> None:
    """VSE++ equation 5 and CHAN's InfoNCE, with more texts than images, over lists of numbers."""
    scores, further = torch.tensor(GOLDEN), torch.tensor([[0.85, 0.2], [0.1, 0.9], [0.6, 0.65], [0.45, 0.4]])
    several = replace(pairs(scores), negative_scores=further)
    most = {"hardest": 1, "all": 5, 2: 2}[count]
    triplet, info_nce = torch.tensor(0.0), torch.tensor(0.0)
    for i in range(4):
        of_image = [*(scores[i, j] for j in range(4) if j != i), *further[i]]
        of_text = [scores[j, i] for j in range(4) if j != i]
        for negatives in (of_image, of_text):
            costs = sorted((float(0.2 + one - scores[i, i]) for one in negatives), reverse=True)
            triplet += sum(max(0.0, cost) for cost in costs[:most])
            info_nce += sum(torch.exp((one - scores[i, i]) / 0.1) for one in negatives).add(1).log() / 4
    assert float(Triplet(0.2, count)(several)) == pytest.approx(float(triplet), abs=1e-5)
    assert float(InfoNCE(0.1)(several)) == pytest.approx(float(info_nce), abs=1e-5)
    none = replace(pairs(scores), negative_scores=further[:, :0])
    assert torch.equal(Triplet(0.2, count)(none), Triplet(0.2, count)(pairs(scores)))
    assert InfoNCE.takes_negative_texts
    assert Triplet.takes_negative_texts
    assert Consistency(InfoNCE(0.1)).takes_negative_texts
    assert not Projection().takes_negative_texts


def slow_triplet(S: Tensor, margin: float, count: int, match: Tensor) -> Tensor:
    """VSE++ equations 5 and 6, generalised to the ``count`` hardest, over lists of python numbers."""
    total = 0 * S.sum()
    for i in range(len(S)):
        of_image = [(margin + S[i, j] - S[i, i]).clamp(min=0) for j in range(len(S)) if not match[i, j]]
        of_text = [(margin + S[j, i] - S[i, i]).clamp(min=0) for j in range(len(S)) if not match[j, i]]
        for costs in (of_image, of_text):
            for cost in sorted(costs, key=lambda cost: cost.item(), reverse=True)[:count]:
                total = total + cost
    return total


def slow_info_nce(S: Tensor, temperature: float, margin: float, match: Tensor) -> Tensor:
    total = 0 * S.sum()
    for i in range(len(S)):
        others = [j for j in range(len(S)) if not match[i, j]]
        of_image = sum(((S[i, j] - S[i, i] + margin) / temperature).exp() for j in others) + 1
        of_text = sum(((S[j, i] - S[i, i] + margin) / temperature).exp() for j in others) + 1
        total = total + torch.as_tensor(of_image).log() + torch.as_tensor(of_text).log()
    return total / len(S)


def value_and_gradient(
    loss: Loss, scores: Tensor, identities: list[int] | None = None
) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    value = loss(pairs(scores, identities))
    (gradient,) = torch.autograd.grad(value, scores)
    return value.detach(), gradient


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Triplet(0.2, "all"), 1.0),
        (Triplet(0.2, "hardest"), 0.9),
        (Triplet(0.05, "all"), 0.3),
        (Triplet(0.05, "hardest"), 0.3),
        (InfoNCE(0.01), 5.005048),
        (InfoNCE(0.1), 1.058721),
        (InfoNCE(0.1, margin=0.2), 2.961475),
        (InfoNCE(0.1, margin=0.2, reduction="sum"), 4 * 2.961475),
        (Triplet(0.2, "hardest", reduction="mean"), 0.9 / 4),
        (Triplet(0.2, "all", reduction="mean"), 1.0 / 12),
        (Triplet(0.2, "hardest", scale=10.0), 9.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, float) else type(value).__name__,
)
def test_golden_numbers(loss: Loss, expected: float) -> None:
    value = loss(pairs(torch.tensor(GOLDEN, dtype=torch.float64)))
    assert float(value) == pytest.approx(expected, abs=5e-6)


def test_golden_gradient_of_the_hardest_negatives() -> None:
    """By hand: [1, 2] is the hardest of image 1 and text 2, [2, 3] of image 2 and text 3; no other costs."""
    _, gradient = value_and_gradient(Triplet(0.2), torch.tensor(GOLDEN, dtype=torch.float64))
    expected = [[0, 0, 0, 0], [0, -1, 2, 0], [0, 0, -2, 2], [0, 0, 0, -1]]
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float64))


sizes = st.integers(2, 7)
seeds = st.integers(0, 10_000)


@settings(deadline=None, max_examples=60)
@given(sizes, seeds, st.sampled_from(["hardest", "all", 1, 2, 3]), st.booleans(), st.floats(0.01, 1))
def test_triplet_is_the_slow_loop(
    n: int, seed: int, negatives: str | int, masked: bool, margin: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, n, generator=random, dtype=torch.float64).requires_grad_()
    identities = torch.randint(0, 4, (n,), generator=random)
    match = identities[:, None] == identities if masked else torch.eye(n, dtype=torch.bool)
    count = {"hardest": 1, "all": n}.get(negatives, negatives)
    expected = slow_triplet(scores, margin, count, match)
    (slow_gradient,) = torch.autograd.grad(expected, scores)
    loss = Triplet(margin, negatives, mask_matches=masked)
    value, gradient = value_and_gradient(loss, scores.detach(), identities.tolist())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(
        gradient, torch.zeros(n, n).double() if slow_gradient is None else slow_gradient
    )


@settings(deadline=None, max_examples=60)
@given(sizes, seeds, st.booleans(), st.floats(0.05, 2), st.floats(0, 0.5), st.booleans())
def test_info_nce_is_the_slow_loop(
    n: int, seed: int, masked: bool, temperature: float, margin: float, learned: bool
) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, n, generator=random, dtype=torch.float64).requires_grad_()
    identities = torch.randint(0, 4, (n,), generator=random)
    match = identities[:, None] == identities if masked else torch.eye(n, dtype=torch.bool)
    expected = slow_info_nce(scores, temperature, margin, match)
    (slow_gradient,) = torch.autograd.grad(expected, scores)
    loss = InfoNCE(temperature, margin, mask_matches=masked, learn_temperature=learned).double()
    value, gradient = value_and_gradient(loss, scores.detach(), identities.tolist())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slow_gradient, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(0.01, 1))
def test_two_pairs_have_one_negative_each_so_both_modes_coincide(seed: int, margin: float) -> None:
    scores = torch.randn(2, 2, generator=torch.Generator().manual_seed(seed))
    hardest, all_of_them = Triplet(margin), Triplet(margin, "all")
    torch.testing.assert_close(value_and_gradient(hardest, scores), value_and_gradient(all_of_them, scores))


EVERY_LOSS = [
    Triplet(),
    Triplet(negatives="all"),
    Triplet(negatives=2, reduction="mean"),
    Triplet(mask_matches=True),
    InfoNCE(0.05),
    InfoNCE(0.05, margin=0.2, mask_matches=True),
    InfoNCE(0.05, learn_temperature=True),
    Projection(),
    Projection(target="l2"),
    Consistency(),
    Consistency({"name": "info-nce", "temperature": 0.05}, positive_weights=[1.0, 2.0, 3.0]),
]


@pytest.mark.parametrize("loss", EVERY_LOSS)
@settings(deadline=None, max_examples=15)
@given(n=st.integers(2, 9), seed=seeds)
def test_order_of_pairs_does_not_matter(loss: Loss, n: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, n, generator=random, dtype=torch.float64)
    identities = torch.randint(0, 4, (n,), generator=random)
    order = torch.randperm(n, generator=random)
    value = loss(pairs(scores, identities.tolist()))
    torch.testing.assert_close(loss(pairs(scores[order][:, order], identities[order].tolist())), value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4, 1e15])
@pytest.mark.parametrize("identities", [[0, 1, 2, 3], [0, 0, 1, 1], [5, 5, 5, 5]])
def test_gradient_is_finite(loss: Loss, size: float, identities: list[int]) -> None:
    loss.zero_grad()
    scores = (torch.randn(4, 4) * size).requires_grad_()
    value = loss(pairs(scores, identities))
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_perfect_separation_costs_nothing(loss: Loss) -> None:
    value, gradient = value_and_gradient(loss, 100 * torch.eye(5))
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("negatives", ["hardest", "all", 3])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_triplet_collapses_at_the_stated_value(negatives: str | int, reduction: str, n: int) -> None:
    loss = Triplet(0.3, negatives, reduction=reduction, scale=2.0)
    assert loss(pairs(torch.full((n, n), 0.7))).item() == pytest.approx(loss.collapsed_at(n))


def test_collapse_of_the_published_recipe() -> None:
    assert Triplet(0.2).collapsed_at(128) == pytest.approx(51.2)
    assert Triplet(0.2, "all").collapsed_at(128) == pytest.approx(51.2 * 127)
    assert Triplet(0.2, "all", reduction="mean").collapsed_at(128) == pytest.approx(0.4)


def test_info_nce_of_equal_scores() -> None:
    """2 log(1 + (n - 1) exp(margin / temperature)), where it still has a gradient: no collapse to name."""
    value = InfoNCE(0.1, margin=0.2)(pairs(torch.full((6, 6), 0.7)))
    assert value.item() == pytest.approx(2 * math.log(1 + 5 * math.exp(2)))
    assert InfoNCE().collapsed_at(6) is None


@settings(deadline=None, max_examples=40)
@given(seed=seeds, n=st.integers(2, 40), ties=st.booleans())
def test_hardest_negatives_leave_at_most_three_gradients_per_pair(seed: int, n: int, ties: bool) -> None:
    scores = torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    _, gradient = value_and_gradient(Triplet(), scores.round() if ties else scores)
    assert (gradient != 0).sum() <= 3 * n


def test_a_margin_that_is_just_met_costs_nothing_and_pulls_at_nothing() -> None:
    value, gradient = value_and_gradient(Triplet(0.5, "all"), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    assert float(value) == 0
    assert not gradient.any()


def test_masked_matches_are_not_pushed_away() -> None:
    scores, identities = torch.rand(4, 4), [7, 7, 3, 7]
    for loss in (Triplet(1.0, "all", mask_matches=True), InfoNCE(0.1, mask_matches=True)):
        _, gradient = value_and_gradient(loss, scores, identities)
        same = torch.tensor(identities)[:, None] == torch.tensor(identities)
        off_diagonal = same & ~torch.eye(4, dtype=torch.bool)
        assert not gradient[off_diagonal].any()
        assert gradient[~same].any()


def test_all_negatives_in_the_warmup_then_ever_fewer_then_the_hardest() -> None:
    loss = Triplet(warmup_epochs=2, ramp_epochs=3)
    counts = []
    for epoch in range(7):
        loss.begin(epoch)
        counts.append(loss.counted(257))
    assert counts == [256, 256, 64, 16, 4, 1, 1]


def test_warmup_alone_switches_at_once() -> None:
    loss, scores = Triplet(warmup_epochs=1), torch.randn(5, 5)
    loss.begin(0)
    assert loss(pairs(scores)) == Triplet(negatives="all")(pairs(scores))
    loss.begin(1)
    assert loss(pairs(scores)) == Triplet()(pairs(scores))


def test_a_learned_temperature_falls_when_pairs_are_told_apart_and_stays_in_bounds() -> None:
    loss = InfoNCE(0.1, learn_temperature=True)
    steps = torch.optim.SGD(loss.parameters(), lr=5.0)
    scores = torch.eye(4) * 0.5
    for _ in range(200):
        steps.zero_grad()
        loss(pairs(scores)).backward()
        steps.step()
    assert 0.001 <= loss.log_temperature.exp() < 0.1
    with torch.no_grad():
        loss.log_temperature.fill_(-100)
    assert loss(pairs(-scores)).isfinite()
    assert loss.log_temperature.exp().item() == pytest.approx(0.001)


def test_half_precision_scores_are_summed_in_single() -> None:
    scores = torch.full((300, 300), 0.5, dtype=torch.bfloat16)
    value = Triplet(0.2, "all")(pairs(scores))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(2 * 300 * 299 * 0.2, rel=1e-5)


def test_mistakes_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match="negatives = 0; expected"):
        Triplet(negatives=0)
    with pytest.raises(ValueError, match='negatives = \'semi\'; expected "hardest", "all" or a count'):
        Triplet(negatives="semi")
    with pytest.raises(ValueError, match='reduction "avg" is not known; known: mean, sum'):
        Triplet(reduction="avg")
    with pytest.raises(ValueError, match='reduction "avg" is not known; known: mean, sum'):
        InfoNCE(reduction="avg")
    with pytest.raises(ValueError, match=r"temperature = 0\.0; expected 0.001 to 10"):
        InfoNCE(0.0)
    with pytest.raises(ValueError, match=r"one text per image in the batch.*\(3, 4\)"):
        Triplet()(pairs(torch.zeros(3, 4)))
