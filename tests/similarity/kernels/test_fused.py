"""The Triton programs against a slow loop, run by Triton's interpreter on the processor."""

from typing import Any

import pytest
import torch
from support.fake_gpu import fake_gpu
from support.interpreted_programs import ragged, run_on_the_interpreter
from torch import Tensor

from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels import fused, launch
from wordsight.similarity.kernels.packed import PackedTexts, unit
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum
from wordsight.similarity.ranking.exact import rank_matches
from wordsight.similarity.ranking.fused_screen import fused_screen

pytest.importorskip("triton", reason="the programs are written in Triton: pip install triton")

POOLINGS: list[Pooling] = [Mean(), Sum(), Max(), LogSumExp(0.1), LogSumExp(0.05, scaled=False), Softmax(0.2)]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    run_on_the_interpreter(monkeypatch)


def slow_loop(images: EmbeddingSet, texts: EmbeddingSet, pooling: Pooling) -> Tensor:
    rows = []
    for image, real in zip(images.vectors, images.mask, strict=True):
        row = []
        for text, words in zip(texts.vectors, texts.mask, strict=True):
            best = [max(float(word @ region) for region in unit(image[real])) for word in unit(text[words])]
            row.append(pooling(torch.tensor(best)))
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda one: f"{type(one).__name__}")
def test_scores_equal_the_slow_loop(pooling: Pooling) -> None:
    images, texts = ragged(7, 5, 20, 0), ragged(9, 4, 20, 1)
    found = fused.fused_scores(PackedTexts(images, "image"), PackedTexts(texts, "text"), pooling, None)
    assert found is not None
    torch.testing.assert_close(found, slow_loop(images, texts, pooling), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 31, 65])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_any_dimension(dim: int, dtype: torch.dtype) -> None:
    """Products of halves are exact in float32: the slow loop over rounded vectors gives the same scores."""
    images, texts = ragged(3, 40, dim, 2), ragged(4, 20, dim, 3)
    contexts, queries = PackedTexts(images, "image"), PackedTexts(texts, "text")
    left, right = (side.unit_rows(0, len(side)).to(dtype) for side in (contexts, queries))
    found = fused.scores_of_rows(left, right, contexts, queries, Mean())
    for a in range(3):
        for b in range(4):
            own = left[contexts.starts[a] : contexts.starts[a + 1]].float()
            words = right[queries.starts[b] : queries.starts[b + 1]].float()
            expected = (own @ words.T).amax(0).mean()
            assert float(found[contexts.order[a], queries.order[b]]) == pytest.approx(
                float(expected), abs=1e-5
            )


@pytest.mark.parametrize(("items", "dtype"), [(6, torch.uint8), (300, torch.int16)])
def test_places_are_the_first_best_rows(items: int, dtype: torch.dtype) -> None:
    images, texts = ragged(3, items, 12, 4), ragged(5, 3, 12, 5)
    images.vectors[:, 1] = images.vectors[:, 0]  # a tie
    contexts, queries = PackedTexts(images, "image"), PackedTexts(texts, "text")
    assert MaxSim().place_dtype(contexts) == dtype
    both = fused.fused_matches(contexts, queries, dtype, None)
    assert both is not None
    right = queries.unit_rows(0, len(queries))
    for number in range(3):
        cosines = contexts.unit_rows(number, number + 1) @ right.T
        torch.testing.assert_close(both[0][number], cosines.amax(0), rtol=1e-5, atol=1e-6)
        chosen = both[1][number].long()
        torch.testing.assert_close(cosines.gather(0, chosen[None])[0], cosines.amax(0), rtol=1e-5, atol=1e-6)
        assert not bool((chosen == 1).any()) or not bool(images.mask[contexts.order[number], 1])


@pytest.mark.parametrize("direction", ["word", "region"])
@pytest.mark.parametrize("pooling", ["mean", "log-sum-exp", "max"])
def test_training_by_the_programs_equals_training_by_blocks(
    direction: Any, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> list[Tensor]:
        images, texts = ragged(6, 5, 20, 6), ragged(5, 4, 20, 7)
        vectors = [one.vectors.nan_to_num().requires_grad_() for one in (images, texts)]
        sets = [EmbeddingSet(one, its.mask) for one, its in zip(vectors, (images, texts), strict=True)]
        scores = MaxSim(direction, pooling)(*sets)
        (scores * torch.arange(30).reshape(6, 5).remainder(3)).sum().backward()
        return [scores.detach(), *(one.grad for one in vectors if one.grad is not None)]

    by_programs = trained()
    monkeypatch.setattr(launch, "ON_PROCESSOR", False)
    by_blocks = trained()
    assert len(by_blocks) == 3
    torch.testing.assert_close(by_programs, by_blocks, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", ["word", "region"])
@pytest.mark.parametrize("pooling", ["mean", "log-sum-exp"])
def test_ranks_after_a_screen_in_bfloat16_are_those_of_float64(
    direction: Any, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where scores of many pairs are so close that bfloat16 leaves them open."""
    images, texts = ragged(12, 4, 24, 8), ragged(15, 3, 24, 9)
    near = EmbeddingSet(images.vectors * 1e-3 + images.vectors[:1, :1], images.mask)
    for some in (images, near):
        arguments = (MaxSim(direction, pooling), some, texts, torch.arange(12), torch.arange(15) % 12)
        found = rank_matches(*arguments)
        with monkeypatch.context() as changed:
            changed.setattr(launch, "ON_PROCESSOR", False)
            expected = rank_matches(*arguments)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


def test_the_bound_of_bfloat16_holds_and_is_of_use() -> None:
    images, texts, similarity = ragged(9, 4, 64, 10), ragged(8, 3, 64, 11), MaxSim(pooling="mean")
    contexts, queries = similarity.sides(images, texts)
    exact = similarity.double()(
        EmbeddingSet(images.vectors.double(), images.mask), EmbeddingSet(texts.vectors.double(), texts.mask)
    )[contexts.order][:, queries.order]
    screen = fused_screen(similarity, contexts, queries, 0.0)
    assert screen is not None
    block = screen(0, 9)
    assert block is not None
    off = (block.scores - exact).abs()
    assert bool((off <= block.error).all())
    assert bool((off > block.error / 100).any())
    assert float(block.error.max()) < 0.01


def test_few_queries_take_a_narrow_tile_and_long_sets_one_that_holds_them() -> None:
    """A search has one text: a wide tile would multiply mostly nothing."""
    half = fused.HALF
    assert fused._shape(half, 36, 25, 300_000) == half
    assert fused._shape(half, 36, 8, 8) == half._replace(BN=launch.SMALLEST)
    assert fused._shape(half, 400, 5, 300_000) == half._replace(BM=512, BN=64)
    assert fused._shape(fused.FULL, 36, 130, 300_000).BN == 256
    assert fused._shape(half, 16, 200, 300_000) == half._replace(BM=64, BN=256)  # texts that regions look at


def test_the_programs_of_many_queries_are_numbered_along_one_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA counts to 65,535 along the second: an index of so many pictures searched by region has more."""
    grids: list[tuple[int, ...]] = []
    monkeypatch.setattr(fused, "launch", lambda program, grid, *a, **k: grids.append(grid) or False)
    images, texts = (
        ragged(2, 3, 4, 16),
        EmbeddingSet(torch.ones(70_000, 128, 1), torch.ones(70_000, 128, dtype=torch.bool)),
    )
    sides = PackedTexts(images, "image"), PackedTexts(texts, "text")
    fused.scores_of_rows(torch.ones(6, 1), torch.ones(len(texts) * 128, 1), *sides, Mean())
    assert grids == [(70_000,)]


def test_a_program_that_the_gpu_refuses_leaves_the_work_to_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from triton.runtime.errors import OutOfResources

    def refuse(device: torch.device) -> Any:
        raise OutOfResources(300_000, 200_000, "shared memory")

    images, texts = ragged(4, 3, 8, 12), ragged(5, 3, 8, 13)
    arguments = MaxSim(pooling="mean"), images, texts, torch.arange(4), torch.arange(5) % 4
    expected = MaxSim(pooling="mean")(images, texts), *rank_matches(*arguments)
    monkeypatch.setattr(launch, "_current", refuse)
    monkeypatch.setattr(launch, "_refused", set())
    ranks = rank_matches(*arguments)
    assert launch._refused == {(images.device, "score_program")}
    torch.testing.assert_close((MaxSim(pooling="mean")(images, texts), *ranks), expected)
    assert caplog.text.count("does not take score_program (out of resource: shared memory") == 1


def test_a_program_too_large_is_tried_with_fewer_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.errors import OutOfResources

    tried: list[int] = []

    class Program:
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return self.run

        def run(self, *, num_stages: int) -> None:
            tried.append(num_stages)
            if num_stages > 1:
                raise OutOfResources(150_000, 101_376, "shared memory")

    program: Any = Program()
    program.__name__ = "a program"
    monkeypatch.setattr(launch, "_refused", set())
    assert launch.launch(program, (1,), torch.ones(1), num_stages=3)
    assert tried == [3, 2, 1]
    assert not launch._refused


@pytest.mark.parametrize("message", ["Failed to find C compiler.", "Triton Error [CUDA]: out of memory"])
def test_a_gpu_where_no_program_starts_scores_in_blocks(
    message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory that ends in Triton's own call is no reason to give the programs up."""

    def broken(device: torch.device) -> Any:
        raise RuntimeError(message)

    images, texts = ragged(4, 3, 8, 12), ragged(5, 3, 8, 13)
    expected = MaxSim()(images, texts)
    monkeypatch.setattr(launch, "_current", broken)
    monkeypatch.setattr(launch, "_refused", set())
    monkeypatch.setattr(launch, "_said", set())
    with monkeypatch.context() as changed:
        changed.setattr(launch, "interpreted", lambda: False)
        changed.setattr(launch, "_is_usable", lambda number: True)
        changed.setattr(launch, "ON_PROCESSOR", False)
        changed.setattr(
            fused, "can_fuse", lambda *sides: (images.device, launch.EVERY) not in launch._refused
        )
        for _ in range(2):
            torch.testing.assert_close(MaxSim()(images, texts), expected)
    assert len(caplog.records) == 1
    assert bool(launch._refused) == ("compiler" in message)


def test_blocks_do_what_the_programs_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.ones(2, 3)
    assert launch.can_fuse(vectors, [3], [4])
    assert not launch.can_fuse(vectors.double(), [3], [4])
    assert not launch.can_fuse(vectors, [launch.LONGEST + 1], [4])
    assert not launch.can_fuse(vectors, [], [4])
    assert not launch.can_fuse(vectors, [500], [500])  # no tile holds both
    with launch.disabled():
        assert not launch.can_fuse(vectors, [3], [4])
    monkeypatch.setattr(launch, "ON_PROCESSOR", False)
    assert not launch.can_fuse(vectors, [3], [4])


@pytest.mark.parametrize(
    ("capability", "missing", "message"),
    [
        ((9, 0), "no C compiler", "no C compiler: the GPU scores in blocks, which is slower"),
        ((7, 5), None, "the GPU is too old for the fused programs: it scores in blocks, which is slower"),
    ],
)
def test_a_gpu_without_the_programs_says_why_once(
    capability: tuple[int, int], missing: str | None, message: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(launch, "interpreted", lambda: False)
    monkeypatch.setattr(launch, "missing_for_programs", lambda: missing)
    launch._is_usable.cache_clear()
    images, texts = ragged(3, 4, 8, 14), ragged(4, 3, 8, 15)
    expected = {kind: kind()(images, texts) for kind in (MaxSim, CrossAttention)}
    with fake_gpu(), monkeypatch.context() as changed:
        changed.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        for kind, scores in expected.items():
            found = kind()(images.to("cuda"), texts.to("cuda"))
            torch.testing.assert_close(found.cpu(), scores)
    (record,) = caplog.records
    assert record.message == message
    launch._is_usable.cache_clear()
