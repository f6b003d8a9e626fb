"""A query -> the rows with the nearest mean vectors: candidates for exact scoring.

One product per row instead of one per pair of region and word. ``measure_recall`` measures the recall with
background texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from wordsight.matcher import Matcher
from wordsight.search.engine.brute_force import blocks
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores, mean_vector
from wordsight.search.index.database import Filters
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.relevance.null_scores import spread_rows
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

ROWS_PER_PRODUCT = 50_000  # rows
SIZES = (300, 1000, 3000, 10_000)  # of shortlists
SUFFICIENT_RECALL = 0.95  # with this recall no larger shortlist is tried
RECALL_AT = 10  # hits of the exact search
MAX_QUERIES = 24


@dataclass(frozen=True)
class Recall:
    """Share of the exact search's ten best that a shortlist of ``size`` contains, on average."""

    size: int
    recall: float
    queries: int


class Shortlist(Engine):
    """Scores the rows with the nearest mean vectors."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        size = max(self.session.recall.size, 4 * k)
        rows = self.snapshot.rows_where(filters)
        return query.score(nearest_rows(query.vectors, self.snapshot, rows, size))


def nearest_rows(
    query: EmbeddingSet, snapshot: Snapshot, rows: Int[np.ndarray, " row"] | None, size: int
) -> Int[np.ndarray, " near"]:
    """The ``size`` rows with the largest product with the query's mean vector, ascending."""
    query_mean = mean_vector(query)
    count = len(snapshot) if rows is None else len(rows)
    products = np.empty(count, np.float32)
    for start in range(0, count, ROWS_PER_PRODUCT):
        some = np.arange(start, min(count, start + ROWS_PER_PRODUCT))
        stored = snapshot.mean_vectors(some if rows is None else rows[some])
        products[some] = stored.astype(np.float32) @ query_mean
    nearest = np.sort(np.argpartition(-products, size - 1)[:size]) if size < count else np.arange(count)
    return nearest if rows is None else rows[nearest]


def measure_recall(
    matcher: Matcher, snapshot: Snapshot, texts: Sequence[str], memory_mb: float = 256.0
) -> Recall:
    """Recall of the smallest sufficient shortlist, or else of the largest, on some of these texts."""
    chosen = [texts[n] for n in spread_rows(len(texts), MAX_QUERIES)]
    with torch.no_grad():
        queries = [matcher.encode_texts([text]) for text in chosen]
    best = best_of_each(matcher, snapshot, queries, memory_mb) if queries else []
    wanted = list(zip(queries, best, strict=True))
    measured = Recall(0, 0.0, len(chosen))
    for size in SIZES:
        recalls = [np.isin(rows, nearest_rows(query, snapshot, None, size)).mean() for query, rows in wanted]
        measured = Recall(size, float(np.mean(recalls)) if recalls else 0.0, len(chosen))
        if measured.recall >= SUFFICIENT_RECALL:
            break
    return measured


@torch.no_grad()
def best_of_each(
    matcher: Matcher, snapshot: Snapshot, queries: Sequence[EmbeddingSet], memory_mb: float
) -> list[Int[np.ndarray, " best"]]:
    """The best rows of several queries, in one scan of the index."""
    together, scores = EmbeddingSet.join(queries), np.empty((len(snapshot), len(queries)), np.float32)
    for start, stop, block in blocks(snapshot, None, memory_mb):
        scores[start:stop] = matcher.similarity(block.to(matcher.device), together).float().cpu().numpy()
    top = min(RECALL_AT, len(snapshot))
    return [np.argpartition(-column, top - 1)[:top] for column in scores.T]
