"""Ground truth: the matching items of each query, by equal identities or by annotators' lists."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from wordsight.evaluation.average_precision import MatchRanks, match_ranks
from wordsight.evaluation.score_matrix import Scores, blocks
from wordsight.similarity.ranking.count import Ties

Way: TypeAlias = Literal["i2t", "t2i"]  # picture asks, texts answer; text asks, pictures answer


class Right:
    """The matching items of each query."""

    def __len__(self) -> int:
        raise NotImplementedError

    def mask(self, queries: slice) -> Bool[np.ndarray, "query item"]:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class IdentityGroundTruth(Right):
    """Items with the identity of the query: pictures and texts of one picture, of one person."""

    queries: Int[np.ndarray, " query"]
    items: Int[np.ndarray, " item"]

    def __len__(self) -> int:
        return len(self.queries)

    def mask(self, queries: slice) -> Bool[np.ndarray, "query item"]:
        return np.asarray(self.queries[queries, None] == self.items)


@dataclass(frozen=True, eq=False)
class ListedGroundTruth(Right):
    """Items by their numbers, query after query."""

    numbers: Int[np.ndarray, " match"]
    counts: Int[np.ndarray, " query"]
    items: int  # how many there are to choose from

    @classmethod
    def of(cls, right: Sequence[Iterable[int]], items: int) -> "ListedGroundTruth":
        """From the right items of each query; repeated ones count once."""
        once = [sorted(set(numbers)) for numbers in right]
        flat = [number for numbers in once for number in numbers]
        counts = [len(numbers) for numbers in once]
        return cls(np.array(flat, dtype=np.int64), np.array(counts, dtype=np.int64), items)

    def __len__(self) -> int:
        return len(self.counts)

    def answers(self, query: int) -> list[int]:
        """The items that are right for one query."""
        first = int(self.counts[:query].sum())
        return [int(number) for number in self.numbers[first : first + int(self.counts[query])]]

    @property
    def queries(self) -> Int[np.ndarray, " asked"]:
        """The queries that something is right for."""
        return np.flatnonzero(self.counts)

    def of_queries_with_answers(self) -> "ListedGroundTruth":
        """Without the queries that nothing is right for."""
        return ListedGroundTruth(self.numbers, self.counts[self.queries], self.items)

    def mask(self, queries: slice) -> Bool[np.ndarray, "query item"]:
        ends = np.cumsum(self.counts)
        chosen = range(len(self.counts))[queries]
        first = int(ends[chosen.start] - self.counts[chosen.start]) if len(chosen) else 0
        counts = self.counts[queries]
        row = np.repeat(np.arange(len(chosen)), counts)
        right = np.zeros((len(chosen), self.items), dtype=bool)
        right[row, self.numbers[first : first + len(row)]] = True
        return right


def rank_all(
    scores: Scores,
    way: Way,
    right: Right,
    ties: Ties = "pessimistic",
    progress: Callable[[int], None] | None = None,
) -> MatchRanks:
    """Where every right answer came, some queries at a time; ``right`` says it of each query in order.

    ``progress`` is called with how many queries are done.
    """
    parts = []
    for queries in blocks(len(right)):
        block = scores.block(queries, slice(None)) if way == "i2t" else scores.block(slice(None), queries).T
        parts.append(match_ranks(block, right.mask(queries), ties))
        if progress is not None:
            progress(queries.stop)
    return MatchRanks.join(parts)
