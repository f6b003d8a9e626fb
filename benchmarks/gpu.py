"""Everything that a GPU is for, in one run of at most eight minutes: equal first, then fast; one JSON.

    python benchmarks/gpu.py --out gpu.json [--device cuda] [--rounds 5]
    python benchmarks/gpu.py --smoke

It checks the programs of the GPU against the blocks, then measures beside the dense layout (MaxSim) and the
published one (SCAN's cross attention), on the same card: all pairs of COCO-5K's sizes (5,000 x 36 x 1,024
against 25,000 captions) as scores and as certified ranks; one training step of 384 pairs; a search among rows
on the GPU, and among rows that are sent to it. Without CUDA it says so; --smoke runs tiny sizes by Triton's
interpreter, whose times say nothing.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

ROUNDS = 5
TARGETS = {"all_pairs_seconds": 0.4, "step_times_faster": 10.0, "step_share_of_memory": 0.1}


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    images: int = 5000
    batch: int = 384
    rows: int = 100_000  # of the index
    streamed: int = 10_000  # rows that are sent to the GPU for a query
    dense_images: int = 1000  # of the dense layout, whose time is scaled up
    dim: int = 1024


SMOKE = Sizes(3, 4, 12, 6, 3, 48)


@dataclass(frozen=True)
class System:
    """A similarity, the layout to compare with, and the losses of a training step."""

    similarity: Any
    scores: Callable[[Any, Any], Any]  # of the other layout, without a gradient
    layout: Callable[[Any, Any], Any]  # with one
    losses: Sequence[str]


def systems() -> dict[str, System]:
    from dense import scan_scores, sharded_scores
    from training_step import layout

    from wordsight.similarity.cross_attention import CrossAttention
    from wordsight.similarity.max_sim import MaxSim

    return {
        "max_sim": System(MaxSim(), sharded_scores, layout, ["hardest"]),
        "cross_attention": System(CrossAttention(), scan_scores, scan_scores, ["hardest", "dense"]),
    }


def equality(system: System, device: str) -> dict[str, float | bool]:
    """The largest differences between the programs and the blocks, and whether ranks are the same."""
    import torch
    from scoring import make
    from training_step import step

    from wordsight.similarity.kernels import launch
    from wordsight.similarity.ranking.exact import rank_matches

    images, texts, image_of = make("clustered", 3 if launch.interpreted() else 200, device)
    own = torch.arange(len(images), device=device)

    def found() -> tuple[Any, ...]:
        gradients = [
            gradient
            for loss in system.losses
            for gradient in step(system.similarity, loss, images, texts[: len(images)])
        ]
        ranks = rank_matches(system.similarity, images, texts, own, image_of)
        return system.similarity(images, texts), gradients, ranks

    fast = found()
    with launch.disabled():
        slow = found()
    few = images[: min(50, len(images))], texts[:50]
    return {
        "scores_differ_by": float((fast[0] - slow[0]).abs().max()),
        "other_layout_differs_by": float((system.similarity(*few) - system.scores(*few)).abs().max()),
        "gradients_differ_by": max(
            float((a - b).norm() / b.norm()) for a, b in zip(fast[1], slow[1], strict=True)
        ),
        "ranks_are_equal": all(torch.equal(a, b) for a, b in zip(fast[2], slow[2], strict=True)),
    }


def all_pairs(system: System, sizes: Sizes, device: str, rounds: int) -> dict[str, Any]:
    """Scores in bfloat16, certified ranks, and the other layout in float32."""
    import torch
    from scoring import make

    from wordsight.similarity.ranking.exact import rank_matches

    images, texts, image_of = make("clustered", sizes.images, device)
    own, kind = torch.arange(sizes.images, device=device), torch.device(device).type

    @torch.no_grad()
    def scores() -> Any:
        with torch.autocast(kind, torch.bfloat16):
            return system.similarity(images, texts)

    @torch.no_grad()
    def others(some: Any, few: Any) -> Any:
        return system.scores(some, few)

    def ranks() -> Any:
        return rank_matches(system.similarity, images, texts, own, image_of)

    took = {
        "bfloat16_scores": timed(scores, device, rounds),
        "certified_ranks": timed(ranks, device, rounds),
    }
    some, few = images[: sizes.dense_images], texts[: 5 * sizes.dense_images]
    share = sizes.dense_images**2 / sizes.images**2
    dense = timed(lambda: others(some, few), device, 1)
    return took | {"dense_scores": dense | {"seconds": dense["seconds"] / share}}


def training_step(system: System, sizes: Sizes, device: str, rounds: int) -> dict[str, Any]:
    """Forward and backward of the similarity and of each loss."""
    from training_step import make, step

    images, texts = make(sizes.batch, device)
    layouts = {"wordsight": system.similarity, "dense": system.layout}
    return {
        loss: {
            name: timed(lambda score=score, loss=loss: step(score, loss, images, texts), device, rounds)
            for name, score in layouts.items()
        }
        for loss in system.losses
    }


def search(sizes: Sizes, device: str, rounds: int) -> dict[str, Any]:
    """A query of eight words among rows on the GPU, and among rows in the processor's memory."""
    import torch

    from wordsight.sets import EmbeddingSet, UnitSet
    from wordsight.similarity.kernels.packed import unit
    from wordsight.similarity.max_sim import MaxSim

    count = sizes.rows
    if torch.device(device).type == "cuda":
        count = min(count, int(torch.cuda.mem_get_info()[0] / 3 / (36 * sizes.dim * 4)))
    rows = UnitSet(
        unit(torch.randn(count, 36, sizes.dim, device=device)),
        torch.ones(count, 36, dtype=torch.bool, device=device),
    )
    query = EmbeddingSet(torch.randn(1, 8, sizes.dim), torch.ones(1, 8, dtype=torch.bool)).to(device)
    stored = rows[: sizes.streamed].to("cpu")

    def streamed() -> Any:
        return MaxSim()(stored.to(device), query)

    with torch.no_grad():
        return {
            "rows": count,
            "on_device": timed(lambda: MaxSim()(rows, query), device, rounds),
            "streamed_rows": sizes.streamed,
            "streamed": timed(streamed, device, rounds),
        }


def timed(act: Callable[[], Any], device: str, rounds: int) -> dict[str, float]:
    """Median seconds and peak memory, after one run that compiles."""
    from measuring import measured

    kind = device.split(":")[0]
    measured(act, kind)
    taken = [measured(act, kind)[1] for _ in range(rounds)]
    return {"seconds": median(one["wall"] for one in taken), "mb": median(one["extra_mb"] for one in taken)}


def measure(sizes: Sizes, device: str, rounds: int) -> dict[str, Any]:
    import scoring
    import torch
    import training_step as steps_of

    scoring.DIM = steps_of.DIM = sizes.dim
    began, parts = monotonic(), systems()
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "interpreter",
        "torch": torch.__version__,
        "sizes": asdict(sizes),
        "equality": {name: equality(system, device) for name, system in parts.items()},
        "all_pairs": {name: all_pairs(system, sizes, device, rounds) for name, system in parts.items()},
        "training_step": {
            name: training_step(system, sizes, device, rounds) for name, system in parts.items()
        },
        "search": search(sizes, device, rounds),
        "seconds": 0.0,
    }
    found["seconds"] = monotonic() - began
    if not device.startswith("cuda"):
        return found
    steps = found["training_step"]["max_sim"]["hardest"]
    reached = {
        "all_pairs_seconds": found["all_pairs"]["max_sim"]["certified_ranks"]["seconds"],
        "step_times_faster": steps["dense"]["seconds"] / steps["wordsight"]["seconds"],
        "step_share_of_memory": steps["wordsight"]["mb"] / max(1.0, steps["dense"]["mb"]),
    }
    return found | {"reached": reached, "targets": TARGETS}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the JSON to write; else stdout")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, by the interpreter")
    options = parser.parse_args()
    if options.smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
        from wordsight.similarity.kernels import launch

        launch.ON_PROCESSOR = True
        found = measure(SMOKE, "cpu", 1)
    else:
        from wordsight.errors import InputError
        from wordsight.runtime.device import find_device

        try:
            found = measure(Sizes(), str(find_device(options.device)), options.rounds)
        except InputError as error:
            sys.exit(f"{error}; for tiny sizes by the interpreter: --smoke")
    text = json.dumps(found, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
