"""Rows of a snapshot and the words of a query -> scores, where each word's best region decides them.

It computes what the model's similarity does, without padding, copies and packing: of a shortlist, which is
read from all over the files, these take more time than the products.
"""

import numpy as np
from jaxtyping import Float, Int

from wordsight.search.engine.brute_force import check_numbers
from wordsight.search.index.decompose import Decomposition
from wordsight.search.index.snapshot import Snapshot
from wordsight.similarity.kernels.matmul import product
from wordsight.similarity.kernels.packed import EPSILON
from wordsight.tensors import torch

NUMBERS_AT_ONCE = 1 << 19  # of the vectors of a block: two megabytes, which a processor's cache holds


def scores_of(
    snapshot: Snapshot,
    rows: Int[np.ndarray, " row"],
    words: Float[np.ndarray, "word dim"],
    parts: Decomposition,
) -> Float[np.ndarray, " row"]:
    """Scores of these rows, in float32. Raises InputError for vectors that are not numbers."""
    best = np.empty((len(rows), len(words)), np.float32)
    counts = np.minimum(snapshot.lengths[rows], 1) if parts.first_only else snapshot.lengths[rows]
    ends, start = np.cumsum(counts, dtype=np.int64), 0
    while start < len(rows):
        before = int(ends[start - 1]) if start else 0
        most = before + NUMBERS_AT_ONCE // words.shape[1]
        stop = max(start + 1, int(np.searchsorted(ends, most, "right")))
        some = slice(start, stop)
        best[some] = _maxima(snapshot, rows[some], counts[some], words)
        start = stop
    scores: Float[np.ndarray, " row"] = parts.pool(torch.from_numpy(best)).numpy()
    check_numbers(scores)
    return scores


def _maxima(
    snapshot: Snapshot,
    rows: Int[np.ndarray, " row"],
    counts: Int[np.ndarray, " row"],
    words: Float[np.ndarray, "word dim"],
) -> Float[np.ndarray, "row word"]:
    """The largest cosine of each word with the first so many vectors of each row."""
    vectors = snapshot.vectors_of(rows, counts)
    cosines = product(vectors, torch.from_numpy(words))
    cosines /= torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + EPSILON
    if (counts == counts[0]).all():
        return cosines.view(len(rows), int(counts[0]), len(words)).amax(1).numpy()
    return np.maximum.reduceat(cosines.numpy(), np.cumsum(counts) - counts, axis=0)
