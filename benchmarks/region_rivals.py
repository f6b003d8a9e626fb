"""Vectors of pictures -> an index of another library, and its ten best by the sum of each word's maximum.

A rival takes [picture, region, dim] float32 and a folder, and returns a search: words, count -> rows.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Search: TypeAlias = Callable[[np.ndarray, int], np.ndarray]


def numpy_brute_force(vectors: np.ndarray, folder: Path) -> Search:  # noqa: ARG001
    """All products by numpy's own matrix product."""

    def search(words: np.ndarray, count: int) -> np.ndarray:
        found = (vectors @ words.T).max(1).sum(1)
        best = np.argpartition(-found, count)[:count]
        return best[np.argsort(-found[best])]

    return search


def lancedb_multivector(vectors: np.ndarray, folder: Path) -> Search:
    """LanceDB's multivector column: IVF_PQ of sub-vectors, refined."""
    import lancedb
    import pyarrow as pa

    count, regions, dim = vectors.shape
    kind = pa.list_(pa.list_(pa.float16(), dim))
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), dim)
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * regions)
    column = pa.ListArray.from_arrays(offsets, flat).cast(kind)
    data = pa.table({"id": pa.array(np.arange(count)), "vector": column})
    table = lancedb.connect(folder).create_table("pictures", data)
    table.create_index(
        metric="cosine", vector_column_name="vector", num_partitions=max(2, int((count * regions) ** 0.5)),
        num_sub_vectors=dim // 4,
    )  # fmt: skip

    def search(words: np.ndarray, count: int) -> np.ndarray:
        request: Any = table.search(words.astype(np.float16).tolist()).nprobes(32).refine_factor(10)
        return np.array([row["id"] for row in request.select(["id"]).limit(count).to_list()])

    return search


def qdrant_edge(vectors: np.ndarray, folder: Path) -> Search:
    """Qdrant's core in this process: an exact scan by its MaxSim comparator."""
    import qdrant_edge as edge

    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=vectors.shape[2],
            distance=edge.Distance.Dot,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
        )
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shard = edge.EdgeShard.create(str(folder), config)
    for start in range(0, len(vectors), 500):
        points = [
            edge.Point(start + n, one.tolist(), {}) for n, one in enumerate(vectors[start : start + 500])
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))

    def search(words: np.ndarray, count: int) -> np.ndarray:
        request = edge.QueryRequest(limit=count, query=edge.Query.Nearest(words.tolist()))
        return np.array([point.id for point in shard.query(request)])

    return search


def fast_plaid(vectors: np.ndarray, folder: Path) -> Search:  # noqa: ARG001
    """Raises ImportError always: its wheels replace the torch of this environment."""
    raise ImportError(
        "fast-plaid needs torch 2.11 with CUDA; installing it would replace the torch that is here"
    )


RIVALS: dict[str, Callable[[np.ndarray, Path], Search]] = {
    "numpy": numpy_brute_force,
    "lancedb": lancedb_multivector,
    "qdrant": qdrant_edge,
    "fast-plaid": fast_plaid,
}
