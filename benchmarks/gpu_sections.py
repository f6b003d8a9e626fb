"""Sections of gpu.py: each yields numbers by name, the most important first."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import dense
import gpu_programs
import scoring
import torch
import training_step as steps
from made_index import captions, make_index
from measuring import measured

from wordsight.runtime.compiler import missing_for_programs
from wordsight.sets import EmbeddingSet
from wordsight.similarity.cross_attention import CrossAttention
from wordsight.similarity.kernels import fused, launch
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.ranking.exact import rank_matches

Numbers = Iterator[tuple[str, Any]]
TEST = Path(__file__).parents[1] / "tests" / "learn" / "test_processes.py"


@dataclass(frozen=True)
class Run:
    """Where and how much is measured."""

    device: str = "cuda"
    rehearsal: bool = False
    images: int = 5000  # of COCO-5K; five captions each
    dense_images: int = 1000  # of the other layout, whose time is scaled up
    scan_images: int = 100
    batch: int = 384
    dim: int = 1024
    regions: int = 36
    words: int = 25  # of the longest text
    some: int = 200  # images, where equality is what is looked at
    rows: int = 20_000  # pictures of an index
    index_dim: int = 256
    product: int = 8192  # side of the matrices of a bare product
    rounds: int = 5
    combinations: int | None = None  # of programs; None: all
    directions: Sequence[str] = ("word", "region")
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16, torch.float16)
    losses: Sequence[str] = tuple(steps.LOSSES)

    @property
    def kind(self) -> str:
        return self.device.split(":")[0]

    @property
    def two(self) -> Sequence[torch.dtype]:
        """The types of numbers that are timed."""
        return self.dtypes[:2]


TINY = Run(
    "cpu", True, images=3, dense_images=2, scan_images=2, batch=3, dim=16, words=6, some=3, rows=6,
    index_dim=8, product=64, rounds=1, combinations=2, directions=("word",), dtypes=(torch.bfloat16,),
    losses=("hardest",),
)  # fmt: skip
SYSTEMS = {
    "max_sim": (MaxSim, dense.sharded_scores, steps.layout),
    "cross_attention": (CrossAttention, dense.scan_scores, dense.scan_scores),
}


def prepared(device: str, rehearse: bool) -> Run:
    """Raises InputError where the device is not there."""
    from wordsight.runtime.device import find_device

    run = TINY if rehearse else Run(str(find_device(device)))
    launch.ON_PROCESSOR = rehearse
    for data in (scoring, steps):
        vars(data).update(DIM=run.dim, REGIONS=run.regions, LONGEST=run.words)
    if run.kind == "cuda":
        torch.cuda.set_device(run.device)
        torch.empty(1, device=run.device)
    return run


def timed(run: Run, act: Callable[[], Any], rounds: int | None = None) -> dict[str, float]:
    """Median seconds and peak memory, after one run that compiles."""
    if not run.rehearsal:
        measured(act, run.kind)
    taken = [measured(act, run.kind)[1] for _ in range(rounds or run.rounds)]
    seconds = [one["wall"] for one in taken]
    return {
        "seconds": median(seconds),
        "worst": max(seconds),
        "mb": round(median(one["extra_mb"] for one in taken), 1),
    }


def facts(run: Run) -> Numbers:
    yield "torch", torch.__version__
    yield "python", sys.version.split()[0]
    yield "missing for programs", missing_for_programs()
    yield "GPUs", torch.cuda.device_count()
    if run.kind == "cuda":
        card = torch.cuda.get_device_properties(run.device)
        yield "card", card.name
        yield "compute capability", f"{card.major}.{card.minor}"
        yield "GB", round(card.total_memory / 2**30, 1)
        yield "cuda", torch.version.cuda
        yield "bf16", torch.cuda.is_bf16_supported(including_emulation=False)
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,power.limit,clocks.max.sm", "--format=csv"]
        yield "nvidia-smi", subprocess.run(query, capture_output=True, text=True, check=False).stdout
    side = run.product
    for dtype in (torch.bfloat16, torch.float32):
        matrix = torch.ones(side, side, dtype=dtype, device=run.device)
        took = timed(run, partial(torch.mm, matrix, matrix))["seconds"]
        yield f"product of {str(dtype).removeprefix('torch.')}: TFLOP/s", round(2 * side**3 / took / 1e12, 2)
    rows = torch.ones(side, side)
    took = timed(run, lambda: rows.to(run.device, copy=True))["seconds"]
    yield "copy to the device: GB/s", round(rows.numel() * 4 / took / 1e9, 2)


def equality(run: Run) -> Numbers:
    """Programs and blocks: scores, gradients and ranks; in float32, bfloat16 and float16."""
    images, texts, image_of = scoring.make("clustered", run.some, run.device)
    own = torch.arange(run.some, device=run.device)
    for name, (similarity, _, _) in SYSTEMS.items():
        for direction in run.directions:
            chosen = similarity(direction=direction)
            ranks = partial(rank_matches, chosen, images, texts, own, image_of)
            same = all(torch.equal(a, b) for a, b in zip(*gpu_programs.both(ranks), strict=True))
            yield f"{name} {direction} ranks are equal", same
            for dtype in run.dtypes:
                yield (
                    f"{name} {direction} {gpu_programs.short(dtype)}",
                    gpu_programs.differences(chosen, images, texts[: run.some], dtype, run.losses),
                )


def all_pairs(run: Run) -> Numbers:
    """Scores in bfloat16, certified ranks, and the other layout in float32, which some images stand for."""
    images, texts, image_of = scoring.make("clustered", run.images, run.device)
    own = torch.arange(run.images, device=run.device)
    words = int(texts.mask.sum())
    yield "TFLOP", round(2 * int(images.mask.sum()) * words * run.dim / 1e12, 2)
    for name, (similarity, other, _) in SYSTEMS.items():
        chosen = similarity()
        ranks = timed(run, partial(rank_matches, chosen, images, texts, own, image_of))
        yield f"{name} certified_ranks", ranks["seconds"]
        yield f"{name} certified_ranks of all rounds", ranks
        for dtype in run.two:
            with torch.no_grad(), gpu_programs.autocast(run.kind, dtype):
                took = timed(run, partial(chosen, images, texts))
            yield f"{name} scores {gpu_programs.short(dtype)}", took
        few = run.dense_images if name == "max_sim" else run.scan_images
        some = images[:few], texts[: 5 * few]
        with torch.no_grad():
            took = timed(run, partial(other, *some), 1)
        scaled = took["seconds"] * (run.images / few) ** 2
        yield f"{name} other layout, float32: seconds for all", scaled
        yield f"{name} other layout, of certified ranks: times", round(scaled / ranks["seconds"], 2)
        with torch.no_grad():
            off = (chosen(*some) - other(*some)).abs().max()
        yield f"{name} other layout differs by", float(off)


def training_step(run: Run) -> Numbers:
    """Forward and backward of the similarity and a loss, beside the other layout."""
    images, texts = steps.make(run.batch, run.device)
    for name, (similarity, _, layout) in SYSTEMS.items():
        for loss in run.losses:
            for dtype in run.two:

                def step(score: Any, loss: str = loss, dtype: torch.dtype = dtype) -> Any:
                    with gpu_programs.autocast(run.kind, dtype):
                        return steps.step(score, loss, images, texts)

                key = f"{name} {loss} {gpu_programs.short(dtype)}"
                rounds = run.rounds if name == "max_sim" else 2
                here, there = (timed(run, partial(step, score), rounds) for score in (similarity(), layout))
                yield key, {"wordsight": here, "other layout": there}
                yield f"{key} time", round(here["seconds"] / there["seconds"], 4)
                yield f"{key} memory", round(here["mb"] / max(1.0, there["mb"]), 4)


def tf32(run: Run) -> Numbers:
    """Ranks are those of true float32 whatever the user allows, and the user's setting stays."""
    images, texts, image_of = scoring.make("clustered", run.some, run.device)
    near = EmbeddingSet(images.vectors * 1e-3 + images.vectors[:1, :1], images.mask)  # all are close
    own = torch.arange(run.some, device=run.device)
    for name, (similarity, _, _) in SYSTEMS.items():
        ranks = partial(rank_matches, similarity(), near, texts, own, image_of)
        with launch.disabled():
            expected = ranks()
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            found = ranks()
            with launch.disabled():
                again = ranks()
            stays = torch.backends.cuda.matmul.allow_tf32
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False
        same = all(torch.equal(a, b) for one in (found, again) for a, b in zip(one, expected, strict=True))
        yield f"{name} ranks are equal", same and stays


def tiles(run: Run) -> Numbers:
    """Other tiles than HALF, FULL and HALF_PLACES, the best of them, and float32 by tensor cores."""
    images, texts, _ = scoring.make("clustered", max(2, run.images // 4), run.device)
    pairs = steps.make(run.batch, run.device)

    def scores(dtype: torch.dtype) -> Any:
        with torch.no_grad(), gpu_programs.autocast(run.kind, dtype):
            return MaxSim()(images, texts)

    def step() -> Any:
        with gpu_programs.autocast(run.kind, torch.bfloat16):
            return steps.step(MaxSim(), "hardest", *pairs)

    works: dict[str, Callable[[], Any]] = {
        "HALF": partial(scores, torch.bfloat16),
        "FULL": partial(scores, torch.float32),
        "HALF_PLACES": step,
    }
    for name, work in works.items():
        usual: fused.Shape = getattr(fused, name)
        taken: dict[str, float] = {}
        for shape in others_than(usual)[: run.combinations]:
            with patch.object(fused, name, shape), patch.object(launch, "_refused", set()):
                took = timed(run, work, 3 if run.rounds > 1 else 1)["seconds"]
                if not launch._refused:
                    taken[str(tuple(shape))] = took
            yield f"{name} seconds", dict(taken)
        best = min(taken, key=lambda shape: taken[shape])
        gain = round(taken.get(str(tuple(usual)), float("nan")) / taken[best], 3)
        yield f"{name} best", {"is": best, "the constant takes its time": gain}

    for precision in ("ieee", "tf32x3"):
        with patch.object(fused, "PRECISION", precision):
            score, train = partial(scores, torch.float32), partial(steps.step, MaxSim(), "hardest", *pairs)
            yield f"float32 by {precision}", {"scores": timed(run, score), "step": timed(run, train)}


def others_than(usual: fused.Shape) -> list[fused.Shape]:
    """The usual tile first, then its neighbours."""
    sizes = (64, 128), (128, 64), (128, 128), (128, 256), (256, 64), (256, 128)
    every = (fused.Shape(*size, *more) for size in sizes for more in product((32, 64, 128), (4, 8), (3, 4)))
    near = [
        one
        for one in every
        if one.BM * one.BN in (usual.BM * usual.BN, usual.BM * usual.BN // 2)
        and sum(a != b for a, b in zip(one, usual, strict=True)) <= 3
    ]
    return list(dict.fromkeys([usual, *near]))


def search(run: Run) -> Numbers:
    """A sentence in an index: rows that stay on the device, rows that are sent, and by the server."""
    from wordsight.search.engine import row_cache
    from wordsight.search.index.index import Index
    from wordsight.search.searcher import Searcher

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        make_index(Path(folder) / "index", run.rows, run.regions, run.index_dim)
        yield "index", {"pictures": run.rows, "made in": round(time.perf_counter() - began, 1)}
        query, pages = captions(1)[0], {}
        for device in dict.fromkeys([run.device, "cpu"]):
            searcher = Searcher(Index.open(Path(folder) / "index"), device=device)
            yield f"{device}, rows stay", timed(run, partial(searcher.find_images, query, 10))
            pages[device] = [hit.item.path for hit in searcher.find_images(query, 10).hits]
        yield "hits are those of the processor", len({str(page) for page in pages.values()}) == 1
        with patch.object(row_cache, "cache_mb", lambda *_: 64.0):
            searcher = Searcher(Index.open(Path(folder) / "index"), device=run.device)
            yield f"{run.device}, rows are sent", timed(run, partial(searcher.find_images, query, 10))
        yield from served(run, Path(folder) / "index", query)


def served(run: Run, folder: Path, query: str) -> Numbers:
    """The same by HTTP, as ``wordsight serve --device`` answers."""
    from wordsight.search.index.index import Index
    from wordsight.search.searcher import Searcher
    from wordsight.web.app import create_app
    from wordsight.web.server import address_of, listen
    from wordsight.web.server import run as serve

    app, started = create_app(Searcher(Index.open(folder), device=run.device), None), threading.Event()
    listener = listen("127.0.0.1", 0)
    threading.Thread(target=serve, args=(app, listener, started.set), daemon=True).start()
    assert started.wait(30)
    address = f"{address_of(listener, '127.0.0.1')}v1/search?query={query.replace(' ', '+')}"
    yield f"{run.device}, by the server", timed(run, lambda: urllib.request.urlopen(address).read())


def compiled(run: Run) -> Numbers:
    """What torch.compile gains: forward and back of encoders, as [training] compile = "auto" asks."""
    from wordsight.learn.compiling import Probe
    from wordsight.pairs import PairBatch
    from wordsight.sets import Regions, Tokens

    ids, features = torch.randint(1, 100, (run.batch, 20)), torch.randn(run.batch, run.regions, 2 * run.dim)
    images = Regions(features, None, torch.ones(features.shape[:2], dtype=torch.bool))
    batch = PairBatch(images, Tokens(ids, ids > 0), torch.arange(run.batch)).to(run.device)
    for name, (part, encoder) in encoders(run).items():
        matcher: Any = SimpleNamespace(**{part: encoder.to(run.device).train()})
        if run.rehearsal:  # without the code generator, which takes minutes on a processor
            encoder.compile = partial(encoder.compile, backend="eager")  # type: ignore[method-assign]
        for dtype in run.two:
            probe = Probe(matcher, lambda: batch, partial(gpu_programs.autocast, run.kind, dtype), 1)
            plain, began = probe.seconds(part), time.perf_counter()
            after = probe.compiled_seconds(part)
            took = {"seconds": plain, "compiled": after, "gain": round(plain / after, 3)}
            took["compiling took"] = round(time.perf_counter() - began, 1)
            yield f"{name} {gpu_programs.short(dtype)}", took


def encoders(run: Run) -> dict[str, tuple[str, torch.nn.Module]]:
    """Regions with a transformer, a GRU; where transformers is installed also an untrained BERT."""
    from wordsight.encode.recurrent import RecurrentEncoder
    from wordsight.encode.regions import RegionEncoder

    regions = RegionEncoder(feature_dim=2 * run.dim, dim=run.dim, attention="transformer", dropout=0.1)
    found: dict[str, tuple[str, torch.nn.Module]] = {"regions": ("image_encoder", regions)}
    if run.rehearsal:
        return found
    found["gru"] = "text_encoder", RecurrentEncoder(vocabulary_size=100, dim=run.dim)
    try:
        from transformers import BertConfig

        from wordsight.encode.bert import BertEncoder
    except ImportError:
        return found
    with tempfile.TemporaryDirectory() as folder:
        BertConfig().save_pretrained(folder)
        return {"bert": ("text_encoder", BertEncoder(folder, dim=run.dim, pretrained=False))} | found


def processes(run: Run) -> Numbers:
    """Two processes equal one: by NCCL where there are two GPUs."""
    count = torch.cuda.device_count()
    if count < 2 or run.rehearsal:
        yield "not measured", f"NCCL needs two GPUs; there {'is' if count == 1 else 'are'} {count} here"
        return
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(TEST), "-k", "two_processes and cuda"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    yield "equal", done.returncode == 0
    yield "said", done.stdout[-500:]


SECTIONS: dict[str, Callable[[Run], Numbers]] = {
    "facts": facts,
    "equality": equality,
    "all_pairs": all_pairs,
    "training_step": training_step,
    "tf32": tf32,
    "tiles": tiles,
    "search": search,
    "compile": compiled,
    "processes": processes,
    "all_programs": lambda run: gpu_programs.all_programs(run.device, run.combinations, min(9, run.some)),
}
