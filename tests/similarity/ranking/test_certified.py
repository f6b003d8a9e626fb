"""Ranks found with int8, float32 and blocks of any size are those of the exact scores."""

from collections.abc import Iterator

import pytest
import torch
from support.blockwise_similarities import OfHighest
from torch import Tensor

from wordsight.registry import REGISTRY
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity
from wordsight.similarity.bidirectional import BothWays
from wordsight.similarity.cosine import Cosine
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels.int8 import (
    best_of_int8,
    cosine_error,
    pack,
    quantize_each,
    quantize_together,
    worst_of,
)
from wordsight.similarity.kernels.integer_product import (
    LARGEST,
    IntegerColumns,
    TorchProduct,
    integer_product,
    is_exact,
)
from wordsight.similarity.kernels.matmul import product
from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.similarity.label_agreement import Semantic
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.order_embedding import Order
from wordsight.similarity.ranking import certified as module
from wordsight.similarity.ranking import exact, float64_recheck
from wordsight.similarity.ranking.count import MatrixBlocks, ranks_from_blocks
from wordsight.similarity.ranking.exact import rank_matches

DIM = 32


class OfFloats(TorchProduct):
    """Integer products by way of float64, which are exact on every machine."""

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest = largest

    def multiply(self, rows: Tensor, columns: IntegerColumns) -> Tensor:
        return (rows.double() @ columns.packed.double()).float()


@pytest.fixture(autouse=True)
def _whatever_this_machine_is_fast_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "int8_speedup", lambda device: 2.0)
    monkeypatch.setattr(exact, "integer_product", lambda device: integer_product(device) or OfFloats())


def ragged(vectors: Tensor, shortest: int) -> EmbeddingSet:
    lengths = torch.randint(shortest, vectors.shape[1] + 1, (len(vectors), 1))
    return EmbeddingSet(vectors, torch.arange(vectors.shape[1]) < lengths)


def collection(
    noise: float, images: int = 20, dtype: torch.dtype = torch.float32
) -> tuple[EmbeddingSet, ...]:
    """Images of concepts, and three texts for each, whose words are noisy concepts of their image."""
    concepts = torch.randn(60, DIM)
    own = torch.randint(60, (images, 9))
    words = own[:, None, :].expand(images, 3, 9).reshape(images * 3, 9)[:, torch.randperm(9)[:7]]
    regions = concepts[own] + noise * torch.randn(images, 9, DIM)
    return (
        ragged(regions.to(dtype), 4),
        ragged((concepts[words] + noise * torch.randn(images * 3, 7, DIM)).to(dtype), 1),
    )


def identities(images: EmbeddingSet, texts: EmbeddingSet) -> tuple[Tensor, Tensor]:
    return torch.arange(len(images)), torch.arange(len(texts)) // 3


def exact_ranks(
    similarity: Similarity, images: EmbeddingSet, texts: EmbeddingSet, ties: str
) -> tuple[Tensor, Tensor]:
    scores = similarity(*(EmbeddingSet(s.vectors.double(), s.mask) for s in (images, texts))).round(
        decimals=11
    )
    return by_sorting(scores, *identities(images, texts), ties)


def by_sorting(scores: Tensor, image_ids: Tensor, text_ids: Tensor, ties: str) -> tuple[Tensor, Tensor]:
    def one(query: Tensor, name: Tensor, names: Tensor) -> int:
        scores, right = query.tolist(), (names == name).tolist()
        last = right if ties == "pessimistic" else range(0, -len(right), -1)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], last[i]))
        return next(place for place, i in enumerate(order) if right[i])

    i2t = [one(row, name, text_ids) for row, name in zip(scores, image_ids, strict=True)]
    t2i = [one(column, name, image_ids) for column, name in zip(scores.T, text_ids, strict=True)]
    return torch.tensor(i2t), torch.tensor(t2i)


def same(ranks: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    return torch.equal(ranks[0], expected[0]) and torch.equal(ranks[1], expected[1])


@pytest.mark.parametrize("noise", [0.3, 3.0], ids=["easy", "hard"])
@pytest.mark.parametrize("precision", ["float32", "int8", "auto"])
@pytest.mark.parametrize("direction", ["word", "region"])
@pytest.mark.parametrize("pooling", REGISTRY["pooling"])
def test_ranks_are_exact(pooling: str, direction: str, precision: str, noise: float) -> None:
    images, texts = collection(noise)
    similarity = MaxSim(direction, pooling)
    for ties in ("pessimistic", "reference"):
        ranks = rank_matches(similarity, images, texts, *identities(images, texts), precision, ties)
        assert same(ranks, exact_ranks(similarity, images, texts, ties))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("memory_mb", [1e-6, 0.01, 0.1])
def test_blocks_change_no_rank(precision: str, memory_mb: float) -> None:
    images, texts = collection(1.0, images=12)
    expected = exact_ranks(MaxSim(), images, texts, "pessimistic")
    similarity = MaxSim(memory_mb=memory_mb)
    assert same(rank_matches(similarity, images, texts, *identities(images, texts), precision), expected)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("ties", ["pessimistic", "reference"])
def test_equal_items_are_ties_in_every_precision(precision: str, ties: str) -> None:
    """Copies, and copies with their words in another order, which round differently."""
    images, texts = collection(0.3, images=12)
    images = EmbeddingSet.join([images, images])
    mirrored = EmbeddingSet(texts.vectors.flip(1), texts.mask.flip(1))
    texts = EmbeddingSet.join([texts, mirrored])
    expected = exact_ranks(MaxSim(), images, texts, ties)
    assert int(expected[0].min()) == (1 if ties == "pessimistic" else 0)
    assert same(rank_matches(MaxSim(), images, texts, *identities(images, texts), precision, ties), expected)


def test_float64_and_half_precision_embeddings() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        images, texts = collection(0.5, dtype=dtype)
        expected = exact_ranks(MaxSim(), images, texts, "pessimistic")
        for precision in ("float32", "int8"):
            assert same(
                rank_matches(MaxSim(), images, texts, *identities(images, texts), precision), expected
            )


def test_almost_equal_scores_are_told_apart_beyond_float32() -> None:
    """The right image is better by 1e-9 in cosine: equal in float32, decided in float64."""
    word = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64)
    right, wrong = (torch.tensor([[[1.0, slope, 0.0]]], dtype=torch.float64) for slope in (1e-3, 1.000001e-3))
    images = EmbeddingSet(torch.cat([wrong, right]), torch.ones(2, 1) > 0)
    texts = EmbeddingSet(torch.cat([word, word]), torch.ones(2, 1) > 0)
    for precision in ("float32", "int8"):
        _, t2i = rank_matches(MaxSim(), images, texts, torch.tensor([0, 1]), torch.tensor([1, 0]), precision)
        assert t2i.tolist() == [0, 1]


def test_int8_leaves_few_pairs_open_where_matches_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts = collection(0.3)
    rescored = 0
    original = module.Ranking._count_again

    def counting(self: module.Ranking, open_: module.Open, chunk: module.Chunk) -> module.Open:
        nonlocal rescored
        rescored += len(open_.context)
        return original(self, open_, chunk)

    monkeypatch.setattr(module.Ranking, "_count_again", counting)
    rank_matches(MaxSim(pooling="mean"), images, texts, *identities(images, texts), "int8")
    assert 0 < rescored < 0.2 * len(images) * len(texts)


@pytest.mark.parametrize("largest", [127, 63])
def test_the_bound_of_int8_holds_and_is_not_idle(largest: int) -> None:
    integers, worst = OfFloats(largest), 0.0
    for _ in range(20):
        contexts = torch.nn.functional.normalize(torch.randn(4, 5, DIM) * torch.rand(4, 5, DIM) ** 3, dim=-1)
        queries = torch.nn.functional.normalize(torch.randn(12, DIM), dim=-1)
        rows, words = quantize_together(contexts, integers), quantize_each(queries)
        exact = torch.einsum("cid,qd->ciq", contexts.double(), queries.double()).amax(1)
        error = (best_of_int8(rows, pack(words, slice(None), integers), integers) - exact).abs()
        bound = cosine_error(rows, worst_of(words, [1] * 12))
        assert (error <= bound).all()
        worst = max(worst, float((error / bound).max()))
    assert worst > 0.1


@pytest.mark.parametrize("pooling", REGISTRY["pooling"])
def test_poolings_do_not_magnify_errors_beyond_their_bound(pooling: str) -> None:
    pool = MaxSim(pooling=pooling).pooling
    values = torch.rand(500, 8, dtype=torch.float64) * 2 - 1
    each = torch.tensor(1e-3)
    moved = values + each * torch.randint(-1, 2, values.shape) * 0.999
    change = (pool(moved.float()).double() - pool(values)).abs().max()
    assert change <= pool.error(each, 8)
    assert change > 0.1 * pool.error(each, 8)


def test_cross_attention_is_ranked_in_float32() -> None:
    images, texts = collection(0.5)
    similarity = CrossAttention()
    ids = identities(images, texts)
    exact = similarity(*(EmbeddingSet(s.vectors.double(), s.mask) for s in (images, texts)))
    assert same(rank_matches(similarity, images, texts, *ids), by_sorting(exact, *ids, "pessimistic"))
    with pytest.raises(ValueError, match='use "auto"'):
        rank_matches(similarity, images, texts, *ids, "int8")


BOTH = BothWays("cross-attention", {"name": "max-sim", "pooling": "mean"})
OTHERS = {
    "both ways": BOTH,
    "labels": Semantic(DIM, 5, BOTH, mix=0.5).eval(),
    "cosine": OfHighest(Cosine()),
    "dot product": OfHighest(Cosine(normalize_images=False, normalize_texts=False)),
    "order": OfHighest(Order()),
}


@pytest.mark.parametrize("ties", ["pessimistic", "reference"])
@pytest.mark.parametrize("scores_at_once", [1, 200, 2**22])
@pytest.mark.parametrize("similarity", OTHERS.values(), ids=OTHERS.keys())
def test_similarities_of_every_kind_have_exact_ranks_in_any_blocks(
    similarity: Similarity, ties: str, scores_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies, and copies in another order, round differently; and so do products of other sizes."""
    images, texts = collection(0.8)
    images = EmbeddingSet.join([images, images])
    mirrored = EmbeddingSet(texts.vectors.flip(1), texts.mask.flip(1))
    texts = EmbeddingSet.join([texts, mirrored])
    monkeypatch.setattr(float64_recheck, "SCORES_AT_ONCE", scores_at_once)
    monkeypatch.setattr(float64_recheck, "NUMBERS_AT_ONCE", scores_at_once)
    ranks = rank_matches(similarity, images, texts, *identities(images, texts), ties=ties)
    assert same(ranks, exact_ranks(similarity, images, texts, ties))


def test_almost_equal_scores_of_two_directions_are_told_apart_beyond_float32() -> None:
    word = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64)
    right, wrong = (torch.tensor([[[1.0, slope, 0.0]]], dtype=torch.float64) for slope in (1e-3, 1.000001e-3))
    images = EmbeddingSet(torch.cat([wrong, right]), torch.ones(2, 1) > 0)
    texts = EmbeddingSet(torch.cat([word, word]), torch.ones(2, 1) > 0)
    _, t2i = rank_matches(BothWays(), images, texts, torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert t2i.tolist() == [0, 1]


@pytest.mark.parametrize("side", [0, 1])
def test_embeddings_that_are_not_finite_are_an_error_that_names_one(side: int) -> None:
    sets = collection(0.5)
    sets[side].vectors[7, 0, 3] = float("nan")
    with pytest.raises(ValueError, match=f"{('image', 'text')[side]} 7 is not finite"):
        rank_matches(MaxSim(), *sets, *identities(*sets))


def test_an_image_without_a_text_is_an_error_that_names_it() -> None:
    images, texts = collection(0.5)
    text_ids = torch.arange(len(texts)) // 3
    text_ids[text_ids == 5] = 6
    with pytest.raises(ValueError, match=r"image 5 \(identity 5\) has no text"):
        rank_matches(MaxSim(), images, texts, torch.arange(len(images)), text_ids)


def test_progress_ends_at_the_end() -> None:
    images, texts = collection(0.5)
    blocks_seen: list[tuple[int, int]] = []
    rank_matches(
        MaxSim(memory_mb=0.1),
        images,
        texts,
        *identities(images, texts),
        progress=lambda *at: blocks_seen.append(at),
    )
    assert len(blocks_seen) > 1
    assert blocks_seen[-1] == (len(images) * len(texts),) * 2


# Golden numbers: S[i, j] = sin(1.7 i + 0.61 j) + 0.9 where j belongs to i; 12 images of five texts.
IMAGE, TEXT = torch.arange(12).double()[:, None], torch.arange(60).double()
GOLDEN = torch.sin(1.7 * IMAGE + 0.61 * TEXT) + 0.9 * (TEXT // 5 == IMAGE)


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_golden_ranks_by_counting(rows: int) -> None:
    i2t, t2i = ranks_from_blocks(MatrixBlocks(GOLDEN, rows), torch.arange(12), torch.arange(60) // 5)
    assert i2t.tolist() == [0, 0, 12, 0, 0, 0, 17, 0, 0, 0, 19, 0]
    assert float((t2i < 1).double().mean() * 100) == pytest.approx(46.6667, abs=1e-4)
    assert float((t2i < 5).double().mean()) == 0.65
    assert float(t2i.double().mean() + 1) == pytest.approx(3.6)


def test_equal_scores_in_the_order_of_the_reference_and_pessimistically() -> None:
    """Scores that are all equal: the larger index wins there, every wrong item here."""
    ids = torch.arange(2), torch.arange(10) // 5
    zeros = MatrixBlocks(torch.zeros(2, 10))
    assert [r.tolist() for r in ranks_from_blocks(zeros, *ids, "reference")] == [[5, 0], [1] * 5 + [0] * 5]
    assert [r.tolist() for r in ranks_from_blocks(zeros, *ids)] == [[5, 5], [1] * 10]


@pytest.mark.parametrize("ties", ["pessimistic", "reference"])
def test_counting_equals_sorting_for_shared_identities(ties: str) -> None:
    scores = torch.randint(6, (20, 30)).double()
    ids = torch.arange(20) % 7, torch.arange(30) % 7
    assert same(ranks_from_blocks(MatrixBlocks(scores, 3), *ids, ties), by_sorting(scores, *ids, ties))


def test_a_generator_of_blocks_would_be_empty_the_second_time() -> None:
    def once() -> Iterator[object]:
        yield from MatrixBlocks(GOLDEN)

    with pytest.raises(ValueError, match="twice"):
        ranks_from_blocks(once(), torch.arange(12), torch.arange(60) // 5)


def test_scores_that_are_not_finite_are_an_error_that_names_one() -> None:
    scores = GOLDEN.clone()
    scores[7, 40] = float("nan")
    with pytest.raises(ValueError, match="image 7 with text 40 is nan"):
        ranks_from_blocks(MatrixBlocks(scores), torch.arange(12), torch.arange(60) // 5)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 7), (576, 300, 512)])
def test_products_are_right_whatever_kernel_was_chosen(size: tuple[int, int, int]) -> None:
    m, n, d = size
    rows, columns = torch.randn(m, d), torch.randn(n, d)
    exact = rows.double() @ columns.double().T
    torch.testing.assert_close(product(rows, columns).double(), exact, atol=1e-4, rtol=0)
    torch.testing.assert_close(product(rows.double(), columns.double()), exact, atol=1e-12, rtol=0)
    half = product(rows.bfloat16(), columns.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, atol=0.02 * d**0.5 + 0.05, rtol=0.02)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 7), (576, 300, 512), (64, 1, 1024), (1, 40, 33)])
def test_integer_products_are_exact_for_the_largest_values(size: tuple[int, int, int]) -> None:
    """Without VNNI, sums of two products of 8 bits saturate; whatever was chosen here does not."""
    integers = integer_product("cpu") or OfFloats()
    m, n, d = size
    for rows, columns in (
        (torch.full((m, d), integers.largest), torch.full((n, d), LARGEST)),
        (torch.full((m, d), -integers.largest), torch.full((n, d), LARGEST)),
        (torch.randint(-integers.largest, integers.largest + 1, (m, d)), torch.randint(-127, 128, (n, d))),
    ):
        left, right = rows.to(torch.int8), columns.to(torch.int8)
        found = integers.multiply(integers.rows(left), integers.pack(right))
        assert torch.equal(found.double(), rows.double() @ columns.double().T)


class Saturating(OfFloats):
    """Products of two unsigned with two signed bytes, added in 16 bits: a processor without VNNI."""

    def multiply(self, rows: Tensor, columns: IntegerColumns) -> Tensor:
        zero, signed = self.largest + 1, columns.packed.T.double()
        twos = [(some[:, ::2], some[:, 1::2]) for some in (rows.double() + zero, signed)]
        if rows.shape[1] % 2:
            return super().multiply(rows, columns)
        sums = sum(left[:, None] * right for left, right in zip(*twos, strict=True))
        return (sums.clamp(-(2**15), 2**15 - 1).sum(-1) - zero * signed.sum(1)).float()


def test_a_product_that_saturates_is_found_out() -> None:
    assert is_exact(OfFloats(127))
    assert not is_exact(Saturating(127))
    assert is_exact(Saturating(63))


def test_int8_where_it_is_slower_is_said_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts = collection(0.5, images=8)
    ids = identities(images, texts)
    expected = rank_matches(MaxSim(), images, texts, *ids, "float32")
    for speedup, said in ((1 / 43, "43.0 times slower than float32 here"), (0.0, "not to be had here")):
        monkeypatch.setattr(exact, "int8_speedup", lambda device, speedup=speedup: speedup)
        monkeypatch.setattr(exact, "integer_product", None)  # not even looked for
        with pytest.warns(UserWarning, match=f"{said}.*the ranks are found in float32, and are the same"):
            assert same(rank_matches(MaxSim(), images, texts, *ids, "int8"), expected)


def test_members_are_found_among_all_rows() -> None:
    _, texts = collection(0.5)
    packed = PackedTexts(texts, "text")
    some = torch.tensor([3, 8, 9, 31])
    assert torch.equal(packed.rows(0, len(packed))[packed.places_of(some)], packed.rows_of(some))
