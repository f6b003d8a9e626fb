"""Score matrices of several models -> their weighted mean, block by block."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from wordsight.errors import InputError
from wordsight.evaluation.score_matrix import Scores, ScoresLike, as_scores, blocks, check_finite
from wordsight.pairs import PairSet


@dataclass(frozen=True, eq=False)
class Member:
    """One model's scores; less ``mean``, times ``factor``, they are its part of the sum."""

    scores: Scores
    factor: float = 1.0
    mean: float = 0.0


@dataclass(frozen=True, eq=False)
class Ensemble(Scores):
    """The sum of its members' parts; a block of it reads that block of each member."""

    members: Sequence[Member]
    source: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        return self.members[0].scores.shape

    def block(self, rows: slice, columns: slice) -> Float64[np.ndarray, "row column"]:
        first, *others = (
            member.factor * (member.scores.block(rows, columns) - member.mean) for member in self.members
        )
        return np.asarray(sum(others, first))


def ensemble_scores(
    members: Sequence[ScoresLike], weights: Sequence[float] | None = None, standardize: bool = False
) -> Ensemble:
    """The weighted mean of score matrices of equal shape: arrays, files, or other ensembles.

    A model's scores become a file by ``write_scores``.

    ``weights`` (equal by default) need not add up to 1. With ``standardize``, each matrix is first brought to
    mean 0 and standard deviation 1 over all its scores, since a plain mean belongs to the model whose scores
    spread the widest: log-sum-exp scores may spread ten times wider than mean scores. ``evaluate_scores``
    measures the result; nothing but blocks of it is ever held.

    Raises ValueError for shapes that differ, for weights that do not fit, for a matrix of equal scores that
    is to be standardized; NonFiniteScoresError for NaN or infinity in a member.
    """
    opened = [as_scores(member) for member in members]
    shares = weights_of(weights, len(opened))
    _must_be_of_one_shape(opened)
    for scores in opened:
        check_finite(scores)
    parts = [_standard(scores, share) if standardize else Member(scores, share)
             for scores, share in zip(opened, shares, strict=True)]  # fmt: skip
    return Ensemble(parts, _source(opened, shares, standardize))


def weights_of(weights: Sequence[float] | None, count: int) -> list[float]:
    """One share for each of so many matrices, together 1. Raises ValueError for weights that do not fit."""
    if not count:
        raise InputError("an ensemble needs at least one score matrix")
    weights = [1.0] * count if weights is None else list(weights)
    if len(weights) != count:
        raise InputError(f"{len(weights)} weights for {count} score matrices; expected one for each")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights) > 0:
        raise InputError(f"weights {weights}; expected numbers of at least 0, of which one is more")
    return [weight / sum(weights) for weight in weights]


def _must_be_of_one_shape(opened: Sequence[Scores]) -> None:
    for scores in opened[1:]:
        if scores.shape != opened[0].shape:
            raise InputError(
                f"{_named(scores)} is {scores.shape[0]} x {scores.shape[1]} but {_named(opened[0])} is "
                f"{opened[0].shape[0]} x {opened[0].shape[1]} (images x texts); an ensemble needs scores of "
                "the same images and texts in the same order"
            )


def _standard(scores: Scores, share: float) -> Member:
    mean, spread = mean_and_spread(scores)
    if not spread > 0:
        raise InputError(
            f"{_named(scores)}: all scores are {mean:g}, so they cannot be standardized; a model that scores "
            "everything alike has collapsed, leave it out"
        )
    return Member(scores, share / spread, mean)


def mean_and_spread(scores: Scores) -> tuple[float, float]:
    """Mean and standard deviation over all scores, read twice: exact also where the mean is large."""
    count = scores.shape[0] * scores.shape[1]
    mean = math.fsum(scores[rows].sum() for rows in blocks(scores.shape[0])) / count
    square = math.fsum(((scores[rows] - mean) ** 2).sum() for rows in blocks(scores.shape[0])) / count
    return mean, math.sqrt(square)


def _named(scores: Scores) -> str:
    return scores.source or "a matrix given"


def _source(opened: Sequence[Scores], shares: Sequence[float], standardize: bool) -> str:
    """The members, for the headline of a result."""
    names = " + ".join(f"{share:.3g} {_named(scores)}" for scores, share in zip(opened, shares, strict=True))
    return f"mean of {'standardized ' if standardize else ''}scores: {names}"


def must_be_same_pairs(first: PairSet, other: PairSet, names: tuple[str, str]) -> None:
    """Raises ValueError where two models would be measured on different pairs; ``names`` are the models'.

    Texts must agree but for case, spaces and punctuation, which tokenizers write differently, and tell of
    the same images. Images then are the same too, whatever their files are called: features of one model
    and pictures of another may have different names.
    """
    one, two = names
    counts = [f"{len(pairs.images)} images and {len(pairs.texts)} texts" for pairs in (first, other)]
    problem = "" if counts[0] == counts[1] else f"{counts[0]} for {one}, {counts[1]} for {two}"
    problem = problem or _first_difference(first, other, names)
    if problem:
        raise InputError(
            f"{one} and {two} are not measured on the same pairs: {problem}. An ensemble averages scores of "
            "the same images and texts in the same order; give --config to measure all models on one data set"
        )


def _first_difference(first: PairSet, other: PairSet, names: tuple[str, str]) -> str:
    for row, texts in enumerate(zip(first.texts, other.texts, strict=True)):
        if _letters(texts[0]) != _letters(texts[1]):
            return f'text {row} is "{texts[0]}" for {names[0]} and "{texts[1]}" for {names[1]}'
    rows = (first.image_of != other.image_of).nonzero().flatten().tolist()
    if rows:
        images = [pairs.names[int(pairs.image_of[rows[0]])] for pairs in (first, other)]
        return f"text {rows[0]} tells of {images[0]} for {names[0]} and of {images[1]} for {names[1]}"
    return ""


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
