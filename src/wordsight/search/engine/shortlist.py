"""A query -> the rows whose mean vectors are nearest to its own: candidates for the exact scores.

One product per row instead of one per pair of region and word. What it misses is measured, not assumed:
``measure_recall`` asks background texts both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from wordsight.matcher import Matcher
from wordsight.search.engine.brute_force import blocks
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.relevance.null_scores import spread_rows
from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels.packed import masked_unit

AT_ONCE = 50_000  # rows
SIZES = (300, 1000, 3000, 10_000)  # of shortlists
ENOUGH = 0.95  # recall from which on no larger one is tried
TOP = 10  # hits that recall is about
QUERIES = 24


@dataclass(frozen=True)
class Recall:
    """How many of the ten best of the exact search a shortlist of ``size`` holds, on average."""

    size: int
    recall: float
    queries: int


def mean_vector(query: EmbeddingSet) -> Float[np.ndarray, " dim"]:
    """Mean of unit vectors: the pooled vector that an index stores of each item."""
    total = masked_unit(query).sum(1)[0] / query.lengths[0]
    found: np.ndarray = total.float().cpu().numpy()
    return found


def nearest_rows(
    query: EmbeddingSet, snapshot: Snapshot, rows: Int[np.ndarray, " row"] | None, size: int
) -> Int[np.ndarray, " near"]:
    """The ``size`` rows of the largest product with the query's mean vector, ascending."""
    sought = mean_vector(query)
    count = len(snapshot) if rows is None else len(rows)
    products = np.empty(count, np.float32)
    for start in range(0, count, AT_ONCE):
        some = slice(start, min(count, start + AT_ONCE))
        stored = snapshot.pooled[some if rows is None else rows[some]]
        products[some] = stored.astype(np.float32) @ sought
    kept = np.sort(np.argpartition(-products, size - 1)[:size]) if size < count else np.arange(count)
    return kept if rows is None else rows[kept]


def measure_recall(
    matcher: Matcher, snapshot: Snapshot, texts: Sequence[str], memory_mb: float = 256.0
) -> Recall:
    """Recall of the smallest shortlist that is good enough, or of the largest, on some of these texts."""
    asked = [texts[n] for n in spread_rows(len(texts), QUERIES)]
    with torch.no_grad():
        queries = [matcher.encode_texts([text]) for text in asked]
    best_of_each = _best_of_each(matcher, snapshot, queries, memory_mb) if queries else []
    wanted = list(zip(queries, best_of_each, strict=True))
    measured = Recall(0, 0.0, len(asked))
    for size in SIZES:
        held = [np.isin(best, nearest_rows(query, snapshot, None, size)).mean() for query, best in wanted]
        measured = Recall(size, float(np.mean(held)) if held else 0.0, len(asked))
        if measured.recall >= ENOUGH:
            break
    return measured


@torch.no_grad()
def _best_of_each(
    matcher: Matcher, snapshot: Snapshot, queries: Sequence[EmbeddingSet], memory_mb: float
) -> list[Int[np.ndarray, " best"]]:
    """The best rows of several queries, in one reading of the index."""
    together, scores = EmbeddingSet.join(queries), np.empty((len(snapshot), len(queries)), np.float32)
    for start, stop, block in blocks(snapshot, None, memory_mb):
        scores[start:stop] = matcher.similarity(block.to(matcher.device), together).float().cpu().numpy()
    top = min(TOP, len(snapshot))
    return [np.argpartition(-column, top - 1)[:top] for column in scores.T]
