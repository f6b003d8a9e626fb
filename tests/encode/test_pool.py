"""Pooling a set to one vector: promises for every pool on the menu, golden numbers for GPO."""

import pytest
import torch
from support.golden_inputs import fill, sine

from wordsight import registry
from wordsight.encode.pool import GPO, make_pool, place_codes, pooled
from wordsight.registry import REGISTRY
from wordsight.sets import EmbeddingSet

POOLS = sorted(REGISTRY["pool"])
GENTLE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 1e-2}


def made(name: str, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    pool = make_pool(name)
    fill(pool)
    return pool.to(dtype)


def sets(n: int = 4, items: int = 5, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Sets of 5, 4, 3, ... real items; what stands at padding is larger than anything real, or NaN."""
    mask = torch.arange(items) < torch.arange(items, items - n, -1)[:, None]
    vectors = sine(n, items, dim)
    vectors[~mask] = torch.tensor([torch.nan, 1e4]).repeat(dim // 2).to(vectors)
    return vectors, mask


def by_hand(name: str, pool: torch.nn.Module, real: torch.Tensor) -> torch.Tensor:
    if name == "mean":
        return real.mean(0)
    if name == "max":
        return real.amax(0)
    if name == "last":
        return real[-1]
    weights = pool.weights(torch.tensor([len(real)]), len(real))[0]
    return sum(weight * real.sort(0, descending=True).values[k] for k, weight in enumerate(weights))


@pytest.mark.parametrize("name", POOLS)
def test_agrees_with_a_set_at_a_time(name: str) -> None:
    pool, (vectors, mask) = made(name), sets()
    expected = torch.stack([by_hand(name, pool, vectors[row, mask[row]]) for row in range(len(mask))])
    torch.testing.assert_close(pool(vectors, mask), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", POOLS)
def test_ignores_padding_and_where_it_stands(name: str) -> None:
    pool, (vectors, mask) = made(name), sets()
    expected = pool(vectors, mask)
    shifted = torch.cat([vectors.new_full((4, 2, 6), 99.0), vectors, vectors.new_full((4, 3, 6), -99.0)], 1)
    spread = torch.cat([mask.new_zeros(4, 2), mask, mask.new_zeros(4, 3)], 1)
    torch.testing.assert_close(pool(shifted, spread), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in POOLS if name != "last"])
def test_the_order_of_the_items_does_not_matter(name: str) -> None:
    pool, (vectors, mask) = made(name), sets()
    order = torch.randperm(5)
    torch.testing.assert_close(
        pool(vectors[:, order], mask[:, order]), pool(vectors, mask), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", GENTLE)
@pytest.mark.parametrize("name", POOLS)
def test_every_precision_gives_the_same_within_it(name: str, dtype: torch.dtype) -> None:
    vectors, mask = sets()
    found = made(name, dtype)(vectors.to(dtype), mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), made(name)(vectors, mask), rtol=0, atol=GENTLE[dtype])


@pytest.mark.parametrize("name", POOLS)
def test_values_far_below_any_sentinel_are_kept(name: str) -> None:
    vectors, mask = torch.full((1, 3, 2), -3e4, dtype=torch.float64), torch.tensor([[True, True, False]])
    expected = torch.full((1, 2), -3e4, dtype=torch.float64)
    torch.testing.assert_close(made(name)(vectors, mask), expected)


@pytest.mark.parametrize("name", POOLS)
def test_gradients_are_finite_right_and_zero_at_padding(name: str) -> None:
    pool, (vectors, mask) = made(name), sets()
    vectors.requires_grad_()
    pool(vectors, mask).square().sum().backward()
    assert (vectors.grad[~mask] == 0).all()
    assert vectors.grad[mask].isfinite().all()
    assert vectors.grad[mask].any()
    assert all(weight.grad.isfinite().all() for weight in pool.parameters())
    real = torch.where(mask[..., None], vectors.detach(), 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: pool(given, mask), real)


@pytest.mark.parametrize("name", POOLS)
def test_a_set_without_items_is_zero(name: str) -> None:
    found = made(name)(sine(2, 3, 4), torch.tensor([[False] * 3, [True] * 3]))
    assert (found[0] == 0).all()
    assert found[1].any()


@pytest.mark.parametrize("name", POOLS)
def test_no_sets_are_no_vectors(name: str) -> None:
    assert made(name)(sine(0, 3, 4), torch.ones(0, 3, dtype=torch.bool)).shape == (0, 4)


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_is_read_back_as_the_table_that_makes_it(name: str) -> None:
    pool = make_pool(name)
    again = make_pool(registry.describe(pool))
    again.load_state_dict(pool.state_dict())
    vectors, mask = sets()
    assert torch.equal(again.double()(vectors, mask), pool.double()(vectors, mask))


def test_pooled_sets_hold_one_vector_and_no_boxes() -> None:
    vectors, mask = sets()
    items = EmbeddingSet(vectors, mask, torch.rand(4, 5, 4))
    one = pooled(items, made("mean"))
    assert one.vectors.shape == (4, 1, 6)
    assert one.mask.all()
    assert one.boxes is None
    assert pooled(items, make_pool(None)) is items


def test_a_pool_that_is_not_on_the_menu_is_an_error_that_lists_the_menu() -> None:
    with pytest.raises(ValueError, match=r'unknown pool "means" \(did you mean "mean".*gpo'):
        make_pool("means")


def test_gpo_golden_numbers() -> None:
    """Weights and values of VSE-infinity's own module."""
    pool = made("gpo")
    vectors, lengths = sine(2, 4, 6), torch.tensor([4, 3])
    weights = torch.tensor([[0.039741, 0.614490, 0.302945, 0.042823], [0.148528, 0.718905, 0.132567, 0.0]])
    torch.testing.assert_close(pool.weights(lengths, 4), weights.double(), rtol=0, atol=1e-6)
    expected = torch.tensor(
        [
            [0.440870, -0.348536, -0.727402, 0.764520, -0.362601, 0.651028],
            [-0.392194, -0.573122, 0.456310, 0.330295, -0.574013, 0.510513],
        ]
    )
    found = pool(vectors, torch.arange(4) < lengths[:, None])
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-6)


def test_gpo_place_codes_golden_numbers() -> None:
    expected = torch.tensor([0.909297, -0.416147, 0.902131, 0.431463, 0.591127, 0.806578])
    torch.testing.assert_close(place_codes(3, 32)[2, :6], expected.double(), rtol=0, atol=1e-6)


def test_gpo_has_as_many_parameters_as_published() -> None:
    assert sum(weight.numel() for weight in GPO().parameters()) == 12_704


def test_gpo_with_constant_scores_is_the_mean() -> None:
    pool, (vectors, mask) = made("gpo"), sets()
    torch.nn.init.zeros_(pool.linear.weight)
    torch.testing.assert_close(pool(vectors, mask), made("mean")(vectors, mask))


def test_gpo_with_all_weight_on_the_first_place_is_the_maximum() -> None:
    pool, (vectors, mask) = made("gpo"), sets()
    pool.weights = lambda lengths, items: torch.eye(items)[:1].expand(len(lengths), -1)
    assert torch.equal(pool(vectors, mask), made("max")(vectors, mask))


def test_gpo_needs_sines_and_cosines() -> None:
    with pytest.raises(ValueError, match="position_dim = 31"):
        GPO(position_dim=31)


def test_gpo_works_under_autocast() -> None:
    pool, (vectors, mask) = made("gpo", torch.float32), sets()
    with torch.autocast("cpu", torch.bfloat16):
        found = pool(vectors.float(), mask)
    torch.testing.assert_close(found.double(), made("gpo")(vectors, mask), rtol=0, atol=3e-2)
