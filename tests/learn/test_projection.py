"""CMPL's losses: golden numbers, the formulas as slow loops, limits, and what scales may not change."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden_inputs import sine
from support.small_problem import small_matcher, small_pairs
from torch import Tensor

from wordsight.builder import Builder
from wordsight.config import Config
from wordsight.learn.projection import Projection, classify_projections, match_projections
from wordsight.pairs import EncodedPairs
from wordsight.sets import EmbeddingSet
from wordsight.similarity.cosine import Cosine

IMAGES, TEXTS = 2 * sine(1, 4, 6)[0], 2 * sine(1, 4, 6, shift=1.0)[0]
LABELS = [3, 7, 3, 9]
WEIGHT = (0.3 * torch.sin(0.5 * torch.arange(66, dtype=torch.float64) + 0.1)).reshape(6, 11)


def one_each(vectors: Tensor) -> EmbeddingSet:
    return EmbeddingSet(vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))


def pairs(images: Tensor, texts: Tensor, identities: list[int]) -> EncodedPairs:
    sets = one_each(images), one_each(texts)
    return EncodedPairs(*sets, Cosine()(*sets), torch.tensor(identities))


def same(identities: list[int]) -> Tensor:
    return torch.tensor(identities)[:, None] == torch.tensor(identities)


def both(**weights: object) -> Projection:
    """CMPM + CMPC with the golden class weights."""
    loss = Projection(cmpc=1.0, classes=11, dim=6, **weights).double()  # type: ignore[arg-type]
    with torch.no_grad():
        loss.weight.copy_(WEIGHT)
    return loss


def test_golden_numbers_of_matching() -> None:
    match = same(LABELS)
    assert match_projections(IMAGES, TEXTS, match).item() == pytest.approx(9.646235, abs=2e-6)
    assert match_projections(TEXTS, IMAGES, match).item() == pytest.approx(10.372091, abs=2e-6)
    assert Projection()(pairs(IMAGES, TEXTS, LABELS)).item() == pytest.approx(20.018326, abs=2e-6)
    assert Projection()(pairs(IMAGES, TEXTS, [0, 1, 2, 3])).item() == pytest.approx(23.311514, abs=2e-6)


def test_golden_numbers_of_the_pytorch_port() -> None:
    port = Projection(target="l2")
    assert port(pairs(IMAGES, TEXTS, LABELS)).item() == pytest.approx(19.833727, abs=2e-6)
    assert port(pairs(IMAGES, TEXTS, [0, 1, 2, 3])).item() == pytest.approx(23.311515, abs=2e-6)


def test_golden_numbers_of_classification() -> None:
    labels = torch.tensor(LABELS)
    assert classify_projections(IMAGES, TEXTS, WEIGHT, labels).item() == pytest.approx(2.651275, abs=2e-6)
    assert classify_projections(TEXTS, IMAGES, WEIGHT, labels).item() == pytest.approx(2.691366, abs=2e-6)
    total = both()(pairs(IMAGES, TEXTS, LABELS)).item()
    assert total == pytest.approx(20.018326 + 2.651275 + 2.691366, abs=5e-6)
    halves = both(cmpm=0.0)(pairs(IMAGES, TEXTS, LABELS)).item()
    assert halves == pytest.approx(5.342641, abs=2e-6)


def test_golden_mean_distances() -> None:
    encoded = pairs(IMAGES, TEXTS, LABELS)
    distances, match = 1 - encoded.scores, same(LABELS)
    assert distances[match].mean().item() == pytest.approx(0.614377, abs=2e-6)
    assert distances[~match].mean().item() == pytest.approx(0.709316, abs=2e-6)


def slow_matching(queries: Tensor, candidates: Tensor, identities: list[int], target: str) -> Tensor:
    """CMPL, equations 1 to 5, one query and one candidate after another."""
    n, total = len(queries), 0 * queries.sum()
    for i in range(n):
        projections = [queries[i] @ candidates[j] / candidates[j].norm() for j in range(n)]
        everything = sum(projection.exp() for projection in projections)
        matching = [float(identities[i] == identities[j]) for j in range(n)]
        whole = sum(matching) if target == "count" else math.sqrt(sum(one**2 for one in matching))
        for j in range(n):
            p, q = projections[j].exp() / everything, matching[j] / whole
            total = total + p * torch.log(1e-8 + p / (q + 1e-8)) / n
    return total


def slow_classification(
    queries: Tensor, candidates: Tensor, weight: Tensor, labels: list[int], smoothing: float
) -> Tensor:
    """CMPL, equations 6 to 9, with the target of each class written out."""
    n, classes, total = len(queries), weight.shape[1], 0 * queries.sum()
    for i in range(n):
        direction = candidates[i] / candidates[i].norm()
        projection = (queries[i] @ direction) * direction
        logits = [weight[:, c] @ projection / weight[:, c].norm() for c in range(classes)]
        everything = sum(logit.exp() for logit in logits)
        for c in range(classes):
            wanted = (1 - smoothing) * (c == labels[i]) + smoothing / classes
            total = total - wanted * (logits[c].exp() / everything).log() / n
    return total


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 6), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from(["count", "l2"]),
    st.sampled_from([0.0, 0.1]), st.floats(0.0, 2.0), st.floats(0.1, 2.0),
)  # fmt: skip
def test_the_loss_is_the_slow_loop(
    n: int, dim: int, seed: int, target: str, smoothing: float, cmpm: float, cmpc: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, n, dim, generator=random, dtype=torch.float64).requires_grad_().unbind()
    identities = torch.randint(0, 4, (n,), generator=random).tolist()
    loss = Projection(cmpm, cmpc, target, smoothing, classes=4, dim=dim).double()
    expected = cmpm * (
        slow_matching(images, texts, identities, target) + slow_matching(texts, images, identities, target)
    ) + cmpc * (
        slow_classification(images, texts, loss.weight, identities, smoothing)
        + slow_classification(texts, images, loss.weight, identities, smoothing)
    )
    value = loss(pairs(images, texts, identities))
    torch.testing.assert_close(value, expected)
    wanted = (images, texts, loss.weight)
    found, slow = (torch.autograd.grad(of, wanted, retain_graph=True) for of in (value, expected))
    torch.testing.assert_close(found, slow)


def test_a_single_pair_costs_nothing() -> None:
    value = Projection()(pairs(IMAGES[:1], TEXTS[:1], [5]))
    assert value.item() == pytest.approx(2 * math.log(1e-8 + 1 / (1 + 1e-8)), abs=1e-12)


def test_told_apart_costs_nothing_and_mixed_up_costs_most() -> None:
    far = 100 * torch.eye(5, dtype=torch.float64)
    assert Projection()(pairs(far, far, [0, 1, 2, 3, 4])).item() == pytest.approx(0, abs=1e-6)
    mixed = Projection()(pairs(far, far.roll(1, 0), [0, 1, 2, 3, 4])).item()
    assert mixed == pytest.approx(2 * math.log(1e8), rel=1e-6)


def test_of_equal_partners_one_may_take_all_at_the_price_of_their_number() -> None:
    """All mass on one of k equal partners is k times too much there: log k."""
    far, identities = 100 * torch.eye(4, dtype=torch.float64), [7, 7, 7, 1]
    value = match_projections(far, far, same(identities)).item()
    assert value == pytest.approx(3 / 4 * math.log(3), abs=1e-6)


def test_shared_evenly_among_equal_partners_costs_nothing() -> None:
    far = 100 * torch.eye(3, dtype=torch.float64)[[0, 0, 1, 1]]
    assert match_projections(far, far, same([7, 7, 1, 1])).item() == pytest.approx(0, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_only_the_length_of_the_query_counts(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    scales = torch.rand(4, 1, generator=random, dtype=torch.float64) * 5 + 0.2
    match, value = same(LABELS), match_projections(IMAGES, TEXTS, same(LABELS))
    torch.testing.assert_close(match_projections(IMAGES, TEXTS * scales, match), value)
    assert not torch.isclose(match_projections(IMAGES * scales, TEXTS, match), value)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_the_length_of_a_class_weight_does_not_count(seed: int) -> None:
    scales = torch.rand(11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5 + 0.2
    labels = torch.tensor(LABELS)
    scaled = classify_projections(IMAGES, TEXTS, WEIGHT * scales, labels)
    torch.testing.assert_close(scaled, classify_projections(IMAGES, TEXTS, WEIGHT, labels))


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.sampled_from(["count", "l2"]))
def test_order_of_pairs_does_not_matter(order: list[int], target: str) -> None:
    loss = both(target=target)
    moved = pairs(IMAGES[order], TEXTS[order], [LABELS[row] for row in order])
    torch.testing.assert_close(loss(moved), loss(pairs(IMAGES, TEXTS, LABELS)))


@pytest.mark.parametrize("size", [0.0, 1e-6, 1.0, 1e4, 1e15])
@pytest.mark.parametrize("identities", [[0, 1, 2, 3], [0, 0, 1, 1], [5, 5, 5, 5]])
def test_gradient_is_finite(size: float, identities: list[int]) -> None:
    images, texts = (size * torch.randn(2, 4, 6)).requires_grad_().unbind()
    loss = Projection(cmpc=1.0, classes=11, dim=6)
    value = loss(pairs(images, texts, identities))
    assert value.isfinite()
    for gradient in torch.autograd.grad(value, (images, texts, loss.weight)):
        assert gradient.isfinite().all()


def test_single_precision_agrees_with_double() -> None:
    images, texts = 20 * torch.randn(2, 40, 64, dtype=torch.float64)
    identities = [row // 2 for row in range(40)]
    loss = Projection(cmpc=1.0, classes=20, dim=64)
    rough = loss(pairs(images.float(), texts.float(), identities)).double()
    torch.testing.assert_close(rough, loss.double()(pairs(images, texts, identities)), rtol=1e-5, atol=1e-5)


def test_large_identities_are_not_confused() -> None:
    """float32 distances of ids, as in the published code, cannot tell these apart."""
    apart = Projection()(pairs(IMAGES, TEXTS, [123_284, 123_285, 123_286, 123_287]))
    assert apart.item() == pytest.approx(23.311514, abs=2e-6)


def test_half_precision_is_computed_in_single() -> None:
    loss = Projection(cmpc=1.0, classes=11, dim=6)
    assert loss(pairs(IMAGES.bfloat16(), TEXTS.bfloat16(), LABELS)).dtype == torch.float32


def test_person_numbers_become_classes() -> None:
    people = replace(small_pairs(images=5), identities=torch.tensor([901, 12, 901, 40, 12]))
    assert people.numbered().identities.tolist() == [2, 0, 2, 1, 0]
    assert people.identities.tolist() == [901, 12, 901, 40, 12]


@pytest.mark.parametrize("left_open", [{}, {"classes": 0, "dim": 0}])
def test_a_configuration_takes_the_sizes_from_data_and_encoders(left_open: dict[str, int]) -> None:
    people = replace(small_pairs(images=5), identities=torch.tensor([901, 12, 901, 40, 12]))
    config = Config({"loss": {"name": "projection", "cmpc": 0.5} | left_open})
    loss = Builder(config).loss(people, small_matcher())
    assert (loss.classes, loss.dim, loss.cmpc) == (3, 16, 0.5)
    assert Builder(Config({"loss": {"name": "triplet"}})).loss(people, small_matcher()).margin == 0.2
    own = Config({"loss": {"name": "projection", "cmpc": 1.0, "classes": 31_783}})
    assert Builder(own).loss(people, small_matcher()).classes == 31_783


def test_matching_alone_has_no_weights() -> None:
    assert list(Projection(classes=30_000, dim=512).parameters()) == []
    weight = Projection(cmpc=0.5, classes=30_000, dim=512).weight
    assert weight is not None
    assert weight.shape == (512, 30_000)


def test_mistakes_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match='target "sum" is not known; known: count, l2'):
        Projection(target="sum")
    with pytest.raises(ValueError, match=r"cmpm = 0\.0 and cmpc = 0\.0; expected weights of 0 or more"):
        Projection(cmpm=0.0)
    with pytest.raises(ValueError, match=r"needs classes .* and dim .*; they are 0 and 6"):
        Projection(cmpc=1.0, dim=6)
    several = EmbeddingSet(torch.zeros(4, 3, 6), torch.ones(4, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="one vector per image and per text, and got up to 3; set pool"):
        Projection()(EncodedPairs(several, several, torch.zeros(4, 4), torch.arange(4)))
    with pytest.raises(ValueError, match=r"identity 11 is outside of the 11 classes.*PairSet\.numbered"):
        both()(pairs(IMAGES, TEXTS, [0, 1, 2, 11]))
    with pytest.raises(ValueError, match="identity -1 is outside"):
        both()(pairs(IMAGES, TEXTS, [0, -1, 2, 3]))
    with pytest.raises(ValueError, match="the vectors have 5 numbers, but the class weights 6"):
        both()(pairs(IMAGES[:, :5], TEXTS[:, :5], LABELS))
