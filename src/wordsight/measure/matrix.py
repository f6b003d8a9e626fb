"""Anyone's score matrix, in memory or in a .npy file -> Recalls, by a named protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int, Shaped
from torch import Tensor

from wordsight.compare.ranks import MatrixBlocks, Ties, ranks_from_blocks
from wordsight.measure.protocols import Protocol, ProtocolMismatchError, find_protocol
from wordsight.measure.recalls import FoldRanks, Recalls

BLOCK_ROWS = 256
Identities = Sequence[int] | Tensor | np.ndarray


class NonFiniteScoresError(ValueError):
    """NaN or infinity among the scores: no order, hence no rank."""


def evaluate_scores(
    scores: str | Path | np.ndarray,
    image_identities: Identities | None = None,
    text_identities: Identities | None = None,
    *,
    captions_per_image: int = 5,
    protocol: str | Protocol = "all",
    ties: Ties = "pessimistic",
    strict: bool = True,
    intervals: bool = True,
    split: str | None = None,
) -> Recalls:
    """Measure anyone's matrix: rows are images, columns are texts, larger is better.

    Without identities, columns ``c * i`` to ``c * i + c - 1`` belong to row i (c = ``captions_per_image``),
    as in the field's N x 5N matrices. A file is memory-mapped and read in blocks of rows.

    Raises ProtocolMismatchError on the wrong shape (a transposed matrix is recognised), NonFiniteScoresError
    on NaN or infinity.
    """
    chosen = find_protocol(protocol)
    source = str(scores) if isinstance(scores, str | Path) else ""
    matrix = _open(scores) if isinstance(scores, str | Path) else scores
    images, texts = _identities(matrix, image_identities, text_identities, captions_per_image, chosen, source)
    deviation = chosen.check(_texts_of(images, texts), strict)
    check_finite(matrix, source)
    folds = rank_matrix(matrix, images, texts, chosen, ties)
    return Recalls.from_folds(
        chosen.name,
        folds,
        ties=ties,
        split=source if split is None else split,
        deviation=deviation,
        intervals=intervals,
    )


def rank_matrix(
    scores: Shaped[np.ndarray, "image text"],
    images: Int[np.ndarray, " image"],
    texts: Int[np.ndarray, " text"],
    protocol: Protocol,
    ties: Ties,
) -> list[FoldRanks]:
    """The ranks of each fold: its images with the texts of the same identities."""
    folds = []
    for rows in protocol.rows(len(images)):
        here = images[rows.start : rows.stop]
        columns = np.flatnonzero(np.isin(texts, here))
        blocks = MatrixBlocks(_Window(scores, rows, columns), BLOCK_ROWS)
        ranks = ranks_from_blocks(blocks, torch.as_tensor(here), torch.as_tensor(texts[columns]), ties)
        folds.append(FoldRanks(ranks[0].numpy(), ranks[1].numpy(), here, texts[columns]))
    return folds


@dataclass(frozen=True, eq=False)
class _Window:
    """Some rows and columns of a matrix that may be on disk, in whatever kind of number."""

    scores: Shaped[np.ndarray, "image text"]
    rows: range
    columns: Int[np.ndarray, " column"]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)

    def __getitem__(self, block: slice) -> Float64[np.ndarray, "row column"]:
        rows = self.rows[block]
        return self.scores[rows.start : rows.stop].astype(np.float64)[:, self.columns]


def check_finite(scores: Shaped[np.ndarray, "image text"], source: str = "") -> None:
    """Raises NonFiniteScoresError with the number of offenders and the place of the first."""
    count, first = 0, None
    for start in range(0, len(scores), BLOCK_ROWS):
        bad = ~np.isfinite(scores[start : start + BLOCK_ROWS])
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            first = first or (start + row, column)
            count += int(bad.sum())
    if first is not None:
        raise NonFiniteScoresError(
            f"{_prefix(source)}{count} of {scores.size} scores are NaN or infinite, the first at image row "
            f"{first[0]}, text column {first[1]} ({scores[first]}). They have no place in an order, so there "
            "is no R@K; look for a division by zero or an overflow in the model that made them"
        )


def _open(path: str | Path) -> np.ndarray:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}; expected a .npy matrix [images, texts]") from None
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a .npy matrix ({error}). A results_*.npy that holds a pickled "
            "dictionary is not opened, since a pickle can run code; where you trust it, "
            "np.save('S.npy', np.load(path, allow_pickle=True).item()['sims'])"
        ) from None
    if not isinstance(matrix, np.ndarray):
        raise ValueError(f"{path} is an archive of several arrays; expected one matrix saved by np.save")
    return matrix


def _identities(
    matrix: np.ndarray,
    images: Identities | None,
    texts: Identities | None,
    captions: int,
    protocol: Protocol,
    source: str,
) -> tuple[Int[np.ndarray, " image"], Int[np.ndarray, " text"]]:
    """What belongs together, after the shape has been found to fit it."""
    if (images is None) != (texts is None):
        raise ValueError("give both image_identities and text_identities, or neither")
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        problem = (
            f"{matrix.dtype} of shape {matrix.shape} is no score matrix; expected numbers [images, texts]"
        )
    elif images is None or texts is None:
        problem = _shape_problem(matrix.shape, captions, protocol)
        images, texts = np.arange(matrix.shape[0]), np.arange(matrix.shape[1]) // captions
    else:
        images, texts = np.asarray(images), np.asarray(texts)
        problem = _identity_problem(matrix.shape, len(images), len(texts))
    if problem:
        raise ProtocolMismatchError(f"{_prefix(source)}{problem}")
    return np.asarray(images), np.asarray(texts)


def _shape_problem(shape: tuple[int, ...], captions: int, protocol: Protocol) -> str:
    rows, columns = shape
    if columns == rows * captions:
        return ""
    wanted = f"{protocol.images} x {protocol.captions}" if protocol.images else f"N x {captions}N"
    problem = f"a score matrix of {rows} x {columns} does not fit protocol {protocol.name}, {wanted}: "
    if rows == columns * captions:
        return problem + "it is transposed (rows must be images, columns texts); pass scores.T"
    if rows == columns and rows % captions == 0:
        return problem + (
            f"if each image stands in {captions} equal rows, once per caption, pass scores[::{captions}]; "
            "if each image has one text, pass captions_per_image=1"
        )
    return problem + (
        f"rows are images, each with {captions} consecutive columns; "
        "for other numbers of texts pass image_identities and text_identities"
    )


def _identity_problem(shape: tuple[int, ...], images: int, texts: int) -> str:
    if shape == (images, texts):
        return ""
    problem = (
        f"a score matrix of {shape[0]} x {shape[1]} does not fit {images} image and {texts} text identities; "
        f"expected {images} x {texts}"
    )
    if shape == (texts, images):
        problem += ": it is transposed (rows must be images, columns texts); pass scores.T"
    return problem


def _texts_of(images: Int[np.ndarray, " image"], texts: Int[np.ndarray, " text"]) -> Int[Tensor, " image"]:
    """How many texts each image has, by identity."""
    known, counts = np.unique(texts, return_counts=True)
    count_of = dict(zip(known.tolist(), counts.tolist(), strict=True))
    return torch.tensor([count_of.get(identity, 0) for identity in images.tolist()], dtype=torch.long)


def _prefix(source: str) -> str:
    return f"{source}: " if source else ""
