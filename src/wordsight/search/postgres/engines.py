"""Engines of an index on PostgreSQL: the score in SQL where it can be expressed, else of fetched vectors.

SQL expresses a maximum per word and one of the poolings mean, sum, max, log-sum-exp and softmax. For other
similarities, for operators (+word, -word) and for a picture together with words, SQL finds the candidates and
the model scores their vectors, fetched from the server.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.index.database import Filters
from wordsight.search.postgres.conditions import conditions
from wordsight.search.postgres.score_sql import (
    Words,
    candidates_statement,
    exact_statement,
    pooled_sql,
    ranked_statement,
)
from wordsight.similarity.kernels.packed import masked_unit

if TYPE_CHECKING:
    from wordsight.search.postgres.session import PostgresSession

MAX_EXACT_ROWS = 2000  # so many items are scored exactly as quickly as candidates are found
GOOD_RECALL = 0.9  # candidates are used if they have this recall
SHORTLIST = 300  # pictures that are scored exactly
BRANCHES = 16  # words from which on each retrieves fewer regions
MIN_NEAREST = 200
ESTIMATE = "sum(weight * score) / sum(weight)"  # of a similarity that SQL cannot express


def words_of_query(query: EngineQuery) -> Words:
    """The distinct unit vectors of the query."""
    sets = query.vectors
    return Words.of(masked_unit(sets)[sets.mask].float().cpu().numpy())


class PostgresEngine(Engine):
    """An engine of a session on a server."""

    session: "PostgresSession"

    def pooled(self, query: EngineQuery) -> str | None:
        """The exact score as SQL; None where the model must score."""
        if query.has_operators or not isinstance(query.scorer, QueryScorer) or query.scorer.side != "image":
            return None
        return pooled_sql(query.scorer.similarity.pooling_of_maxima)


class Exact(PostgresEngine):
    """Scores all items that pass the filters."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:  # noqa: ARG002
        pooled = self.pooled(query)
        if pooled is None:
            return query.score(self.session.snapshot.rows_where(filters), exact=True)
        words, condition = words_of_query(query), conditions(filters)
        statement = exact_statement(words, pooled, condition)
        found = self.session.server.rows(statement, words.parameters() | condition[1])
        return _row_scores(found, exact=True)


class Shortlist(PostgresEngine):
    """Scores the pictures with the nearest regions."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        recall = self.session.nearest_recall
        return self.shortlist(query, filters, max(recall.size, SHORTLIST, 4 * k), recall.nearest)

    def shortlist(self, query: EngineQuery, filters: Filters, size: int, nearest: int) -> RowScores:
        """Scores of so many candidates, found among the ``nearest`` regions of each word."""
        pooled, words, condition = self.pooled(query), words_of_query(query), conditions(filters)
        build = candidates_statement if pooled is None else ranked_statement
        statement = build(words, pooled or ESTIMATE, condition)
        each = max(MIN_NEAREST, nearest * min(len(words), BRANCHES) // len(words))
        parameters = words.parameters() | condition[1] | {"k": each, "size": size}
        found = self.session.candidates(statement, parameters)
        if pooled is None:
            return query.score(np.array([row for (row,) in found], np.int64))
        return _row_scores(found, exact=False)


class Auto(PostgresEngine):
    """Exact search of few items, or where candidates miss too many; else candidates."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        few = self.session.snapshot.count_where(filters, MAX_EXACT_ROWS + 1) <= MAX_EXACT_ROWS
        is_exact = few or self.session.recall.recall < GOOD_RECALL
        return self.session.engine("exact" if is_exact else "shortlist").answer(query, filters, k)


ENGINES: dict[str, type[PostgresEngine]] = {"auto": Auto, "exact": Exact, "shortlist": Shortlist}


def _row_scores(found: list[tuple[Any, ...]], exact: bool) -> RowScores:
    """Rows ascending, with their scores."""
    rows = np.array([row for row, _ in found], np.int64)
    scores = np.array([score for _, score in found], np.float32)
    order = np.argsort(rows)
    return RowScores(rows[order], scores[order], exact)
