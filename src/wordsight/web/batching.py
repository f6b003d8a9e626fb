"""Shared scans: queries that arrive during a scan of the index are scored together in the next one.

A query that comes alone is scored at once. Queries that come meanwhile wait for the end of that scan, and
then share one scan and one matrix product. Candidates are scored again in float64 (engine/brute_force.py), so
hits and scores do not depend on other queries.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from wordsight.runtime.halving import Halving
from wordsight.search.engine.brute_force import (
    ASSUMED_REGIONS,
    Keep,
    QueryScorer,
    Rows,
    RowScorer,
    check_numbers,
    in_parts,
    score_rows,
    to_score,
)
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch

MAX_QUERIES_PER_SCAN = 16
Scores: TypeAlias = Float[np.ndarray, " row"]


@dataclass(frozen=True, eq=False)
class _Waiting:
    scorer: QueryScorer
    stored: Rows
    memory_mb: float
    scores: "Future[Scores]" = field(default_factory=Future)


class SharedScans:
    """Replacement of ``score_rows`` that shares scans; safe to use from several threads.

    ``scans`` and ``queries`` count the scans and the queries so far.
    """

    def __init__(self, most: int = MAX_QUERIES_PER_SCAN) -> None:
        self.most = most
        self.scans = self.queries = 0
        self._scan_lock, self._lock = threading.Lock(), threading.Lock()
        self._waiting: deque[_Waiting] = deque()

    def __call__(
        self,
        scorer: RowScorer,
        stored: Rows,
        rows: Int[np.ndarray, " row"] | None = None,
        keep: Keep | None = None,
        memory_mb: float = 256.0,
    ) -> Scores:
        """Scores as from ``score_rows``; queries with filters or operators are scanned alone."""
        if rows is not None or keep is not None or not isinstance(scorer, QueryScorer):
            self._count(1)
            return score_rows(scorer, stored, rows, keep, memory_mb)
        mine = _Waiting(scorer, stored, memory_mb)
        with self._lock:
            self._waiting.append(mine)
        with self._scan_lock:
            if not mine.scores.done():
                self._answer(self._together_with(mine))
        return mine.scores.result()

    def _together_with(self, mine: _Waiting) -> list[_Waiting]:
        """Take this query and other waiting queries for the same rows."""
        with self._lock:
            others = [one for one in self._waiting if one is not mine and _can_share(one, mine)]
            chosen = [mine, *others[: self.most - 1]]
            for one in chosen:
                self._waiting.remove(one)
        return chosen

    def _answer(self, waiting: Sequence[_Waiting]) -> None:
        self._count(len(waiting))
        try:
            scores = _score(waiting)
        except Exception as error:
            if len(waiting) == 1:
                waiting[0].scores.set_exception(error)
            else:  # a failing query must not fail the others
                for one in waiting:
                    self._answer([one])
            return
        for one, its in zip(waiting, scores, strict=True):
            one.scores.set_result(its)

    def _count(self, queries: int) -> None:
        with self._lock:
            self.scans += 1
            self.queries += queries


def _can_share(one: _Waiting, other: _Waiting) -> bool:
    return (
        one.stored is other.stored
        and one.memory_mb == other.memory_mb
        and one.scorer.side == other.scorer.side
        and one.scorer.similarity is other.scorer.similarity
        and (one.scorer.query.boxes is None) == (other.scorer.query.boxes is None)
    )


def _score(waiting: Sequence[_Waiting]) -> Sequence[Scores]:
    first = waiting[0]
    if len(waiting) == 1:
        return [score_rows(first.scorer, first.stored, memory_mb=first.memory_mb)]
    return list(score_together([one.scorer for one in waiting], first.stored, first.memory_mb))


def score_together(
    scorers: Sequence[QueryScorer], stored: Rows, memory_mb: float = 256.0
) -> Float[np.ndarray, "query row"]:
    """``score_rows`` of several queries of one side, in one scan."""
    similarity, side = scorers[0].similarity, scorers[0].side
    joined = EmbeddingSet.join([scorer.query for scorer in scorers])
    scores = np.empty((len(scorers), len(stored)), np.float32)

    def score(block: EmbeddingSet) -> Tensor:
        queries = joined.to(block.device)
        found: Tensor = similarity(block, queries) if side == "image" else similarity(queries, block).T
        return found

    halving = Halving("rows of the index")
    with torch.no_grad():
        for places, block in to_score(stored, None, memory_mb, ASSUMED_REGIONS * joined.mask.numel()):
            scores[:, places] = in_parts(score, block, halving).T
    check_numbers(scores)
    return scores
