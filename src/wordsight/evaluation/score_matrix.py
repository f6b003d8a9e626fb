"""A matrix of scores, wherever it is (in memory, in a file, yet to be computed) -> its blocks in float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int, Shaped

from wordsight.errors import InputError, MissingFileError
from wordsight.evaluation.pickled_scores import holds_pickle, read_pickled
from wordsight.files.atomic import atomic_file
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Similarity
from wordsight.tensors import torch

BLOCK = 256  # queries per block of scores


class NonFiniteScoresError(InputError):
    """NaN or infinity among the scores: no order, hence no rank."""


class Scores:
    """Rows are images, columns are texts, larger is better; no more of it is read than is asked for."""

    source = ""  # for messages

    @property
    def shape(self) -> tuple[int, int]:
        raise NotImplementedError

    def block(self, rows: slice, columns: slice) -> Float64[np.ndarray, "row column"]:
        raise NotImplementedError

    def __getitem__(self, rows: slice) -> Float64[np.ndarray, "row column"]:
        return self.block(rows, slice(None))

    def only(self, rows: Int[np.ndarray, " row"], columns: Int[np.ndarray, " column"]) -> "Scores":
        """Some images with some texts, by number."""
        images, texts = map(np.arange, self.shape)
        whole = np.array_equal(rows, images) and np.array_equal(columns, texts)
        return self if whole else Window(self, rows, columns)


@dataclass(frozen=True, eq=False)
class StoredScores(Scores):
    """An array, or a memory map of one, of whatever kind of number."""

    matrix: Shaped[np.ndarray, "image text"]
    source: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.matrix.shape
        return rows, columns

    def block(self, rows: slice, columns: slice) -> Float64[np.ndarray, "row column"]:
        return np.array(self.matrix[rows, columns], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ComputedScores(Scores):
    """Scores of a similarity, computed block by block when needed."""

    similarity: Similarity
    images: EmbeddingSet
    texts: EmbeddingSet
    source: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.images), len(self.texts)

    def block(self, rows: slice, columns: slice) -> Float64[np.ndarray, "row column"]:
        scores = self.similarity(self.images[rows], self.texts[columns])
        return np.asarray(scores.detach().cpu().double())

    def only(self, rows: Int[np.ndarray, " row"], columns: Int[np.ndarray, " column"]) -> "Scores":
        images, texts = self.images[torch.from_numpy(rows)], self.texts[torch.from_numpy(columns)]
        return ComputedScores(self.similarity, images, texts, self.source)


@dataclass(frozen=True, eq=False)
class Window(Scores):
    """Some rows and columns of another matrix."""

    scores: Scores
    rows: Int[np.ndarray, " row"]
    columns: Int[np.ndarray, " column"]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)

    def block(self, rows: slice, columns: slice) -> Float64[np.ndarray, "row column"]:
        across, down = self.rows[rows], self.columns[columns]
        outer, inner = _around(across), _around(down)
        read = self.scores.block(outer, inner)
        return read[np.ix_(across - outer.start, down - inner.start)]


def _around(numbers: Int[np.ndarray, " n"]) -> slice:
    """From the first to the last of them, whatever their order."""
    return slice(int(numbers.min()), int(numbers.max()) + 1) if len(numbers) else slice(0, 0)


ScoresLike: TypeAlias = "str | Path | np.ndarray | Scores"


def as_scores(given: ScoresLike, source: str | None = None) -> Scores:
    """A matrix by itself, or by the path of its file; ``source`` is its name, by default the path.

    Raises ValueError where it is not one of numbers.
    """
    if isinstance(given, Scores):
        return given
    if source is None:
        source = str(given) if isinstance(given, str | Path) else ""
    matrix = open_matrix(given) if isinstance(given, str | Path) else given
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise InputError(
            f"{prefix(source)}{matrix.dtype} of shape {matrix.shape} is no score matrix; "
            "expected numbers [images, texts]"
        )
    return StoredScores(matrix, source)


def open_matrix(path: str | Path) -> np.ndarray:
    """A .npy file as a memory map; a pickled ``results_*.npy`` of the reference as an array in memory."""
    if not Path(path).is_file():
        raise MissingFileError(f"there is no file {path}; expected a .npy matrix [images, texts]")
    with Path(path).open("rb") as file:
        start = file.read(16)
    if not start.startswith((b"\x93NUMPY", b"PK")):
        raise InputError(
            f"{path} cannot be read as a .npy matrix: it begins with {start!r}; save the scores with np.save"
        )
    try:
        matrix = (
            read_pickled(path) if holds_pickle(path) else np.load(path, mmap_mode="r", allow_pickle=False)
        )
    except (ValueError, EOFError, OSError, SyntaxError, TypeError, TokenError, OverflowError) as error:
        raise InputError(f"{path} cannot be read as a .npy matrix: {error}") from error
    if not isinstance(matrix, np.ndarray):
        raise InputError(f"{path} is an archive of several arrays; expected one matrix saved by np.save")
    return matrix


def write_matrix(scores: Scores, path: Path) -> None:
    """The matrix as float32 .npy, block after block: complete, or not there at all."""
    with atomic_file(path) as file:
        write_header(file, scores.shape)
        for rows in blocks(scores.shape[0]):
            file.write(scores[rows].astype("<f4").tobytes())


def write_header(file: object, shape: tuple[int, int], kind: str = "<f4") -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})  # type: ignore[arg-type]


def check_finite(scores: Scores) -> None:
    """Raises NonFiniteScoresError with the number of offenders and the place of the first."""
    count, first = 0, ""
    for rows in blocks(scores.shape[0]):
        block = scores[rows]
        bad = ~np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            first = first or f"image row {rows.start + row}, text column {column} ({block[row, column]})"
            count += int(bad.sum())
    if count:
        images, texts = scores.shape
        raise NonFiniteScoresError(
            f"{prefix(scores.source)}{count} of {images * texts} scores are NaN or infinite, the first at "
            f"{first}. They have no place in an order, so there is no R@K; look for a division by zero or an "
            "overflow in the model that made them"
        )


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def prefix(source: str) -> str:
    return f"{source}: " if source else ""
