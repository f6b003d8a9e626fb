"""The Triton programs of cross attention against a slow loop written from SCAN, by Triton's interpreter."""

from typing import Any

import pytest
import torch
from support.interpreted_programs import ragged, run_on_the_interpreter
from torch import Tensor

from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels import fused_attention, launch
from wordsight.similarity.kernels.packed import unit
from wordsight.similarity.ranking.exact import rank_matches

pytest.importorskip("triton", reason="the programs are written in Triton: pip install triton")

NORMALIZATIONS = ["none", "l2", "clipped_l2", "l1", "clipped_l1", "clipped", "softmax"]
POOLINGS: list[Any] = [
    "mean",
    "sum",
    "max",
    "log-sum-exp",
    {"name": "log-sum-exp", "scaled": False},
    "softmax",
]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    run_on_the_interpreter(monkeypatch)


def slow_score(similarity: CrossAttention, contexts: Tensor, queries: Tensor) -> Tensor:
    """SCAN's equations for one pair: each query's blend is made, and compared with the query."""
    cosines = [[context @ query for query in queries] for context in contexts]
    lines = [normalized(torch.stack(line), similarity.normalize) for line in cosines]
    found = []
    for number, query in enumerate(queries):
        weights = [torch.exp(line[number] / similarity.temperature) for line in lines]
        blend = sum((weight * row for weight, row in zip(weights, contexts, strict=True)), torch.zeros(()))
        found.append(query @ blend / blend.norm() / query.norm())
    return similarity.pooling(torch.stack(found))


def normalized(line: Tensor, how: str) -> Tensor:
    """One region's cosines with the words of one text (``raw_feature_norm``)."""
    if how == "softmax":
        return line.exp() / line.exp().sum()
    if how.startswith("clipped"):
        line = torch.where(line > 0, line, 0.1 * line)
    length = {"l2": line.square().sum().sqrt(), "l1": line.abs().sum()}.get(how.removeprefix("clipped_"))
    return line if length is None else line / (length + 1e-8)


def slow_loop(similarity: CrossAttention, images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    rows = []
    for image, real in zip(images.vectors, images.mask, strict=True):
        regions = unit(image[real].double())
        row = []
        for text, words in zip(texts.vectors, texts.mask, strict=True):
            pair = regions, unit(text[words].double())
            row.append(slow_score(similarity, *(pair if similarity.direction == "word" else pair[::-1])))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def gradients(scores: Tensor, *vectors: Tensor) -> list[Tensor]:
    """Of a sum with weights, a third of them 0: more pairs than are worth gathering have a gradient."""
    weights = torch.arange(scores.numel()).reshape(scores.shape).remainder(3)
    return list(torch.autograd.grad((scores * weights).sum(), vectors))


def learned(items: EmbeddingSet) -> EmbeddingSet:
    return EmbeddingSet(items.vectors.nan_to_num().requires_grad_(), items.mask)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("direction", ["word", "region"])
def test_scores_and_gradients_equal_the_slow_loop(
    direction: Any, normalize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, texts = learned(ragged(3, 5, 6, 0)), learned(ragged(4, 4, 6, 1))
    similarity = CrossAttention(direction, 1 / 9, normalize, "mean", memory_mb=0.001)
    calls = watched(monkeypatch)
    found = similarity(images, texts)
    expected = slow_loop(similarity, images, texts)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    sides = images.vectors, texts.vectors
    for one, other in zip(gradients(found, *sides), gradients(expected, *sides), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert calls[0] == "attention_program"
    assert calls.count("attention_gradient_program") > 1  # some contexts at a time


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    start = fused_attention.launch

    def noted(program: Any, *args: Any, **kwargs: Any) -> bool:
        calls.append(program.fn.__name__)
        return start(program, *args, **kwargs)

    monkeypatch.setattr(fused_attention, "launch", noted)
    return calls


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_the_program_pools_as_the_slow_loop(pooling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts = ragged(5, 4, 7, 2), ragged(6, 3, 7, 3)
    similarity, calls = CrossAttention("word", 1 / 9, "clipped_l2", pooling), watched(monkeypatch)
    torch.testing.assert_close(
        similarity(images, texts).double(), slow_loop(similarity, images, texts), rtol=1e-5, atol=1e-5
    )
    assert calls == ["attention_program"]


@pytest.mark.parametrize("lengths", [True, False])
def test_lengths_count_as_in_blocks(lengths: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """VSA of CHAN: vectors of any length, whose products are divided by the query's length, or not."""
    images, texts = ragged(4, 5, 8, 4), ragged(5, 3, 8, 5)
    similarity = CrossAttention(
        "word", 1.0, "l2", "mean", normalize_images=False, normalize_texts=False, keep_query_length=lengths
    )
    found = similarity(images, texts)
    with launch.disabled():
        torch.testing.assert_close(found, similarity(images, texts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("regions", "dim"), [(40, 1), (140, 33), (300, 5)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_long_contexts_and_any_dimension(regions: int, dim: int, dtype: torch.dtype) -> None:
    """Products of halves are exact in float32: blocks on the rounded vectors give the same scores."""
    images, texts = ragged(2, regions, dim, 6), ragged(3, 5, dim, 7)
    similarity = CrossAttention("word", 1 / 9, "clipped_l2", "mean")
    with torch.no_grad():
        found = similarity.fused_scores(*similarity.sides(images, texts), dtype)
    assert found is not None
    rounded = [
        EmbeddingSet(unit(side.vectors).to(dtype).float().nan_to_num(), side.mask) for side in (images, texts)
    ]
    plain = CrossAttention(
        "word", 1 / 9, "clipped_l2", "mean", normalize_images=False, normalize_texts=False,
        keep_query_length=True,
    )  # fmt: skip
    with launch.disabled():
        torch.testing.assert_close(found, plain(*rounded), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("direction", ["word", "region"])
def test_ranks_are_those_of_blocks(direction: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts = ragged(9, 4, 8, 8), ragged(11, 3, 8, 9)
    near = EmbeddingSet(images.vectors * 1e-3 + images.vectors[:1, :1], images.mask)
    similarity, calls = CrossAttention(direction), watched(monkeypatch)
    for some in (images, near):
        arguments = (similarity, some, texts, torch.arange(9), torch.arange(11) % 9)
        found = rank_matches(*arguments)
        with launch.disabled():
            expected = rank_matches(*arguments)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    assert calls == ["attention_program"] * 2


def test_the_attention_is_never_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor that the forward pass makes has a number for each region and word of each pair."""
    images, texts = learned(ragged(6, 5, 8, 10)), learned(ragged(7, 4, 8, 11))
    sizes: list[int] = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            tensors = [one for one in torch.utils._pytree.tree_leaves(made) if torch.is_tensor(one)]
            sizes.extend(one.numel() for one in tensors if one.is_floating_point())
            return made

    regions, words = int(images.mask.sum()), int(texts.mask.sum())
    similarity = CrossAttention("word", memory_mb=0.001)
    with Sizes():
        found = similarity(images, texts)
        assert max(sizes) < regions * words
        gradients(found, images.vectors, texts.vectors)
    assert max(sizes) < regions * words


def test_out_of_memory_leaves_it_to_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    images, texts = ragged(4, 3, 8, 12), ragged(5, 3, 8, 13)
    similarity = CrossAttention()
    expected = similarity(images, texts)
    monkeypatch.setattr(launch, "_said", set())
    monkeypatch.setattr(fused_attention, "_Run", full)
    for _ in range(2):
        torch.testing.assert_close(similarity(images, texts), expected)
    (message,) = [record.message for record in caplog.records]
    assert message == "out of memory with all vectors at once: the GPU scores in blocks, which is slower"


def test_sets_that_no_tile_holds_are_left_to_blocks_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launch, "_said", set())
    for _ in range(2):
        assert not launch.can_fuse(torch.ones(2, 3), [600], [40])
    (message,) = [record.message for record in caplog.records]
    assert message.startswith("no fused program holds sets of 600 with sets of 40 vectors")
