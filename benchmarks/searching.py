"""A sentence query over an index: p50 and p95, stage by stage, exact and by shortlist, and the bare product.

    python benchmarks/searching.py INDEX [--queries 60] [--threads 1 2] [--memory-mb 256] [--against SRC]
    python benchmarks/searching.py --make 8000 [--regions 5] [--dim 256] [--similarity max-sim]

INDEX is any index of pictures; it is copied, never changed. The sentences are captions of its pictures, or
made-up ones. "product alone" multiplies the same vectors, in memory and of unit length, with the same
sentences and takes each word's best region: what float32 cannot save. ``--against`` is the src folder of
another version, which is asked the same. Every variant runs in a process of its own. Milliseconds of CPU are
medians; on a shared machine read those, and their ratios. Memory is what a process has after all sentences
beyond its size with the model loaded. Recall is of the ten best of the exact search.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from made_index import captions, make_index
from measuring import in_own_process, resident

from wordsight.search import searcher as module
from wordsight.search.index.index import Index
from wordsight.search.relevance.null_scores import spread_rows
from wordsight.search.relevance.threshold import Calibration
from wordsight.search.searcher import Searcher
from wordsight.search.text_query import TextQuery
from wordsight.similarity.kernels.blocks import cosines_of
from wordsight.similarity.kernels.packed import unit

STAGES = ("state", "text", "levels", "scoring", "chances", "hits", "words")
VARIANTS = ("product alone", "exact", "shortlist")
TOP = 10


def sentences(index: Index, count: int) -> list[str]:
    """Captions, one of each of so many pictures evenly spread."""
    with index.snapshot() as snapshot:
        told = [item.text.split("\n")[0] for item in snapshot.items(spread_rows(len(snapshot), count))]
    texts = [text for text in told if text.strip()] or captions(count, seed=1)
    return [f'"{text.replace(chr(34), " ")}"' for text in texts]  # quoted: no sign in it is an operator


class Stopwatch:
    """CPU seconds of each call of some functions, by stage."""

    def __init__(self) -> None:
        self.took: dict[str, float] = defaultdict(float)

    def around(self, stage: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return act(*given, **named)
            finally:
                self.took[stage] += time.process_time() - began

        return timed

    def watch(self, asking: Searcher) -> None:
        asking.sessions.session = self.around("state", asking.sessions.session)  # type: ignore[method-assign]
        for owner, name, stage in (
            (module, "encode_query", "text"),
            (Calibration, "levels", "levels"),
            (Searcher, "_scored", "scoring"),
            (Searcher, "_judged", "chances"),
            (module, "page_of", "hits"),
            (TextQuery, "with_words", "words"),
        ):
            if hasattr(owner, name):  # another version may do without
                setattr(owner, name, self.around(stage, getattr(owner, name)))


def search(index: Index, engine: str, queries: Sequence[str], memory_mb: float) -> dict[str, Any]:
    _ = index.matcher
    before = resident()
    asking, watch = Searcher(index, memory_mb), Stopwatch()
    watch.watch(asking)
    for query in queries[:3]:  # measures the background, and whatever is kept
        asking.find_images(query, engine=engine)
    asked, found = [], []
    for query in queries:
        watch.took.clear()
        with timed() as took:
            hits = asking.find_images(query, k=TOP, engine=engine)
        asked.append(dict(took) | {stage: watch.took[stage] for stage in STAGES})
        found.append([hit.item.id for hit in hits.hits])
    return {**summary(asked), "extra_mb": resident() - before, "found": found}


@torch.no_grad()
def product_alone(index: Index, queries: Sequence[str]) -> dict[str, Any]:
    with index.snapshot() as snapshot:
        rows = np.arange(len(snapshot))
        widest = snapshot.gather(rows[:1] if not len(rows) else rows[[snapshot.lengths.argmax()]])
        before, shape = resident(), (len(rows), *widest.vectors.shape[1:])
        vectors = torch.empty(shape)
        for start in range(0, len(rows), 500):
            block = snapshot.gather(rows[start : start + 500]).vectors
            vectors[start : start + 500, : block.shape[1]] = unit(block)
    texts = [unit(index.matcher.encode_texts([query.strip('"')]).vectors[0]) for query in queries]
    asked = []
    for text in [*texts[:3], *texts]:
        with timed() as took:
            cosines_of(vectors, text).amax(1)
        asked.append(dict(took))
    return {**summary(asked[3:]), "extra_mb": resident() - before}


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    took: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield took
    took["wall"], took["cpu"] = time.perf_counter() - wall, time.process_time() - cpu


def summary(asked: Sequence[dict[str, float]]) -> dict[str, float]:
    """Milliseconds."""
    walls = sorted(1000 * each["wall"] for each in asked)
    told = {name: 1000 * median(each[name] for each in asked) for name in asked[0] if name != "wall"}
    return {**told, "p50": median(walls), "p95": walls[int(0.95 * (len(walls) - 1))]}


def run(folder: Path, variant: str, options: argparse.Namespace) -> dict[str, Any]:
    index = Index.open(folder)
    queries = sentences(index, options.queries)
    if variant == "product alone":
        return product_alone(index, queries)
    return search(index, variant, queries, options.memory_mb)


def compare(folder: Path, options: argparse.Namespace) -> None:
    with Index.open(folder).snapshot() as snapshot:
        vectors = int(snapshot.lengths.sum())
        print(f"{len(snapshot):,} pictures, {vectors:,} vectors of {snapshot.layout.dim}\n")
    heads = ["p50", "p95", "CPU", *STAGES, "rest", "of the product", "extra MB", "recall"]
    for threads in options.threads:
        print(f"threads: {threads}\n\n| variant | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
        sources = {"": None} | ({"before: ": options.against} if options.against else {})
        results: dict[str, dict[str, Any]] = {}
        for variant in VARIANTS:
            for name, source in sources.items():
                if variant == "product alone" and source:
                    continue
                results[name + variant] = asked = measure(folder, variant, threads, source, options)
                found = results.get(f"{name}exact", {}).get("found")
                print(row(name + variant, asked, results["product alone"]["cpu"], found), flush=True)
        print()


def measure(
    folder: Path, variant: str, threads: int, source: str | None, options: argparse.Namespace
) -> dict[str, Any]:
    arguments = [str(folder), f"--variant={variant}", f"--threads={threads}", f"--queries={options.queries}"]
    environment = {"OMP_NUM_THREADS": str(threads)} | ({"PYTHONPATH": source} if source else {})
    arguments.append(f"--memory-mb={options.memory_mb}")
    return in_own_process(__file__, arguments, os.environ | environment)


def row(name: str, asked: dict[str, Any], product: float, exact: list[list[int]] | None) -> str:
    stages = [asked.get(stage) for stage in STAGES]
    rest = asked["cpu"] - sum(filter(None, stages)) if all(s is not None for s in stages) else None
    cells = [asked["p50"], asked["p95"], asked["cpu"], *stages, rest]
    told = ["" if value is None else f"{value:.1f}" for value in cells]
    recall = ""
    if exact is not None and "found" in asked:
        pairs = zip(asked["found"], exact, strict=True)
        recall = f"{np.mean([len(set(ours) & set(all_)) / max(1, len(all_)) for ours, all_ in pairs]):.3f}"
    told += [f"{asked['cpu'] / product:.1f} x", f"{asked['extra_mb']:.0f}", recall]
    return f"| {name} | {' | '.join(told)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path, nargs="?")
    parser.add_argument("--make", type=int, metavar="N", help="an index of N made-up pictures instead")
    parser.add_argument("--regions", type=int, default=5, help="of each of them; a square number is a grid")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--similarity", default="max-sim")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory-mb", type=float, default=256)
    parser.add_argument("--against", metavar="SRC", help="the src folder of another version")
    parser.add_argument("--variant", choices=VARIANTS, help="one measurement, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads[0])
    if (options.index is None) == (options.make is None):
        parser.error("give the folder of an index, or --make N")
    if options.variant:
        print(json.dumps(run(options.index, options.variant, options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        if options.make:
            make_index(folder, options.make, options.regions, options.dim, options.similarity)
        else:
            shutil.copytree(options.index, folder)
        compare(folder, options)


if __name__ == "__main__":
    main()
