"""Anyone's score matrix, in memory or in a .npy file -> Recalls, by a named protocol."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from wordsight.errors import InputError
from wordsight.evaluation.ground_truth import IdentityGroundTruth, rank_all
from wordsight.evaluation.protocols import Protocol, ProtocolMismatchError, Way, find_protocol
from wordsight.evaluation.recall import FoldRanks, Recalls
from wordsight.evaluation.score_matrix import BLOCK, Scores, ScoresLike, as_scores, check_finite, prefix
from wordsight.similarity.ranking.count import MatrixBlocks, Ties, ranks_from_blocks
from wordsight.tensors import Tensor, torch

Identities: TypeAlias = Sequence[int] | Tensor | np.ndarray
TRANSPOSED = "it is transposed (rows must be images, columns texts)"


def evaluate_scores(
    scores: ScoresLike,
    image_identities: Identities | None = None,
    text_identities: Identities | None = None,
    *,
    captions_per_image: int = 5,
    protocol: str | Protocol = "all",
    ties: Ties = "pessimistic",
    strict: bool = True,
    intervals: bool = True,
    average_precision: bool | None = None,
    split: str | None = None,
) -> Recalls:
    """Measure anyone's matrix: rows are images, columns are texts, larger is better.

    Without identities, columns ``c * i`` to ``c * i + c - 1`` belong to row i (c = ``captions_per_image``),
    as in the field's N x 5N matrices. A .npy file is memory-mapped and read in blocks of rows; so is an
    ensemble (``ensemble_scores``). A pickled ``results_*.npy`` of the reference implementations is read too,
    without running what a pickle may hold. ``average_precision`` adds mAP, mINP, R-precision and mAP@R; by
    default where the protocol is one of person search.

    Raises ProtocolMismatchError on the wrong shape (a transposed matrix is recognised), NonFiniteScoresError
    on NaN or infinity.
    """
    chosen, matrix = find_protocol(protocol), as_scores(scores)
    images, texts = _identities(matrix, image_identities, text_identities, captions_per_image, chosen)
    deviation = chosen.check(_texts_of(images, texts), strict, len(texts), len(np.unique(images)))
    check_finite(matrix)
    every = chosen.persons if average_precision is None else average_precision
    return Recalls.from_folds(
        chosen.name,
        rank_matrix(matrix, images, texts, chosen, ties, every),
        ties=ties,
        split=matrix.source if split is None else split,
        deviation=deviation,
        intervals=intervals,
    )


def rank_matrix(
    scores: Scores,
    images: Int[np.ndarray, " image"],
    texts: Int[np.ndarray, " text"],
    protocol: Protocol,
    ties: Ties,
    average_precision: bool = False,
) -> list[FoldRanks]:
    """The ranks of each fold: its images with the texts of the same identities."""
    folds = []
    for rows in protocol.rows(len(images)):
        here = images[rows.start : rows.stop]
        columns = np.flatnonzero(np.isin(texts, here))
        fold = rank_all_matches if average_precision else _rank_best_matches
        folds.append(fold(scores.only(np.array(rows), columns), here, texts[columns], ties))
    return folds


def rank_all_matches(
    scores: Scores,
    images: Int[np.ndarray, " image"],
    texts: Int[np.ndarray, " text"],
    ties: Ties,
    progress: Callable[[int, int], None] | None = None,
) -> FoldRanks:
    """All that belongs to each query, for precisions; equal identities belong together."""

    def report(done: int) -> None:
        if progress is not None:
            progress(done, len(images) + len(texts))

    by_image = rank_all(scores, "i2t", IdentityGroundTruth(images, texts), ties, report)
    right = IdentityGroundTruth(texts, images)
    by_text = rank_all(scores, "t2i", right, ties, lambda done: report(len(images) + done))
    return FoldRanks(by_image.best, by_text.best, images, texts, by_image, by_text)


def _rank_best_matches(
    scores: Scores, images: Int[np.ndarray, " image"], texts: Int[np.ndarray, " text"], ties: Ties
) -> FoldRanks:
    identities = torch.as_tensor(images), torch.as_tensor(texts)
    by_image, by_text = ranks_from_blocks(MatrixBlocks(scores, BLOCK), *identities, ties)
    return FoldRanks(by_image.numpy(), by_text.numpy(), images, texts)


def _identities(
    matrix: Scores,
    images: Identities | None,
    texts: Identities | None,
    captions: int,
    protocol: Protocol,
) -> tuple[Int[np.ndarray, " image"], Int[np.ndarray, " text"]]:
    """Identities of rows and columns, after the shape has been checked."""
    if (images is None) != (texts is None):
        raise InputError("give both image_identities and text_identities, or neither")
    if images is None or texts is None:
        problem, ways = _shape_problem(matrix.shape, captions, protocol)
        images, texts = np.arange(matrix.shape[0]), np.arange(matrix.shape[1]) // captions
    else:
        images, texts = np.asarray(images), np.asarray(texts)
        problem, ways = _identity_problem(matrix.shape, len(images), len(texts))
    if problem:
        raise ProtocolMismatchError(f"{prefix(matrix.source)}{problem}", ways, captions)
    return np.asarray(images), np.asarray(texts)


def _shape_problem(shape: tuple[int, ...], captions: int, protocol: Protocol) -> tuple[str, list[Way]]:
    rows, columns = shape
    if protocol.persons:
        return f"protocol {protocol.name} asks which person each row and column is of", ["identities"]
    if columns == rows * captions:
        return "", []
    wanted = f"{protocol.images} x {protocol.captions}" if protocol.images else f"N x {captions}N"
    problem = f"a score matrix of {rows} x {columns} does not fit protocol {protocol.name}, {wanted}"
    if rows == columns * captions:
        return f"{problem}: {TRANSPOSED}", ["transpose"]
    if rows == columns and rows % captions == 0:
        return problem, ["equal rows"]
    layout = f"rows are images, each with {captions} consecutive columns"
    return f"{problem}: {layout}, unless it is said which texts are of which", ["identities"]


def _identity_problem(shape: tuple[int, ...], images: int, texts: int) -> tuple[str, list[Way]]:
    if shape == (images, texts):
        return "", []
    problem = (
        f"a score matrix of {shape[0]} x {shape[1]} does not fit {images} image and {texts} text identities; "
        f"expected {images} x {texts}"
    )
    return (f"{problem}: {TRANSPOSED}", ["transpose"]) if shape == (texts, images) else (problem, [])


def _texts_of(images: Int[np.ndarray, " image"], texts: Int[np.ndarray, " text"]) -> Int[Tensor, " image"]:
    """How many texts each image has, by identity."""
    known, counts = np.unique(texts, return_counts=True)
    count_of = dict(zip(known.tolist(), counts.tolist(), strict=True))
    return torch.tensor([count_of.get(identity, 0) for identity in images.tolist()], dtype=torch.long)
