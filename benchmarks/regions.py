"""Search by regions at size: build, bytes, time against the bare product, recall; and other libraries.

    python benchmarks/regions.py PHOTOS_INDEX [--pictures 100000] [--regions 36] [--queries 100] [--at FOLDER]
    python benchmarks/regions.py PHOTOS_INDEX --pictures 20000 --others numpy qdrant lancedb fast-plaid

PHOTOS_INDEX is a trained index of photos with captions (README's demo makes one); pictures are made from its
vectors (clustered_vectors.py), queries are its captions. All runs on one thread. ``product`` multiplies all
vectors, in float32 and of unit length, with the words of a query and takes each word's best region: what an
exact search cannot save. Its vectors are in memory up to ``--product-mb``; of larger data a part is used and
its time is scaled. Recall is of the ten best of exact scores, by float32 products.

The made index cannot read texts, so ``--held-out`` of the queries measure the effort that it stores, as its
own captions do for a real index. With ``--truth FILE`` the best rows are computed once: a second run, with
``--product-mb 0``, is a fresh process whose memory is that of the searches. ``--cold`` makes the system
forget the files before. The axes depend on ``--queries``: an index needs the number that it was made with.

``--others`` search the same vectors: numpy by brute force, lancedb by its index, qdrant-edge-py by a scan.
They score by the sum of maxima and are compared with the ten best by that sum. One that is not installed is
skipped with a sentence; fast-plaid always is: its wheels need a torch of their own (2.11, with CUDA).
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from clustered_vectors import Photos, write_index
from measuring import anonymous, resident
from region_rivals import RIVALS

from wordsight.runtime.malloc import keep_freed_memory
from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.engine.engine import EngineQuery
from wordsight.search.engine.region_recall import least_effort
from wordsight.search.engine.regions import Regions
from wordsight.search.index import region_meta
from wordsight.search.index.index import Filters, Index
from wordsight.search.index.region_lists import RegionLists
from wordsight.search.searcher_state import SearchSession
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity
from wordsight.similarity.kernels.blocks import cosines_of
from wordsight.similarity.max_sim import MaxSim

TOP = 10
PICTURES_AT_ONCE = 4000
SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)  # of the pictures that pass a filter


def timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, and seconds of wall and CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = act()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def blocks(index: Index) -> Iterator[tuple[slice, torch.Tensor]]:
    """Stored vectors in float32: [picture, region, dim]."""
    with index.snapshot() as snapshot:
        for start in range(0, len(snapshot), PICTURES_AT_ONCE):
            vectors = snapshot.embeddings(start, start + PICTURES_AT_ONCE).vectors
            yield slice(start, start + len(vectors)), vectors


def exact_top(index: Index, queries: list[EmbeddingSet], similarity: Similarity) -> list[np.ndarray]:
    """The ten best rows of each query, by float32 products."""
    words = torch.cat([query.vectors[0] for query in queries])
    ends = np.cumsum([query.vectors.shape[1] for query in queries]).tolist()
    pooling = similarity.pooling_of_maxima
    assert pooling is not None
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for span, vectors in blocks(index):
        found = cosines_of(vectors, words).amax(1)
        for n, stop in enumerate(ends):
            start = ends[n - 1] if n else 0
            top = pooling(found[:, start:stop]).topk(min(TOP, len(vectors)))
            named = zip(top.values.tolist(), (top.indices + span.start).tolist(), strict=True)
            best[n] = sorted([*best[n], *named], key=lambda pair: (-pair[0], pair[1]))[:TOP]
    return [np.array([row for _, row in rows]) for rows in best]


def product(index: Index, queries: list[EmbeddingSet], most_mb: float) -> dict[str, float]:
    """CPU milliseconds of the float32 product alone, over vectors in memory."""
    parts, size = [], 0
    for _, vectors in blocks(index):
        parts.append(vectors)
        size += vectors.numel() * 4
        if size > most_mb * 2**20:
            break
    with index.snapshot() as snapshot:
        scale = len(snapshot) / sum(map(len, parts))
    for part in parts:
        cosines_of(part, queries[0].vectors[0]).amax(1)
    took = []
    for query in queries[: max(5, min(len(queries), round(20 / scale)))]:
        _, wall, cpu = timed(lambda q=query: [cosines_of(part, q.vectors[0]).amax(1) for part in parts])
        took.append((wall * scale, cpu * scale))
    return milliseconds(took) | {"scaled": scale}


def milliseconds(took: list[tuple[float, float]]) -> dict[str, float]:
    walls, cpus = zip(*took, strict=True)
    return {
        "p50": 1e3 * median(walls),
        "p95": 1e3 * sorted(walls)[int(0.95 * (len(walls) - 1))],
        "cpu": 1e3 * median(cpus),
    }


def recall(found: list[np.ndarray], best: list[np.ndarray]) -> float:
    return float(np.mean([np.isin(one, rows).mean() for rows, one in zip(found, best, strict=True)]))


class Measured:
    """Searches of the engine on one session of an index."""

    def __init__(self, index: Index, queries: list[EmbeddingSet], similarity: Similarity) -> None:
        self.session = SearchSession(index, index.snapshot(), 512, (0.01, 0.01))
        self.engine = Regions(self.session)
        assert not self.engine.obstacle, self.engine.obstacle
        self.scorers = [QueryScorer(similarity, query) for query in queries]

    def search(self, scorer: QueryScorer, filters: Filters) -> np.ndarray:
        rows = self.session.row_cache

        def score(some: np.ndarray | None) -> np.ndarray:
            return score_rows(scorer, rows, some, memory_mb=512)

        found = self.engine.search(EngineQuery(scorer, score), filters, TOP)
        best = np.argsort(-found.scores, kind="stable")[:TOP]
        return best if found.rows is None else found.rows[best]

    def run(self, filters: Filters = Filters()) -> tuple[list[np.ndarray], dict[str, float]]:  # noqa: B008
        for scorer in self.scorers[:3]:
            self.search(scorer, filters)
        found, took = [], []
        for scorer in self.scorers:
            rows, wall, cpu = timed(lambda one=scorer: self.search(one, filters))
            found.append(rows)
            took.append((wall, cpu))
        return found, milliseconds(took)


def filtered(measured: Measured, share: float) -> dict[str, float]:
    """A filter by date that passes a share of the pictures, against exact scores of those."""
    snapshot = measured.session.snapshot
    filters = Filters(after=float(np.quantile(snapshot.dates(), 1 - share)))
    found, took = measured.run(filters)
    rows = snapshot.rows_where(filters)
    some = measured.scorers[:10]
    exact = [score_rows(scorer, measured.session.row_cache, rows, memory_mb=512) for scorer in some]
    best = [rows[np.argsort(-scores, kind="stable")[:TOP]] for scores in exact]
    return {"share": share, **took, "recall": recall(found[:10], best)}


def report(name: str, numbers: dict[str, Any]) -> None:
    shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in numbers.items()}
    print(json.dumps({"what": name} | shown), flush=True)


def truth(
    index: Index, queries: list[EmbeddingSet], similarity: Similarity, stored: Path | None
) -> list[np.ndarray]:
    """The ten best rows of each query; from a file, if they are there."""
    if stored is not None and stored.is_file():
        return list(np.load(stored))
    best, _, cpu = timed(lambda: exact_top(index, queries, similarity))
    report("exact scores of all queries together", {"cpu_s": cpu, "queries": len(queries)})
    if stored is not None:
        np.save(stored, np.stack(best))
    return best


def forget(folder: Path) -> None:
    """Make the system forget these files, as after a start of the machine."""
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, options: argparse.Namespace) -> None:
    photos = Photos.of(options.photos, options.dim, options.queries)
    drawn, similarity = photos.query_sets(), MaxSim("word", options.pooling)
    is_held_out = np.arange(len(drawn)) < 2 * options.held_out
    is_held_out[1::2] = False
    size = (options.pictures, options.regions)
    if not (folder / "index.json").is_file():
        _, wall, cpu = timed(lambda: write_index(folder, photos, *size, options.pooling))
        report("writing made vectors", {"wall_s": wall, "cpu_s": cpu})
    index = Index.open(folder)
    if region_meta.read_meta(folder) is None:
        _, wall, cpu = timed(index.index_regions)
        report("build", {"wall_s": wall, "cpu_s": cpu})
    lists = RegionLists.open(folder)
    assert lists is not None
    sizes = {name: size / options.pictures for name, size in index.stats().bytes.items() if name != "model"}
    report("bytes per picture", {**sizes, "lists": len(lists.tables.sizes), "entries": lists.meta.vectors})
    true = truth(index, drawn, similarity, options.truth)
    queries = [drawn[n] for n in np.flatnonzero(~is_held_out)]
    best = [true[n] for n in np.flatnonzero(~is_held_out)]
    bare = product(index, queries, options.product_mb) if options.product_mb else {"cpu": float("nan")}
    report("product", bare)
    if options.cold:
        forget(folder)
    before = resident()
    measured, wall, cpu = timed(lambda: Measured(index, queries, similarity))
    report("open", {"wall_s": wall, "cpu_s": cpu, "anonymous_mb": anonymous()})
    if options.held_out:
        some = np.flatnonzero(is_held_out)
        scorers = [QueryScorer(similarity, drawn[n]) for n in some]
        effort = least_effort(measured.engine, scorers, [true[n] for n in some])
        measured.engine.settings = effort  # type: ignore[misc]
        index.store_region_settings(lists.meta.number, effort)
        report("effort measured by other captions", vars(effort))
    for settings in options.settings or [None]:
        if settings is not None:
            chosen = region_meta.SearchSettings(*map(int, settings.split(",")), recall=0.0, queries=1)
            measured.engine.settings = chosen  # type: ignore[misc]
        found, took = measured.run()
        chosen = measured.engine.settings
        effort = {"probes": chosen.probes, "nearest": chosen.nearest, "candidates": chosen.candidates}
        ratio = {"of_product_cpu": took["cpu"] / bare["cpu"], "recall": recall(found, best)}
        memory = {"extra_mb": resident() - before, "resident_mb": resident(), "anonymous_mb": anonymous()}
        report("regions", {**effort, **took, **ratio, "stored_recall": chosen.recall, **memory})
    for share in SHARES if options.filters else ():
        report("filter", filtered(measured, share))
    compare_with_others(index, queries[:20], options)


def compare_with_others(index: Index, queries: list[EmbeddingSet], options: argparse.Namespace) -> None:
    """The same vectors searched by other libraries, which score by the sum."""
    for name in options.others:
        by_sum = exact_top(index, queries, MaxSim("word", "sum"))
        with tempfile.TemporaryDirectory(dir=index.folder.parent) as place:
            vectors = torch.cat([part for _, part in blocks(index)]).numpy()
            try:
                rival, wall, cpu = timed(lambda: RIVALS[name](vectors, Path(place)))  # noqa: B023
            except ImportError as error:
                report(name, {"not run": str(error)})
                continue
            found, took = [], []
            for query in queries:
                rows, *seconds = timed(lambda q=query: rival(q.vectors[0].numpy(), TOP))  # noqa: B023
                found.append(rows)
                took.append((seconds[0], seconds[1]))
            stored = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
            report(name, {"build_s": wall, "build_cpu_s": cpu, "bytes_per_picture": stored / options.pictures,
                          **milliseconds(took), "recall": recall(found, by_sum)})  # fmt: skip


def parser_of(description: str | None, regions: int, queries: int) -> argparse.ArgumentParser:
    """The options of benchmarks on made pictures."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, metavar="PHOTOS_INDEX")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--regions", type=int, default=regions, help="of each picture")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=queries)
    parser.add_argument("--at", type=Path, help="make what is measured here, or use what is there")
    return parser


def run(measure: Callable[[Path, argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Measure on one thread, in ``--at`` or in a folder that is removed afterwards."""
    torch.set_num_threads(1)
    keep_freed_memory()
    if options.at is not None:
        measure(options.at, options)
        return
    place = Path(tempfile.mkdtemp())
    try:
        measure(place / "made", options)
    finally:
        shutil.rmtree(place)


def main() -> None:
    parser = parser_of(__doc__, regions=36, queries=100)
    parser.add_argument("--pooling", default="mean")
    parser.add_argument("--product-mb", type=float, default=3000)
    parser.add_argument("--settings", nargs="*", metavar="EFFORT", help="instead of the measured")
    parser.add_argument("--held-out", type=int, default=0, help="of the queries, to measure the effort")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="the best rows, stored by the first run")
    parser.add_argument("--cold", action="store_true", help="search files that the system has forgotten")
    parser.add_argument("--filters", action="store_true", help="also search with filters")
    parser.add_argument("--others", nargs="*", default=[], choices=list(RIVALS))
    run(measure, parser.parse_args())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with torch.no_grad():
        main()
