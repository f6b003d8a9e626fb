"""A sample of vectors -> centroids of lists in two levels, and a quantizer of residuals; vectors -> lists.

Two levels (about sqrt(lists) groups of lists) make training and assignment many times as quick as one.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wordsight.runtime.progress import Progress, silent
from wordsight.search.index.region_lists import Tables, import_faiss
from wordsight.tensors import torch

LISTS_PER_ROOT = 8  # lists = 8 sqrt(vectors)
MIN_PER_LIST = 32  # vectors
SAMPLES_PER_LIST = 40
ITERATIONS = 8
QUANTIZER_SAMPLE = 1 << 18  # vectors that the quantizer is trained on
AT_ONCE = 1 << 16  # vectors compared with all groups together
GROUPS_TRIED = 2  # of each vector, in the search for its nearest list; four find no better candidates


def list_count(vectors: int) -> int:
    return max(1, min(round(LISTS_PER_ROOT * math.sqrt(vectors)), vectors // MIN_PER_LIST))


def sample_size(vectors: int) -> int:
    """Vectors to train on."""
    return SAMPLES_PER_LIST * list_count(vectors)


def train(sample: Float[np.ndarray, "vector dim"], vectors: int, progress: Progress = silent) -> Tables:
    """Tables for so many vectors, with empty lists, and without means."""
    lists = min(list_count(vectors), max(1, len(sample)))
    if not len(sample):
        sample = np.eye(1, sample.shape[1], dtype=np.float32)
    groups = _means(sample, max(1, round(lists**0.5)))
    group_of = np.concatenate([(block @ groups.T).argmax(1) for block in _blocks(sample)])
    members = np.bincount(group_of, minlength=len(groups))
    shares = np.maximum(1, np.round(members / len(sample) * lists).astype(int))
    parts = []
    for group, count in enumerate(shares.tolist()):
        some = sample[group_of == group]
        parts.append(_means(some, count) if len(some) else groups[group : group + 1])
        progress("training lists", group + 1, len(groups))
    centroids = np.concatenate(parts)
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    untrained, sizes = np.zeros(2 * sample.shape[1], np.float32), np.zeros(len(centroids), np.int64)
    empty = Tables(centroids, groups, starts, untrained, sizes, untrained)
    some = sample[:: max(1, len(sample) // QUANTIZER_SAMPLE)]
    trained = quantizer(some - centroids[assign(some, empty)])
    return Tables(centroids, groups, starts, trained, sizes, untrained)


def _blocks(vectors: Float[np.ndarray, "vector dim"]) -> Iterator[Float[np.ndarray, "some dim"]]:
    for start in range(0, len(vectors), AT_ONCE):
        yield vectors[start : start + AT_ONCE]


def _means(vectors: Float[np.ndarray, "vector dim"], count: int) -> Float[np.ndarray, "mean dim"]:
    """Unit vectors in the directions of k-means' centers, at most as many as there are vectors."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if len(vectors) > count:
        faiss = import_faiss()
        clusters: Any = faiss.Kmeans(
            vectors.shape[1],
            count,
            niter=ITERATIONS,
            seed=0,
            min_points_per_centroid=1,
            max_points_per_centroid=4 * SAMPLES_PER_LIST,
        )
        clusters.train(vectors)
        vectors = clusters.centroids
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit_means: np.ndarray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit_means


def quantizer(vectors: Float[np.ndarray, "vector dim"]) -> Float[np.ndarray, " number"]:
    """The trained table of a 4-bit quantizer: minima of the dimensions, then their widths."""
    faiss = import_faiss()
    trained = faiss.ScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_4bit)
    trained.train(np.ascontiguousarray(vectors, dtype=np.float32))
    table: np.ndarray = faiss.vector_to_array(trained.trained)
    return table.astype(np.float32)


def assign(vectors: Float[np.ndarray, "vector dim"], tables: Tables) -> Int[np.ndarray, " vector"]:
    """The list of each vector: the best of the lists of its nearest groups."""
    rows, groups = torch.from_numpy(np.ascontiguousarray(vectors)), torch.from_numpy(tables.groups)
    tried = min(GROUPS_TRIED, len(groups))
    nearest = torch.mm(rows, groups.T).topk(tried, dim=1).indices.flatten().numpy()
    order = np.argsort(nearest, kind="stable")
    bounds = np.searchsorted(nearest[order], np.arange(len(groups) + 1))
    best = np.full(len(vectors), -np.inf, np.float32)
    chosen = np.zeros(len(vectors), np.int64)
    for group in np.flatnonzero(np.diff(bounds)).tolist():
        some = order[bounds[group] : bounds[group + 1]] // tried
        first, last = int(tables.starts[group]), int(tables.starts[group + 1])
        products = torch.mm(rows[torch.from_numpy(some)], torch.from_numpy(tables.centroids[first:last]).T)
        found = products.max(1)
        values = found.values.numpy()
        better = values > best[some]
        best[some[better]] = values[better]
        chosen[some[better]] = first + found.indices.numpy()[better]
    return chosen
