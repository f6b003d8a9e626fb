"""What every similarity of the menu promises, whatever the blocks, the padding, the order and the dtype."""

import itertools

import jaxtyping
import pytest
import torch
from support import warm_process
from support.blockwise_similarities import TRAINED, OfHighest, every_trained, images_and_texts, random_set
from torch import Tensor

from wordsight.registry import REGISTRY, build, describe
from wordsight.registry.trust import addresses_in, trusting
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels.packed import PackedTexts
from wordsight.similarity.label_agreement import Semantic
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.order_embedding import Order
from wordsight.similarity.pooling import Sum

MEASURED = {  # their measured score has no gradient
    "labels, both ways": Semantic(16, 5, {"name": "bidirectional", "weight": 0.4}, mix=0.3).eval(),
    "labels, words look": Semantic(16, 5, "max-sim", mix=0.3).eval(),
    "labels, regions look": Semantic(16, 5, CrossAttention("region", 0.2), mix=0.3).eval(),
    "labels, lengths count": Semantic(
        16, 5, CrossAttention("word", 0.2, normalize_images=False, normalize_texts=False), mix=0.3
    ).eval(),
}
every_similarity = pytest.mark.parametrize(
    "similarity", (TRAINED | MEASURED).values(), ids=(TRAINED | MEASURED).keys()
)


def with_memory(similarity: Similarity, memory_mb: float) -> Similarity:
    changed = make_copy(similarity)
    for part in changed.modules():
        if hasattr(part, "memory_mb"):
            part.memory_mb = memory_mb
    return changed


def make_copy(similarity: Similarity) -> Similarity:
    table = describe(similarity)
    with trusting(addresses_in(table)):  # some of them are defined here
        made: Similarity = build("similarity", table)
    made.load_state_dict(similarity.state_dict())
    return made.train(similarity.training)


def dense(similarity: Similarity, images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    """Pair by pair through ``align``, whose autograd is torch's own."""
    rows = [
        torch.stack([_one(similarity, images[[i]], texts[[t]]) for t in range(len(texts))])
        for i in range(len(images))
    ]
    return torch.stack(rows)


def _one(similarity: Similarity, image: EmbeddingSet, text: EmbeddingSet) -> Tensor:
    return sum(part.score[0] for part in similarity.align(image, text))


@every_similarity
@pytest.mark.parametrize(("count", "others"), [(2, 0), (0, 2), (0, 0)])
def test_an_empty_side_has_no_scores(similarity: Similarity, count: int, others: int) -> None:
    """sentence-transformers#2759 and #3465."""
    images, texts = images_and_texts()
    images, texts = images[:count], texts[:others]
    assert similarity(images, texts).shape == (count, others)
    assert all(one.score.shape == (0,) for one in similarity.align(images[:0], texts[:0]))


@every_similarity
def test_scores_are_those_of_single_pairs(similarity: Similarity) -> None:
    images, texts = images_and_texts()
    torch.testing.assert_close(
        similarity(images, texts), dense(similarity, images, texts), atol=1e-11, rtol=0
    )


@every_similarity
@pytest.mark.parametrize("memory_mb", [1e-6, 0.01])
def test_blocks_change_nothing(similarity: Similarity, memory_mb: float) -> None:
    images, texts = images_and_texts()
    torch.testing.assert_close(
        with_memory(similarity, memory_mb)(images, texts), similarity(images, texts), atol=1e-12, rtol=0
    )


@every_similarity
def test_ignores_padding(similarity: Similarity) -> None:
    images, texts = images_and_texts()
    filler = EmbeddingSet(torch.full((1, 20, 16), 9.0).double(), torch.arange(20)[None] < 1)
    wider = EmbeddingSet.join([images, filler]), EmbeddingSet.join([texts, filler])
    torch.testing.assert_close(similarity(*wider)[:-1, :-1], similarity(images, texts), atol=1e-12, rtol=0)


@every_similarity
def test_a_mask_may_have_holes(similarity: Similarity) -> None:
    images, texts = images_and_texts()
    mask = images.mask.clone()
    mask[1] = torch.tensor([False, True, True, False, True, False, True])
    holes = EmbeddingSet(images.vectors, mask)
    torch.testing.assert_close(
        similarity(holes, texts)[1],
        similarity(EmbeddingSet(images.vectors[1:2, mask[1]], torch.ones(1, 4) > 0), texts)[0],
        atol=1e-12,
        rtol=0,
    )
    torch.testing.assert_close(similarity(holes, texts), dense(similarity, holes, texts), atol=1e-11, rtol=0)


@every_similarity
def test_the_order_of_the_batch_and_of_the_items_does_not_matter(similarity: Similarity) -> None:
    images, texts = images_and_texts()
    rows, columns = torch.randperm(len(images)), torch.randperm(len(texts))
    shuffled = EmbeddingSet(images.vectors.flip(1), images.mask.flip(1))[rows]
    torch.testing.assert_close(
        similarity(shuffled, texts[columns]), similarity(images, texts)[rows][:, columns], atol=1e-12, rtol=0
    )


@every_trained
@pytest.mark.parametrize("weight", ["all pairs", "few pairs"])
@pytest.mark.parametrize("memory_mb", [0.002, 64.0])
def test_gradients_are_those_of_dense_autograd(similarity: Similarity, weight: str, memory_mb: float) -> None:
    images, texts = images_and_texts()
    weights = torch.randn(len(images), len(texts), dtype=torch.float64)
    if weight == "few pairs":
        weights = torch.where(torch.rand_like(weights) < 0.1, weights, 0)
    expected = _gradients(dense, similarity, images, texts, weights)
    actual = _gradients(lambda s, *both: s(*both), with_memory(similarity, memory_mb), images, texts, weights)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-9)


def _gradients(
    score: object, similarity: object, images: EmbeddingSet, texts: EmbeddingSet, weights: Tensor
) -> list:
    leaves = [side.vectors.clone().requires_grad_() for side in (images, texts)]
    sets = [EmbeddingSet(leaf, side.mask) for leaf, side in zip(leaves, (images, texts), strict=True)]
    (score(similarity, *sets) * weights).sum().backward()
    return [leaf.grad for leaf in leaves]


@every_trained
def test_gradient_is_finite_even_for_zero_vectors(similarity: Similarity) -> None:
    images, texts = images_and_texts(torch.float32)
    images.vectors[2, 1] = 0
    texts.vectors[5] = 0
    leaves = [side.vectors.clone().requires_grad_() for side in (images, texts)]
    similarity(EmbeddingSet(leaves[0], images.mask), EmbeddingSet(leaves[1], texts.mask)).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


@every_similarity
def test_explanation_adds_up_to_the_score(similarity: Similarity) -> None:
    images, texts = random_set([4, 7, 2, 7]), random_set([3, 6, 1, 6], width=8)
    alignments = similarity.align(images, texts)
    total = sum(alignment.score for alignment in alignments)
    torch.testing.assert_close(total, similarity(images, texts).diagonal(), atol=1e-12, rtol=0)
    if isinstance(similarity, OfHighest):
        images, texts = similarity.given(images, texts)
    for alignment in alignments:
        if alignment.direction == "label":
            torch.testing.assert_close(alignment.found.sum(1) * 0.7, alignment.score)
            continue
        context, query = (images, texts) if alignment.direction == "word" else (texts, images)
        torch.testing.assert_close(alignment.shares.sum(1), query.mask.double())
        padding = ~context.mask[:, None].expand_as(alignment.shares.mT)
        assert (alignment.shares.mT[padding] == 0).all()
        assert (alignment.found[~query.mask] == 0).all()
        assert alignment.found.abs().max() <= furthest(similarity) + 1e-12


def furthest(similarity: Similarity) -> float:
    """From 0, of what is found: a cosine, or a distance of two unit vectors, or anything."""
    parts = list(similarity.modules())
    if any(not getattr(part, "normalize_images", True) for part in parts):
        return torch.inf
    return 2 if any(isinstance(part, Order) for part in parts) else 1


@every_similarity
def test_each_setting_is_an_attribute_that_builds_the_same_again(similarity: Similarity) -> None:
    images, texts = images_and_texts()
    assert torch.equal(make_copy(similarity)(images, texts), similarity(images, texts))


@every_similarity
def test_half_precision_embeddings_are_scored_in_float32(similarity: Similarity) -> None:
    images, texts = images_and_texts(torch.float32)
    rounded = [EmbeddingSet(side.vectors.bfloat16(), side.mask) for side in (images, texts)]
    exact = [EmbeddingSet(side.vectors.float(), side.mask) for side in rounded]
    scores = similarity(*rounded)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, similarity(*exact), atol=1e-6, rtol=0)


@every_trained
def test_autocast_keeps_the_pooling_in_float32_and_stays_near(similarity: Similarity) -> None:
    images, texts = images_and_texts(torch.float32)
    leaves = [side.vectors.clone().requires_grad_() for side in (images, texts)]
    sets = [EmbeddingSet(leaf, side.mask) for leaf, side in zip(leaves, (images, texts), strict=True)]
    with torch.autocast("cpu", torch.bfloat16):
        scores = similarity(*sets)
    assert scores.dtype == torch.float32
    pooled = 9 if any(isinstance(part, Sum) for part in similarity.modules()) else 1
    torch.testing.assert_close(scores, similarity(images, texts), atol=0.05 * pooled, rtol=0)
    scores.sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("pooling", REGISTRY["pooling"])
def test_hard_alignment_of_words_is_that_of_regions_transposed(pooling: str) -> None:
    images, texts = images_and_texts()
    torch.testing.assert_close(
        MaxSim("word", pooling)(images, texts), MaxSim("region", pooling)(texts, images).T, atol=1e-12, rtol=0
    )


def test_soft_alignment_becomes_hard_when_cold() -> None:
    images, texts = images_and_texts()
    hard = MaxSim("region", "mean")(images, texts)
    distance = [
        (CrossAttention("region", alpha, "none", "mean")(images, texts) - hard).abs().max().item()
        for alpha in (0.1, 0.01, 0.001, 0.00001)
    ]
    assert distance == sorted(distance, reverse=True)
    assert distance[-1] < 1e-6


def test_an_empty_text_is_an_error_that_names_it() -> None:
    images, texts = images_and_texts()
    texts.mask[5] = False
    with pytest.raises(ValueError, match="text 5 of 8 is empty"):
        MaxSim()(images, texts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "caption"}, "direction = 'caption'; expected one of word, region"),
        ({"memory_mb": 0.0}, "memory_mb = 0"),
        ({"pooling": "median"}, 'unknown .* "median"'),
        ({"pooling": {"name": "log-sum-exp", "temprature": 1.0}}, 'did you mean "temperature"'),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_is_right(settings: dict, message: str) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # as it is outside of the tests
    try:
        with pytest.raises(ValueError, match=message):
            build("similarity", {"name": "max-sim", **settings})
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_neighbours_are_packed_without_padding() -> None:
    texts = random_set([3, 6, 1, 6, 2])
    packed = PackedTexts(texts, "text")
    assert packed.lengths == [1, 2, 3, 6, 6]
    assert packed.rows(1, 4).shape == (11, 16)
    assert packed.rows(0, 5).isfinite().all()
    pieces = list(packed.pieces(6))
    assert pieces == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert list(itertools.chain(*[range(a, b) for a, b in pieces])) == list(range(5))


PEAK = """
import resource, torch
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.pooling import Sum
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.sets import EmbeddingSet

def full(vectors):
    return EmbeddingSet(vectors, torch.ones(vectors.shape[:2]) > 0)

def step(pairs):
    images, texts = (torch.randn(pairs, n, 64, requires_grad=True) for n in (36, 12))
    scores = {similarity}(full(images), full(texts))
    {loss}.backward()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

step(4)
before = peak()
step(256)
print(peak() - before)
"""
HARDEST = "(0.2 + scores - scores.diagonal()).fill_diagonal_(0).amax(1).clamp_min(0).sum()"


@pytest.mark.parametrize("loss", [HARDEST, "scores.logsumexp(1).sum()"], ids=["hardest", "dense"])
@pytest.mark.parametrize("similarity", ["MaxSim(memory_mb=8.0)", "CrossAttention(memory_mb=8.0)"])
def test_training_never_holds_the_cosines_of_all_pairs(similarity: str, loss: str) -> None:
    """256 x 256 x 36 x 12 cosines would be 108 MB in float32, and autograd would hold them several times."""
    code = PEAK.format(similarity=similarity, loss=loss)
    done = warm_process.run(program=("code", code))
    assert float(done.stdout) < 80
