"""Background texts -> how many regions per word must be retrieved, by the recall that is measured."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.engine.engine import EngineQuery, RowScores
from wordsight.search.engine.shortlist import MAX_QUERIES, RECALL_AT, SUFFICIENT_RECALL
from wordsight.search.index.database import Filters
from wordsight.search.postgres.engines import SHORTLIST, Exact, Shortlist
from wordsight.search.relevance.null_scores import spread_rows
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.search.postgres.session import PostgresSession

NEAREST = (250, 500, 1000, 2000, 4000, 8000, 16_000)  # regions per word
MAX_SECONDS = 120.0  # for the exact answers; with less time there are fewer queries


def measure_recall(session: "PostgresSession", texts: Sequence[str]) -> tuple[int, int, float, int]:
    """Size of the shortlist, the least sufficient number of regions per word, its recall, queries."""
    exact, shortlist = Exact(session), Shortlist(session)
    queries: list[EngineQuery] = []
    wanted: list[np.ndarray] = []
    began = time.monotonic()
    with torch.no_grad():
        for number in spread_rows(len(texts), MAX_QUERIES).tolist():
            if wanted and time.monotonic() - began > MAX_SECONDS:
                break
            query = _query(session, texts[number])
            found = exact.search(query, Filters(), RECALL_AT)
            queries.append(query)
            wanted.append(_rows(found)[np.argsort(-found.scores, kind="stable")[:RECALL_AT]])
        recall, nearest = 0.0, NEAREST[-1]
        for nearest in NEAREST:
            shares = []
            for query, best in zip(queries, wanted, strict=True):
                found = shortlist.shortlist(query, Filters(), SHORTLIST, nearest)
                shares.append(float(np.isin(best, _rows(found)).mean()))
            recall = float(np.mean(shares)) if shares else 0.0
            if recall >= SUFFICIENT_RECALL:
                break
    return SHORTLIST, nearest, recall, len(queries)


def _query(session: "PostgresSession", text: str) -> EngineQuery:
    scorer = QueryScorer(session.matcher.similarity, session.matcher.encode_texts([text]))
    return EngineQuery(scorer, lambda rows: score_rows(scorer, session.snapshot, rows))


def _rows(found: RowScores) -> np.ndarray:
    assert found.rows is not None  # of an index on a server
    return found.rows
