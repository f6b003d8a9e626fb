"""A query's words and a pooling -> one SQL statement: candidates by nearest regions, then the exact score.

Per word the K nearest regions (by the approximate index), the best per picture; a word that did not retrieve
a picture counts with its K-th score. The pooled estimates give a shortlist. Its pictures are then scored
exactly: the maximum of the cosine over all regions per word, and the model's own pooling. A picture is one
row throughout, with a column per word: ``s0``, ``s1``, ..., and ``top``, the largest of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wordsight.search.postgres.conditions import Condition
from wordsight.search.postgres.halfvec import literal
from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum

_LOWEST = -700  # PostgreSQL refuses exp of less
PooledSql = Callable[[int], str]  # number of words -> the pooled score of the columns s0, s1, ..., top


def _sum(terms: Iterable[str]) -> str:
    return "(" + " + ".join(f"%(n{n})s::float8 * {term}" for n, term in enumerate(terms)) + ")"


def _scores(words: int) -> list[str]:
    return [f"s{n}" for n in range(words)]


def mean_sql(words: int) -> str:
    """The mean over a query's words."""
    return f"{_sum(_scores(words))} / %(total)s::float8"


def _exp(pooling: LogSumExp | Softmax, words: int) -> list[str]:
    """exp((score - top) / temperature) of each word: at most 1."""
    temperature = float(pooling.temperature)
    return [f"exp(greatest(({score} - top) / {temperature!r}, {_LOWEST}))" for score in _scores(words)]


def _log_sum_exp(pooling: LogSumExp, words: int) -> str:
    temperature = float(pooling.temperature)
    unscaled = f"ln({_sum(_exp(pooling, words))}) + top / {temperature!r}"
    return f"{temperature!r} * ({unscaled})" if pooling.scaled else unscaled


def _softmax(pooling: Softmax, words: int) -> str:
    shares = _exp(pooling, words)
    weighted = [f"{score} * {share}" for score, share in zip(_scores(words), shares, strict=True)]
    return f"{_sum(weighted)} / {_sum(shares)}"


_POOLED: dict[type[Pooling], Callable[[Any, int], str]] = {
    Mean: lambda _, words: mean_sql(words),
    Sum: lambda _, words: _sum(_scores(words)),
    Max: lambda _, words: "top",  # noqa: ARG005
    LogSumExp: _log_sum_exp,
    Softmax: _softmax,
}


def pooled_sql(pooling: Pooling | None) -> PooledSql | None:
    """The pooling over the columns of words; None if SQL cannot express it."""
    build = None if pooling is None else _POOLED.get(type(pooling))
    return None if build is None else partial(build, pooling)


@dataclass(frozen=True, eq=False)
class Words:
    """The distinct vectors of a query, and how often each counts."""

    vectors: Float[np.ndarray, "word dim"]  # of length 1
    weights: Int[np.ndarray, " word"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "item dim"]) -> "Words":
        distinct, weights = np.unique(vectors, axis=0, return_counts=True)
        return cls(distinct, weights)

    def __len__(self) -> int:
        return len(self.vectors)

    def parameters(self) -> dict[str, Any]:
        named: dict[str, Any] = {f"w{n}": literal(vector) for n, vector in enumerate(self.vectors)}
        named |= {f"n{n}": float(weight) for n, weight in enumerate(self.weights)}
        return named | {"total": float(self.weights.sum())}


def shortlist_sql(words: Words, pooled: PooledSql, condition: Condition) -> str:
    """Common table expressions up to ``shortlist(picture)``; parameters: the words', ``k``, ``size``."""
    where = _where(condition)
    nearest = "\n  UNION ALL ".join(_NEAREST.format(n=n, where=where) for n in range(len(words)))
    return f"""WITH near AS MATERIALIZED (
  {nearest}
),
kth AS (SELECT {_columns("min(score) FILTER (WHERE word = {n}) AS k{n}", words)} FROM near),
best AS (
  SELECT picture, {_columns("max(score) FILTER (WHERE word = {n}) AS b{n}", words)} FROM near GROUP BY picture
),
imputed AS (SELECT picture, {_columns("coalesce(b{n}, k{n}, -1) AS s{n}", words)} FROM best CROSS JOIN kth),
shortlist AS MATERIALIZED (
  SELECT picture FROM imputed{_top(words)} ORDER BY {pooled(len(words))} DESC, picture LIMIT %(size)s
)"""


_NEAREST = """(SELECT {n} AS word, r.picture, -(r.vector <#> %(w{n})s::halfvec) AS score
    FROM region r{where} ORDER BY r.vector <#> %(w{n})s::halfvec LIMIT %(k)s)"""


def candidates_statement(words: Words, estimate: PooledSql, condition: Condition) -> str:
    """Ids of the items of the shortlist."""
    return f"""{shortlist_sql(words, estimate, condition)}
SELECT i.id FROM shortlist JOIN item i USING (picture) WHERE {condition[0]}"""


def ranked_statement(words: Words, pooled: PooledSql, condition: Condition) -> str:
    """Ids and exact scores of the items of the shortlist."""
    return f"""{shortlist_sql(words, pooled, condition)},
{_exact(words, "shortlist JOIN region r USING (picture)", "", pooled)}
SELECT i.id, exact.score FROM exact JOIN item i USING (picture) WHERE {condition[0]}"""


def exact_statement(words: Words, pooled: PooledSql, condition: Condition) -> str:
    """Ids and exact scores of all items that pass the condition."""
    return f"""WITH {_exact(words, "region r", _where(condition), pooled)}
SELECT i.id, exact.score FROM exact JOIN item i USING (picture) WHERE {condition[0]}"""


def _exact(words: Words, source: str, where: str, pooled: PooledSql) -> str:
    """The exact score per picture. The stored vectors are rounded, so each gets length 1 again."""
    return f"""stored AS NOT MATERIALIZED (
  SELECT r.picture, l2_normalize(r.vector::vector) AS vector FROM {source}{where} OFFSET 0
),
maxima AS (
  SELECT picture, {_columns("-min(vector <#> %(w{n})s::vector) AS s{n}", words)} FROM stored GROUP BY picture
),
exact AS (SELECT picture, {pooled(len(words))} AS score FROM maxima{_top(words)})"""


def _columns(template: str, words: Words) -> str:
    return ", ".join(template.format(n=n) for n in range(len(words)))


def _top(words: Words) -> str:
    return f" CROSS JOIN LATERAL (SELECT greatest({', '.join(_scores(len(words)))}) AS top) AS tops"


def _where(condition: Condition) -> str:
    if condition[0] == "true":
        return ""
    return f" WHERE r.picture IN (SELECT i.picture FROM item i WHERE {condition[0]})"
