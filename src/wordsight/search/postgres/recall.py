"""Queries -> how many regions per word must be retrieved, by the recall that is measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.engine.engine import EngineQuery, RowScores
from wordsight.search.engine.shortlist import RECALL_AT, Recall
from wordsight.search.index.database import Filters
from wordsight.search.postgres.engines import SHORTLIST, Effort, Exact, Shortlist
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.search.postgres.session import PostgresSession

LADDER = (  # regions per word, probed lists as a multiple of the square root of all; the cheapest first
    Effort(250, 0.5),
    Effort(250, 1),
    Effort(500, 1),
    Effort(1000, 1),
    Effort(1000, 2),
    Effort(2000, 2),
    Effort(4000, 4),
    Effort(16_000, 8),
)
SUFFICIENT_RECALL = 0.98  # more effort is cheap until then
MAX_SECONDS = 120.0  # for the exact answers; with less time there are fewer queries


@dataclass(frozen=True)
class NearestRecall(Recall):
    """Recall of a shortlist from the ``nearest`` regions of each word."""

    nearest: int = 1000
    probes: float = 1.0  # multiple of the square root of the lists

    @property
    def effort(self) -> Effort:
        return Effort(self.nearest, self.probes)


@torch.no_grad()
def measure_recall(session: "PostgresSession", queries: Sequence[EmbeddingSet]) -> NearestRecall:
    """The least sufficient effort, or else the one with the best recall."""
    exact, shortlist = Exact(session), Shortlist(session)
    answered: list[tuple[EngineQuery, np.ndarray]] = []
    began = time.monotonic()
    for words in queries:
        if answered and time.monotonic() - began > MAX_SECONDS:
            break
        query = _query(session, words)
        found = exact.search(query, Filters(), RECALL_AT)
        best = _rows(found)[np.argsort(-found.scores, kind="stable")[:RECALL_AT]]
        answered.append((query, best))
    measured = []
    for effort in LADDER if answered else ():
        shares = []
        for query, best in answered:
            found = shortlist.shortlist(query, Filters(), SHORTLIST, effort)
            shares.append(float(np.isin(best, _rows(found)).mean()))
        measured.append(NearestRecall(SHORTLIST, float(np.mean(shares)), len(answered), *effort))
        if measured[-1].recall >= SUFFICIENT_RECALL:
            break
    return max(measured, key=lambda one: one.recall, default=NearestRecall(SHORTLIST, 0.0, 0))


def _query(session: "PostgresSession", words: EmbeddingSet) -> EngineQuery:
    scorer = QueryScorer(session.matcher.similarity, words)
    return EngineQuery(scorer, lambda rows: score_rows(scorer, session.snapshot, rows))


def _rows(found: RowScores) -> np.ndarray:
    assert found.rows is not None  # of an index on a server
    return found.rows
