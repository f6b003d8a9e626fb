"""Engines of an index on PostgreSQL: the score in SQL where it can be expressed, else of fetched vectors.

SQL expresses a maximum per word and one of the poolings mean, sum, max, log-sum-exp and softmax. For other
similarities, for operators (+word, -word) and for a picture together with words, SQL finds the candidates and
the model scores their vectors, fetched from the server.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.index.database import Filters
from wordsight.search.postgres.score_sql import (
    PooledSql,
    Words,
    candidates_statement,
    exact_statement,
    mean_sql,
    pooled_sql,
    ranked_statement,
)
from wordsight.similarity.kernels.packed import masked_unit

if TYPE_CHECKING:
    from wordsight.search.postgres.session import PostgresSession

MAX_EXACT_ROWS = 2000  # so many items are scored exactly as quickly as candidates are found
LOOKUP = 20  # a region's filter costs as much as so many products with a word
GOOD_RECALL = 0.9  # candidates are used if they have this recall
SHORTLIST = 1000  # pictures that are scored exactly
BRANCHES = 16  # words from which on each retrieves fewer regions
MIN_NEAREST = 200


class Effort(NamedTuple):
    """How much of the approximate index a query reads."""

    nearest: int  # regions per word
    probes: float  # lists per word, as a multiple of the square root of all


def words_of_query(query: EngineQuery) -> Words:
    """The distinct unit vectors of the query."""
    sets = query.vectors
    return Words.of(masked_unit(sets)[sets.mask].float().cpu().numpy())


class PostgresEngine(Engine):
    """An engine of a session on a server."""

    session: "PostgresSession"

    def pooled(self, query: EngineQuery) -> PooledSql | None:
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
        words, condition = words_of_query(query), self.session.snapshot.condition(filters)
        statement = exact_statement(words, pooled, condition)
        found = self.session.server.rows(statement, words.parameters() | condition[1])
        return _row_scores(found, exact=True)


class Shortlist(PostgresEngine):
    """Scores the pictures with the nearest regions."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        recall = self.session.nearest_recall
        return self.shortlist(query, filters, max(recall.size, SHORTLIST, 4 * k), recall.effort)

    def shortlist(self, query: EngineQuery, filters: Filters, size: int, effort: Effort) -> RowScores:
        """Scores of so many candidates, found among the nearest regions of each word."""
        snapshot = self.session.snapshot
        pooled, words, condition = self.pooled(query), words_of_query(query), snapshot.condition(filters)
        build = candidates_statement if pooled is None else ranked_statement
        statement = build(words, pooled or mean_sql, condition)  # SQL cannot express all similarities
        each = max(MIN_NEAREST, effort.nearest * min(len(words), BRANCHES) // len(words))
        parameters = words.parameters() | condition[1] | {"k": each, "size": size}
        found = self.session.candidates(statement, parameters, effort.probes)
        if pooled is None:
            return query.score(np.array([row for (row,) in found], np.int64))
        return _row_scores(found, exact=False)


class Auto(PostgresEngine):
    """Exact search of few items, or where candidates miss too many; else candidates."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        exact = (
            self.has_at_most(MAX_EXACT_ROWS, filters)
            or self.session.recall.recall < GOOD_RECALL
            or (filters != Filters() and self.has_at_most(self.few_rows, filters))
        )
        return self.session.engine("exact" if exact else "shortlist").answer(query, filters, k)

    def has_at_most(self, count: int, filters: Filters) -> bool:
        """Whether so few items pass the filters."""
        return self.session.snapshot.count_where(filters, count + 1) <= count

    @property
    def few_rows(self) -> int:
        """Items behind a filter that are scored exactly as quickly as candidates among them are found.

        To find K regions that pass, a word examines K rows / passing of the approximate index and looks up
        the item of each; an exact search multiplies the regions of the items that pass.
        """
        near, rows = self.session.near, len(self.session.snapshot)
        if near is None:
            return MAX_EXACT_ROWS
        per_item = max(1.0, near.regions / max(1, rows))
        return max(
            MAX_EXACT_ROWS, math.isqrt(int(LOOKUP * self.session.nearest_recall.nearest * rows / per_item))
        )


ENGINES: dict[str, type[PostgresEngine]] = {"auto": Auto, "exact": Exact, "shortlist": Shortlist}


def _row_scores(found: list[tuple[Any, ...]], exact: bool) -> RowScores:
    """Rows ascending, with their scores."""
    rows = np.array([row for row, _ in found], np.int64)
    scores = np.array([score for _, score in found], np.float32)
    order = np.argsort(rows)
    return RowScores(rows[order], scores[order], exact)
