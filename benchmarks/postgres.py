"""Search of an index on PostgreSQL at size: build, bytes, time and recall of candidates and of exact scores.

    python benchmarks/postgres.py PHOTOS_INDEX [--pictures 100000] [--regions 16] [--dim 128] [--at FOLDER]

PHOTOS_INDEX is a trained index of photos with captions; the pictures are made from its vectors and the
queries are its captions (clustered_vectors.py), as in regions.py. The vectors are written into a local index,
copied onto the embedded server (the extra ``engine``), and searched by one client; the local index of regions
is searched in the same run. Recall is of the ten best of exact scores, by float32 products of these vectors.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from clustered_vectors import Photos, write_index
from regions import TOP, Measured, exact_top, milliseconds, parser_of, recall, report, run, timed

from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.engine.engine import EngineQuery
from wordsight.search.engine.shortlist import MAX_QUERIES
from wordsight.search.index.index import Filters, Index
from wordsight.search.index.region_meta import SearchSettings
from wordsight.search.postgres import local_server, near_index
from wordsight.search.postgres.address import index_url
from wordsight.search.postgres.conditions import conditions
from wordsight.search.postgres.score_sql import Words, pooled_sql, ranked_statement
from wordsight.search.postgres.session import PostgresSession
from wordsight.search.remote.copy_index import copy_index
from wordsight.search.searcher_state import new_session
from wordsight.sets import EmbeddingSet
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.pooling import Mean

EFFORT = SearchSettings(32, 1024, 1600)  # of the local index
SHARES = (0.5, 0.1, 0.01, 0.001)  # of the pictures that pass a filter
_BYTES = """SELECT sum(pg_total_relation_size(c.oid))
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relkind IN ('r', 'p')"""


def measure(folder: Path, options: argparse.Namespace) -> None:
    photos = Photos.of(options.photos, options.dim, options.queries + MAX_QUERIES)
    drawn, similarity = photos.query_sets(), MaxSim("word", "mean")
    held_out = drawn[::2][:MAX_QUERIES]
    queries = [query for query in drawn if not any(query is one for one in held_out)]
    if not (folder / "local" / "index.json").is_file():
        write_index(folder / "local", photos, options.pictures, options.regions, "mean")
    local, url = Index.open(folder / "local"), index_url(local_server.start(folder / "server") + "#made")
    best = exact_top(local, queries, similarity)
    report("local index", in_folder(local, queries, best))
    try:
        index, wall, _ = timed(lambda: copy_index(local, url))
        report("copy", {"wall_s": wall, "pictures_a_second": options.pictures / wall})
        session = new_session(index, 512, (0.01, 0.01))
        assert isinstance(session, PostgresSession)
        regions = options.pictures * options.regions
        near, wall, _ = timed(lambda: near_index.build(session.server, regions, options.dim))
        size = session.server.value("SELECT pg_relation_size(%s::regclass)", (near_index.NAME,))
        sizes = {"lists": near.lists, "bytes_per_picture": size / options.pictures}
        report("approximate index", {"wall_s": wall, **sizes})
        measured, wall, _ = timed(lambda: session.measure_recall(held_out))
        report("measured effort", {"wall_s": wall, **vars(measured)})
        size = int(session.server.value(_BYTES, (url.name,)))
        report("all tables and indexes", {"bytes_per_picture": size / options.pictures})
        report("plan of a shortlist", plan(session, queries[0]))
        dates = local.snapshot().dates()
        for name, some in (("shortlist", queries), ("exact", queries[: options.exact])):
            report(name, search(session, name, some, best, Filters()))
        for share in options.shares:
            filters = Filters(after=float(np.quantile(dates, 1 - share)))
            exact = [found(session, "exact", query, filters) for query in queries[:10]]
            report(f"filter {share:g}", search(session, "auto", queries[:10], exact, filters))
    finally:
        local_server.stop(folder / "server")


def in_folder(local: Index, queries: list[EmbeddingSet], best: list[np.ndarray]) -> dict[str, float]:
    """Build, bytes, time and recall of the index of regions, of the same vectors."""
    _, wall, _ = timed(local.index_regions)
    measured = Measured(local, queries, MaxSim("word", "mean"))
    measured.engine.settings = EFFORT  # type: ignore[misc]
    rows, took = measured.run()
    bytes_ = sum(size for name, size in local.stats().bytes.items() if name != "model") / len(
        local.snapshot()
    )
    return {"build_s": wall, "bytes_per_picture": bytes_, **took, "recall": recall(rows, best)}


def found(session: PostgresSession, engine: str, words: object, filters: Filters) -> np.ndarray:
    """The ten best rows of the local index, by their number in the path."""
    scorer = QueryScorer(MaxSim("word", "mean"), words)  # type: ignore[arg-type]
    query = EngineQuery(scorer, lambda rows: score_rows(scorer, session.snapshot, rows))
    hits = session.engine(engine).search(query, filters, TOP)
    assert hits.rows is not None
    rows = hits.rows[np.argsort(-hits.scores, kind="stable")[:TOP]]
    return np.array([int(Path(item.path).stem) for item in session.snapshot.items(rows)])


def plan(session: PostgresSession, query: EmbeddingSet) -> dict[str, int]:
    """How many words of a query are searched by the approximate index."""
    words, pooled = Words.of(query.vectors[0].numpy()), pooled_sql(Mean())
    assert pooled is not None
    statement = f"EXPLAIN {ranked_statement(words, pooled, conditions(None))}"
    lines = session.candidates(statement, words.parameters() | {"k": 500, "size": 300}, 1)
    return {"words": len(words), "index_scans": sum(near_index.NAME in line for (line,) in lines)}


def server_seconds(session: PostgresSession) -> float:
    """CPU seconds of the server's process so far; one connection serves all queries."""
    process = session.server.value("SELECT pg_backend_pid()")
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def search(
    session: PostgresSession, engine: str, queries: list, best: list[np.ndarray], filters: Filters
) -> dict[str, float]:
    """Milliseconds, with those of the server's CPU, and recall; the first search is not counted."""
    found(session, engine, queries[0], filters)
    rows, took, before = [], [], server_seconds(session)
    for query in queries:
        hits, wall, cpu = timed(lambda one=query: found(session, engine, one, filters))
        rows.append(hits)
        took.append((wall, cpu))
    of_server = 1e3 * (server_seconds(session) - before) / len(queries)
    shares = {"queries": len(queries), "recall": recall(rows, best[: len(rows)])}
    return milliseconds(took) | {"server_cpu": of_server} | shares


def main() -> None:
    parser = parser_of(__doc__, regions=16, queries=40)
    parser.add_argument("--exact", type=int, default=10, help="queries that are also searched exactly")
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES, help="that filters pass")
    run(measure, parser.parse_args())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with torch.no_grad():
        main()
