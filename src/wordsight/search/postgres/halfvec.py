"""Vectors and boxes <-> PostgreSQL's binary COPY: rows of equal size, read and written as one array."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from jaxtyping import Float16, Int64, Shaped

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


def _vector(name: str, dim: int) -> list[tuple[object, ...]]:
    """Fields of a halfvec: its bytes, its numbers, unused."""
    return [(f"{name}_size", ">i4"), (f"{name}_dim", ">i2"), (f"{name}_unused", ">i2"), (name, ">f2", (dim,))]


def _region(dim: int, boxes: bool) -> np.dtype:
    box = _vector("box", 4) if boxes else [("box_size", ">i4")]
    fields = [
        ("fields", ">i2"),
        ("picture_size", ">i4"),
        ("picture", "V16"),
        ("slot_size", ">i4"),
        ("slot", ">i4"),
    ]
    return np.dtype([*fields, *_vector("vector", dim), *box])


def regions_to_copy(
    pictures: Sequence[str],
    counts: Sequence[int],
    vectors: Float16[np.ndarray, "n dim"],
    boxes: Float16[np.ndarray, "n 4"] | None,
) -> bytes:
    """Rows of the table region for COPY FROM (FORMAT BINARY)."""
    dim = vectors.shape[1]
    rows = np.zeros(len(vectors), _region(dim, boxes is not None))
    keys = np.frombuffer(b"".join(UUID(one).bytes for one in pictures), "V16")
    rows["fields"], rows["picture_size"], rows["slot_size"] = 4, 16, 4
    rows["picture"] = np.repeat(keys, counts)
    rows["slot"] = np.concatenate([np.arange(count) for count in counts]) if len(counts) else 0
    rows["vector_size"], rows["vector_dim"], rows["vector"] = 4 + 2 * dim, dim, vectors
    if boxes is None:
        rows["box_size"] = -1
    else:
        rows["box_size"], rows["box_dim"], rows["box"] = 12, 4, boxes
    return HEADER + rows.tobytes() + TRAILER


def _read(dim: int) -> np.dtype:
    fields = [
        ("fields", ">i2"),
        ("place_size", ">i4"),
        ("place", ">i8"),
        *_vector("vector", dim),
        *_vector("box", 4),
    ]
    return np.dtype(fields)


def places_and_vectors(
    data: bytes, dim: int
) -> tuple[Int64[np.ndarray, " n"], Shaped[np.ndarray, "n dim"], Shaped[np.ndarray, "n 4"]]:
    """Rows of (bigint, halfvec, halfvec of 4) from COPY TO (FORMAT BINARY)."""
    rows = np.frombuffer(data[len(HEADER) : -len(TRAILER)], _read(dim))
    return rows["place"].astype(np.int64), rows["vector"].astype("<f2"), rows["box"].astype("<f2")


def literal(vector: np.ndarray) -> str:
    """A vector as pgvector's text, in the fewest digits that give the same float32 back."""
    return "[" + ",".join(map(str, vector.astype(np.float32).tolist())) + "]"
