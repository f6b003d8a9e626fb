"""Scores, and annotations of who is right -> R@K and precisions, also within pictures and within texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from wordsight.errors import InputError
from wordsight.evaluation.average_precision import PRECISIONS
from wordsight.evaluation.cxc_eccv import Relevance
from wordsight.evaluation.encode import encode_images, encode_texts
from wordsight.evaluation.ground_truth import ListedGroundTruth, rank_all
from wordsight.evaluation.recall import TIES, Direction, K, direction_of
from wordsight.evaluation.score_matrix import ComputedScores, Scores, ScoresLike, as_scores, check_finite
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet
from wordsight.presence.model import mean_units
from wordsight.runtime.progress import Progress, silent
from wordsight.sets import EmbeddingSet
from wordsight.similarity.ranking.count import Ties
from wordsight.tensors import F, Tensor, torch

WAYS = {
    "i2t": "picture -> text",
    "t2i": "text -> picture",
    "i2i": "picture -> picture",
    "t2t": "text -> text",
}
NEVER = -2.0  # below every cosine: an item that is not to be found comes after all others


@dataclass(frozen=True)
class ExtendedRecalls:
    """Recalls measured against annotations."""

    relevance: str  # their name
    ways: dict[str, Direction]  # by "i2t", "t2i", "i2i", "t2t"
    queries: dict[str, int]  # how many queries of each way have a right answer; the others are left out
    images: int
    texts: int
    ties: str = "pessimistic"
    split: str = ""
    note: str = ""  # what likeness within pictures and within texts was

    @property
    def headline(self) -> str:
        split = f"; {self.split}" if self.split else ""
        return (
            f"relevance {self.relevance}: {self.images} images, {self.texts} texts{split}; {TIES[self.ties]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        ways = {way: found.to_dict() | {"queries": self.queries[way]} for way, found in self.ways.items()}
        counts = {"images": self.images, "texts": self.texts}
        about = {"relevance": self.relevance, "split": self.split} | counts | {"ties": self.ties}
        return about | {"note": self.note} | ways

    def to_text(self) -> str:
        """A table of fixed width."""
        names = [*(f"R@{k}" for k in K), *PRECISIONS]
        head = f"{self.relevance:<10}{'':<20}{'queries':>7}" + "".join(f"{name:>8}" for name in names)
        rows = [
            f"{self.relevance:<10}{WAYS[way]:<20}{self.queries[way]:>7}"
            + "".join(map("{:8.1f}".format, numbers))
            for way, numbers in ((way, _numbers(found)) for way, found in self.ways.items())
        ]
        return "\n".join([self.headline, "", head, *rows, *(["", self.note] if self.note else [])])


def _numbers(found: Direction) -> list[float]:
    return [*(found.recall[k] for k in K), *(found.precisions or {}).values()]


def evaluate_relevance(
    matcher: Matcher,
    pairs: PairSet,
    relevance: Relevance,
    *,
    batch_size: int = 64,
    ties: Ties = "pessimistic",
    zero_diagonal: bool = False,
    split: str | None = None,
    progress: Progress = silent,
) -> ExtendedRecalls:
    """Measure a model by annotations (``read_relevance``); scores are computed in blocks and not held.

    Pictures among themselves, and texts, are compared by the cosine of one vector each: of the embedding
    itself, or for a model of sets of the mean of its unit vectors. An item is no answer to itself;
    ``zero_diagonal`` gives it the score 0 instead, as VSE-infinity's code does.
    """
    with inference(matcher):
        images = encode_images(matcher, pairs, batch_size, progress)
        texts = encode_texts(matcher, pairs, batch_size, progress)
        own = 0.0 if zero_diagonal else NEVER
        among = {
            way: Likeness(mean_direction(items), own)
            for way, items in (("i2i", images), ("t2t", texts))
            if way in relevance.ways
        }
        return measure_relevance(
            ComputedScores(matcher.similarity, images, texts),
            relevance,
            among=among,
            ties=ties,
            split=pairs.source if split is None else split,
            note=_note(images, texts, zero_diagonal) if among else "",
        )


def _note(images: EmbeddingSet, texts: EmbeddingSet, zero_diagonal: bool) -> str:
    sets = max(images.vectors.shape[1], texts.vectors.shape[1]) > 1
    what = (
        "the means of their unit vectors, since this model has sets of vectors"
        if sets
        else "their embeddings"
    )
    itself = "an item scores 0 with itself" if zero_diagonal else "an item is no answer to itself"
    return f"Within pictures and within texts: the cosine of {what}; {itself}."


def measure_relevance(
    scores: ScoresLike,
    relevance: Relevance,
    *,
    among: Mapping[str, Scores] | None = None,
    ties: Ties = "pessimistic",
    split: str | None = None,
    note: str = "",
) -> ExtendedRecalls:
    """Measure anyone's matrix by annotations; ``among`` holds scores within pictures and within texts.

    Ways of asking that are annotated but have no scores are left out, and the note says so.
    """
    matrix = as_scores(scores)
    _must_fit(matrix, relevance)
    if not isinstance(matrix, ComputedScores):
        check_finite(matrix)
    within: dict[str, Scores] = {"i2t": matrix, "t2i": matrix, **(among or {})}
    left_out = [WAYS[way] for way in relevance.ways if way not in within]
    if left_out:
        note = f"Not measured, for want of scores within a kind: {', '.join(left_out)}."
    ways = {
        way: _measure(within[way], way, relevance.ways[way], ties)
        for way in WAYS
        if way in within and way in relevance.ways
    }
    return ExtendedRecalls(
        relevance.name, ways, {way: len(relevance.ways[way].queries) for way in ways},
        *matrix.shape, ties, matrix.source if split is None else split, note,
    )  # fmt: skip


def _must_fit(matrix: Scores, relevance: Relevance) -> None:
    expected = len(relevance.ways["i2t"]), len(relevance.ways["t2i"])
    if matrix.shape != expected:
        raise InputError(
            f"a score matrix of {matrix.shape[0]} x {matrix.shape[1]} does not fit annotations of "
            f"{expected[0]} images and {expected[1]} texts"
        )


def _measure(scores: Scores, way: str, right: ListedGroundTruth, ties: Ties) -> Direction:
    """Only the queries that have an answer are scored."""
    queries, items = right.queries, np.arange(right.items)
    if way == "t2i":
        matches = rank_all(scores.only(items, queries), "t2i", right.of_queries_with_answers(), ties)
    else:
        matches = rank_all(scores.only(queries, items), "i2t", right.of_queries_with_answers(), ties)
    return direction_of(matches.best, matches)


@dataclass(frozen=True, eq=False)
class Likeness(Scores):
    """Cosines of items among themselves; ``own`` takes the place of an item's cosine with itself."""

    directions: Float[Tensor, "n dim"]  # unit vectors
    own: float = NEVER

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.directions), len(self.directions)

    def block(self, rows: slice, columns: slice) -> Float64[np.ndarray, "row column"]:
        numbers = torch.arange(len(self.directions))
        cosines = (self.directions[rows] @ self.directions[columns].T).cpu().double()
        same = numbers[rows, None] == numbers[columns]
        return np.asarray(cosines.masked_fill(same, self.own))


def mean_direction(items: EmbeddingSet) -> Float[Tensor, "n dim"]:
    """One unit vector for each set: the mean of its members' unit vectors, at length 1."""
    return F.normalize(mean_units(items), dim=-1)
