"""Scores, and which are right -> where every right answer of each query came, and what that is worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from wordsight.errors import InputError
from wordsight.similarity.ranking.count import Ties


@dataclass(frozen=True, eq=False)
class MatchRanks:
    """The ranks of all right answers, query after query, best first; 0 is first place.

    Every query has at least one right answer.
    """

    ranks: Int[np.ndarray, " match"]
    counts: Int[np.ndarray, " query"]  # how many right answers each query has

    @classmethod
    def join(cls, parts: "Sequence[MatchRanks]") -> "MatchRanks":
        """One after another."""
        none = [np.empty(0, dtype=np.int64)]
        return cls(
            np.concatenate([part.ranks for part in parts] or none),
            np.concatenate([part.counts for part in parts] or none),
        )

    @property
    def best(self) -> Int[np.ndarray, " query"]:
        return np.asarray(self.ranks[self._starts])

    @property
    def worst(self) -> Int[np.ndarray, " query"]:
        return np.asarray(self.ranks[self._starts + self.counts - 1])

    @property
    def average_precision(self) -> Float64[np.ndarray, " query"]:
        """The precision at each right answer, averaged over all right answers."""
        return self._mean(self._precision)

    @property
    def inverse_negative_penalty(self) -> Float64[np.ndarray, " query"]:
        """Right answers as a share of all down to the last of them (Ye et al. 2021)."""
        return np.asarray(self.counts / (self.worst + 1))

    @property
    def r_precision(self) -> Float64[np.ndarray, " query"]:
        """The share of right ones among the first R answers; R is the number of right answers."""
        return self._mean(self._within_r)

    @property
    def average_precision_at_r(self) -> Float64[np.ndarray, " query"]:
        """Average precision where answers after the first R count as wrong (Musgrave et al. 2020)."""
        return self._mean(self._precision * self._within_r)

    def reference_average_precision(self, k: int | None = None) -> Float64[np.ndarray, " query"]:
        """Average precision as CMPL's code computes it (with ``k``: AP@k), which is not the standard one.

        Its precision at a right answer leaves out this answer itself, except in first place; so with one
        right answer per query it is R@1. Only for comparing with numbers printed by that code.
        """
        before = np.maximum(self._place, self.ranks == 0) / (self.ranks + 1)
        return self._mean(before if k is None else before * (self.ranks < k))

    @property
    def _starts(self) -> Int[np.ndarray, " query"]:
        return np.asarray(np.cumsum(self.counts) - self.counts)

    @property
    def _place(self) -> Int[np.ndarray, " match"]:
        """How many right answers of the same query come before."""
        return np.asarray(np.arange(len(self.ranks)) - np.repeat(self._starts, self.counts))

    @property
    def _precision(self) -> Float64[np.ndarray, " match"]:
        return np.asarray((self._place + 1) / (self.ranks + 1))

    @property
    def _within_r(self) -> Bool[np.ndarray, " match"]:
        return np.asarray(self.ranks < np.repeat(self.counts, self.counts))

    def _mean(self, values: Shaped[np.ndarray, " match"]) -> Float64[np.ndarray, " query"]:
        """Over the right answers of each query."""
        query = np.repeat(np.arange(len(self.counts)), self.counts)
        return np.asarray(np.bincount(query, values, len(self.counts)) / self.counts)


PRECISIONS: dict[str, Callable[[MatchRanks], np.ndarray]] = {
    "mAP": lambda matches: matches.average_precision,
    "mINP": lambda matches: matches.inverse_negative_penalty,
    "R-prec": lambda matches: matches.r_precision,
    "mAP@R": lambda matches: matches.average_precision_at_r,
}  # of each query; in [0, 1]


def match_ranks(
    scores: Float64[np.ndarray, "query item"],
    right: Bool[np.ndarray, "query item"],
    ties: Ties = "pessimistic",
) -> MatchRanks:
    """Where every right item of each query comes among all items.

    ``ties``: "pessimistic" puts wrong items before right ones of the same score; "reference" puts larger
    item numbers first, as the reference implementations do (descending argsort reversed).

    Raises ValueError for a query that no item is right for, and for scores that are not finite.
    """
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
        raise InputError(
            f"the score of item {column} for query {row} is {scores[row, column]}; ranks need finite scores: "
            "look for NaN or overflow in the embeddings"
        )
    counts = right.sum(1)
    if not counts.all():
        raise InputError(f"no item is right for query {int(np.argmin(counts))}; leave it out before ranking")
    ranks = [_RANKS[ties](row, mask) for row, mask in zip(scores, right, strict=True)]
    return MatchRanks(np.concatenate(ranks or [np.empty(0, dtype=np.int64)]), counts)


def _pessimistic(
    scores: Float64[np.ndarray, " item"], right: Bool[np.ndarray, " item"]
) -> Int[np.ndarray, " match"]:
    """By sorting values only: ten times faster than sorting items."""
    wrong, found = np.sort(scores[~right]), np.sort(scores[right])[::-1]
    return len(wrong) - np.searchsorted(wrong, found) + np.arange(len(found))


def _reference(
    scores: Float64[np.ndarray, " item"], right: Bool[np.ndarray, " item"]
) -> Int[np.ndarray, " match"]:
    return np.flatnonzero(right[np.argsort(scores, kind="stable")[::-1]])


_RANKS = {"pessimistic": _pessimistic, "reference": _reference}
