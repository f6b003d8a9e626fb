"""One policy of devices: names, errors, halving, and every capability on a GPU that is pretended.

The pretended GPU (support/fake_gpu.py) computes with the processor, and refuses what a GPU refuses: an
operation on tensors of two devices. So a tensor that was made on the wrong device is found here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from click import Context
from support import search_models
from support.fake_gpu import FakeTensor, WrongDeviceError, fake_gpu
from support.small_problem import SETTINGS, small_matcher, small_pairs
from typer.main import get_command

import wordsight
from wordsight.cli.main import app
from wordsight.errors import InputError
from wordsight.evaluation import evaluate
from wordsight.learn.processes import backend_for
from wordsight.learn.training import fit
from wordsight.learn.triplet import Triplet
from wordsight.matcher import Matcher
from wordsight.runtime.device import cache_mb, find_device, training_device
from wordsight.runtime.halving import Halving
from wordsight.search.engine import row_cache
from wordsight.search.index.index import Index
from wordsight.search.relevance.fit_presence import fit_presence, word_vectors
from wordsight.search.searcher import Searcher
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity, on_device
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.ranking.exact import rank_matches

SOURCE = Path(wordsight.__file__).parent
NAMES = {"cpu", "cuda", "mps"}
MAY_NAME = {  # files that may name a device, and why
    "runtime/device.py": "the policy",
    "cli/choose_export.py": "asks without torch whether the processor is meant",
    "search/index/ray_encoder.py": "embeddings travel between processors",
    "doctor/choices.py": "says what the processor can do",
    "doctor/machine.py": "says what GPU there is",
    "importers/safe_torch_load.py": "a file is read into the processor's memory",
    "learn/compiling.py": "compiling pays on GPUs of CUDA only",
    "runtime/compiler.py": "each kind of device has its own compiler",
    "learn/precision.py": "bfloat16 is probed on a processor and looked up on a GPU",
    "learn/processes.py": "NCCL exchanges what lies on GPUs",
    "learn/resume.py": "optimizers count their steps on the processor",
    "learn/step.py": "two threads at once, on the processor only",
    "matcher/onnx_matcher.py": "onnxruntime computes on the processor",
    "tensors/array.py": "numpy computes on the processor",
    "encode/pool.py": "a fast path of the processor",
    "pretrained/dual_encoders.py": "a file is read into the processor's memory",
    "experiments/run_cell.py": "processor seconds of a run",
    "experiments/table.py": "processor seconds of a run",
    "read/pictures/backbone_reader.py": "where a new reader starts",
    "read/pictures/backbones.py": "where a new network starts",
    "read/pictures/onnx_backbone.py": "providers of ONNX by device",
    "sets.py": "a copy to the processor is waited for",
    "similarity/kernels/launch.py": "Triton compiles for CUDA",
    "similarity/kernels/few_shapes.py": "a fast path of the processor",
    "similarity/kernels/integer_product.py": "integer products of the processor",
    "similarity/kernels/matmul.py": "products by kind of device",
}


def test_nothing_else_names_a_device() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in NAMES
    }
    assert found == set(MAY_NAME)


def test_nothing_is_sent_to_a_gpu_by_a_method_of_its_own() -> None:
    """``.cuda()`` takes the current GPU, whatever was asked for."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (
                isinstance(node, ast.Attribute)
                and node.attr == "cuda"
                and isinstance(node.ctx, ast.Load)
                and not (isinstance(node.value, ast.Name) and node.value.id == "torch")
                and not (isinstance(node.value, ast.Attribute) and node.value.attr in ("version", "backends"))
            ), path


# Names and errors


def test_names() -> None:
    assert find_device("cpu") == torch.device("cpu")
    with fake_gpu():
        assert find_device("auto") == find_device("cuda:0") == torch.device("cuda", 0)
    assert find_device("auto").type in ("cpu", "cuda")
    with pytest.raises(
        InputError, match="--device gpu: no such device; give one of auto, cpu, cuda, cuda:1, mps"
    ):
        find_device("gpu")
    with pytest.raises(InputError, match="--device meta: wordsight does not use this kind"):
        find_device("meta")


def test_what_is_missing_is_one_sentence() -> None:
    with patch.object(torch.version, "cuda", None), pytest.raises(InputError, match="was built without CUDA"):
        find_device("cuda")
    with (
        fake_gpu(),
        pytest.raises(InputError, match="--device cuda:3: this machine has 1 GPU, numbered from 0"),
    ):
        find_device("cuda:3")
    with (
        patch.object(torch.version, "cuda", "12.8"),
        patch.object(torch.cuda, "is_available", lambda: False),
        pytest.raises(InputError, match="torch sees no GPU; see whether nvidia-smi does"),
    ):
        find_device("cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(
            InputError, match=r"--device mps: this (machine has no Apple GPU|torch was built)"
        ):
            find_device("mps")


def test_a_gpu_that_is_too_old_is_named_and_auto_passes_it(caplog: pytest.LogCaptureFixture) -> None:
    with fake_gpu(), patch.object(torch.cuda, "get_device_capability", lambda device=None: (6, 1)):
        with pytest.raises(InputError, match=r"compute capability 6\.1, and this torch needs 8\.0 or newer"):
            find_device("cuda")
        assert find_device("auto").type == "cpu"
    assert "too old: the processor is used" in caplog.text


def test_each_process_of_a_training_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with fake_gpu(), patch.object(torch.cuda, "device_count", lambda: 2):
        assert training_device("auto") == training_device("cuda") == torch.device("cuda", 1)
        assert training_device("cuda:0") == torch.device("cuda", 0)
    with fake_gpu():
        assert training_device("auto").type == "cpu"  # two processes, one GPU
    assert backend_for(torch.device("cuda", 1)) == "nccl"
    assert backend_for(torch.device("cpu")) == backend_for(None) == "gloo"


@pytest.mark.parametrize(
    "verb",
    [
        *("train", "evaluate", "search", "similar", "captions", "explain", "serve", "index", "labels"),
        *("compare", "calibrate", "demo", "features extract", "audit"),
    ],
)
def test_every_command_that_computes_takes_a_device(verb: str) -> None:
    command: Any = get_command(app)
    for name in verb.split():
        command = command.get_command(Context(command), name)
    assert "--device" in {option for parameter in command.params for option in parameter.opts}


# Out of memory


def test_halving_goes_on_with_half_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    done: list[tuple[int, int]] = []

    def work(start: int, stop: int) -> None:
        if stop - start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.append((start, stop))

    halving = Halving("rows")
    halving.run(work, 0, 10)
    assert done == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert [record.message for record in caplog.records] == [
        "out of memory with 10 rows at once; going on with 5",
        "out of memory with 5 rows at once; going on with 2",
    ]
    halving.run(work, 0, 2)
    assert done[-1] == (0, 2)


def test_halving_ends_at_a_single_row_and_passes_other_errors() -> None:
    def too_much(start: int, stop: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def wrong(start: int, stop: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(InputError, match="out of memory with 1 of the rows at a time; free some memory"):
        Halving("rows").run(too_much, 0, 4)
    with pytest.raises(RuntimeError, match="shapes differ"):
        Halving("rows").run(wrong, 0, 4)


def sets(count: int, items: int, seed: int) -> EmbeddingSet:
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, items + 1, (count,), generator=draw)
    return EmbeddingSet(torch.randn(count, items, 8, generator=draw), torch.arange(items) < lengths[:, None])


def test_scores_ranks_and_gradients_survive_an_error_of_memory(caplog: pytest.LogCaptureFixture) -> None:
    images, texts, similarity = sets(24, 5, 0), sets(30, 4, 1), MaxSim(memory_mb=1.0)
    identities = torch.arange(24), torch.arange(30) % 24
    scores, ranks = similarity(images, texts), rank_matches(similarity, images, texts, *identities)
    scores_of, failures = MaxSim.scores_of, iter([True])

    def once(*arguments: object) -> torch.Tensor:
        if next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return scores_of(*arguments)  # type: ignore[arg-type]

    for compute in (
        lambda: similarity(images, texts),
        lambda: rank_matches(similarity, images, texts, *identities),
    ):
        failures = iter([True])
        similarity.halving = Halving("vectors of a block of scores")
        with patch.object(MaxSim, "scores_of", once):
            found = compute()
        expected = scores if isinstance(found, torch.Tensor) else ranks
        torch.testing.assert_close(found, expected)
    assert caplog.text.count("going on with 12") >= 1


# On a pretended GPU


@pytest.fixture
def gpu() -> Iterator[None]:
    with fake_gpu():
        yield


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(gpu: None) -> None:
    there = torch.ones(3, device="cuda")
    assert there.device == torch.device("cuda", 0)
    with pytest.raises(WrongDeviceError, match="found one of shape"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match="can't convert"):
        there.numpy()
    assert torch.equal((there * 2).cpu(), torch.full((3,), 2.0))


def test_a_matcher_moves_with_all_its_parts() -> None:
    matcher = Matcher.from_pretrained(search_models.model("label-agreement"))
    with fake_gpu():
        matcher.to("cuda")
        assert not matcher.is_built("image_encoder")  # which follows when it is built
        assert {weight.device.type for weight in matcher.text_encoder.parameters()} == {"cuda"}
        assert {weight.device.type for weight in matcher.image_encoder.parameters()} == {"cuda"}
        assert {weight.device.type for weight in matcher.similarity.parameters()} == {"cuda"}
        scores = matcher.score([str(search_models.path_of(0))], ["a red ball", "two green things"])
        assert isinstance(scores, FakeTensor)
    there = Matcher.from_pretrained(search_models.model("label-agreement"))
    expected = there.score([str(search_models.path_of(0))], ["a red ball", "two green things"])
    torch.testing.assert_close(scores.inner, expected)


@pytest.mark.parametrize("kind", ["max-sim", "label-agreement", "order"])
def test_evaluation_on_a_gpu_finds_the_same_ranks(kind: str) -> None:
    here = evaluate(
        Matcher.from_pretrained(search_models.model(kind)), search_models.world(), intervals=False
    )
    with fake_gpu() as gpu:
        matcher = Matcher.from_pretrained(search_models.model(kind))
        there = evaluate(matcher, search_models.world(), intervals=False, device="cuda")
        assert matcher.device.type == "cuda"
        assert gpu.operations > 100
    assert there.by_name() == here.by_name()


@pytest.mark.parametrize("kind", ["max-sim", "label-agreement"])
def test_a_search_on_a_gpu_finds_the_same_hits(kind: str) -> None:
    query, picture = "a red -blue ball", search_models.path_of(3)
    here = Searcher(Index.open(search_models.index(kind).folder))
    expected = [here.find_images(query, 5).hits, here.similar(picture, 5, text="green").hits]
    first = expected[0][0].item.id
    reason = here.explain(query, first)
    with fake_gpu() as gpu:
        there = Searcher(Index.open(search_models.index(kind).folder), device="cuda")
        found = [there.find_images(query, 5).hits, there.similar(picture, 5, text="green").hits]
        assert there.matcher.device.type == "cuda"
        assert all(isinstance(block.vectors, FakeTensor) for _, block in there.session().row_cache.ready())
        assert there.explain(query, first).score == pytest.approx(reason.score, abs=1e-5)
        assert gpu.operations > 50
    for one, other in zip(expected, found, strict=True):
        assert [hit.item.path for hit in one] == [hit.item.path for hit in other]
        np.testing.assert_allclose([hit.score for hit in one], [hit.score for hit in other], atol=1e-5)


def test_probabilities_are_fitted_and_used_on_a_gpu() -> None:
    def shown(device: str) -> torch.Tensor:
        matcher = small_matcher().eval().to(device)
        matcher.presence = fit_presence(matcher, pairs, pairs)
        presence = matcher.to(device).presence
        assert presence is not None
        with torch.no_grad():
            pictures = matcher.encode_images(pairs.images.read(range(5)))
            rules = presence.rules_for(["red", "unknown"], lambda words: word_vectors(matcher, words))
            logits = rules.logits(pictures)
        assert logits.device.type == device
        return logits.cpu()

    pairs = small_pairs(images=120)
    with fake_gpu():
        torch.testing.assert_close(shown("cuda"), shown("cpu"), rtol=1e-2, atol=1e-2)


def test_texts_are_found_on_a_gpu() -> None:
    picture, folder = search_models.path_of(3), search_models.texts_index().folder
    expected = Searcher(Index.open(folder)).find_texts(picture, 5).hits
    with fake_gpu():
        found = Searcher(Index.open(folder), device="cuda").find_texts(picture, 5).hits
    assert [hit.item.text for hit in found] == [hit.item.text for hit in expected]


def test_rows_that_do_not_fit_are_streamed() -> None:
    folder = search_models.index().folder
    with fake_gpu() as gpu, patch.object(torch.cuda, "mem_get_info", lambda device=None: (4 << 10, 8 << 30)):
        assert cache_mb(256, gpu.device) < 1
        searcher = Searcher(Index.open(folder), device="cuda")
        found = searcher.find_images("a red ball", 5).hits
        rows = searcher.session().row_cache
        assert len(rows._cached) < len(rows._plan)
    expected = Searcher(Index.open(folder)).find_images("a red ball", 5).hits
    assert [hit.item.path for hit in found] == [hit.item.path for hit in expected]


def test_an_index_that_others_crowd_out_of_the_gpu_is_streamed(caplog: pytest.LogCaptureFixture) -> None:
    """Memory was free when the search began, and another program has taken it since."""
    expected = Searcher(Index.open(search_models.index().folder)).find_images("a red ball", 5).hits
    moved, failures = EmbeddingSet.to, [True]

    def crowded(self: EmbeddingSet, device: Any) -> EmbeddingSet:
        if len(self) > 1 and rows._cached and failures:
            failures.pop()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return moved(self, device)

    with fake_gpu(), patch.object(row_cache, "GPU_BLOCK_NUMBERS", 2000):
        searcher = Searcher(Index.open(search_models.index().folder), device="cuda")
        rows = searcher.session().row_cache
        with patch.object(EmbeddingSet, "to", crowded):
            found = searcher.find_images("a red ball", 5).hits
        assert len(rows._plan) > 2
        assert not rows._cached
    assert [hit.item.path for hit in found] == [hit.item.path for hit in expected]
    assert "out of memory: the GPU had 1 of the" in caplog.text


def test_training_on_a_gpu_equals_that_on_the_processor(tmp_path: Path) -> None:
    pairs, weights = small_pairs(), []
    for device in ("cpu", "cuda"):
        matcher = small_matcher(dropout=0.0)
        settings = SETTINGS.__class__(
            **vars(SETTINGS) | {"device": device, "epochs": 1, "ema": 0.0, "workers": 0}
        )
        with fake_gpu():
            fit(matcher, Triplet(), pairs, settings, tmp_path / device)
            weights.append({name: weight.detach().cpu() for name, weight in matcher.named_parameters()})
            assert matcher.device.type == device
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


def test_a_device_without_float64_ranks_on_the_processor() -> None:
    images, texts = sets(12, 3, 0), sets(12, 3, 1)
    identities = torch.arange(12), torch.arange(12)
    expected = rank_matches(MaxSim(), images, texts, *identities)
    with fake_gpu("mps") as gpu:
        with pytest.raises(TypeError, match="float64"):
            torch.ones(2, device=gpu.device).double()
        found = rank_matches(MaxSim(), images.to(gpu.device), texts.to(gpu.device), *identities)
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("similarity", [MaxSim(), CrossAttention()], ids=["max-sim", "cross-attention"])
def test_a_device_without_float64_scores(similarity: Similarity) -> None:
    images, texts = sets(5, 3, 0), sets(6, 3, 1)
    expected = similarity(images, texts)
    with fake_gpu("mps") as gpu:
        found = similarity(images.to(gpu.device), texts.to(gpu.device))
        torch.testing.assert_close(found.cpu(), expected)


def test_ranks_are_certified_in_true_float32() -> None:
    seen = []
    best_match = MaxSim.best_match

    def watched(*arguments: object) -> torch.Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return best_match(*arguments)  # type: ignore[arg-type]

    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    try:
        with patch.object(MaxSim, "best_match", watched):
            rank_matches(MaxSim(), sets(6, 3, 0), sets(6, 3, 1), torch.arange(6), torch.arange(6))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"highest"}


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="an older torch")
def test_the_newer_setting_of_tf32_is_set_aside_while_ranks_are_certified() -> None:
    """torch refuses to read its older setting then; training goes on with what the user set."""
    products = torch.backends.cuda.matmul
    products.fp32_precision = "tf32"
    try:
        rank_matches(MaxSim(), sets(6, 3, 0), sets(6, 3, 1), torch.arange(6), torch.arange(6))
        assert products.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert products.fp32_precision == "ieee"


def test_a_module_is_copied_only_to_another_device(gpu: None) -> None:
    layer = torch.nn.Linear(2, 2)
    assert on_device(layer, torch.device("cpu")) is layer
    assert next(on_device(layer, torch.device("cuda", 0)).parameters()).device.type == "cuda"
    assert next(layer.parameters()).device.type == "cpu"
    similarity = MaxSim()
    assert on_device(similarity, torch.device("cuda", 0)) is similarity
