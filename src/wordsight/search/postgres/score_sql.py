"""A query's words and a pooling -> one SQL statement: candidates by nearest regions, then the exact score.

Per word the K nearest regions (by the approximate index), the best per picture; a word that did not retrieve
a picture counts with its K-th score. The pooled estimates give a shortlist. Its pictures are then scored
exactly: the maximum of the cosine over all regions per word, and the model's own pooling.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wordsight.search.postgres.conditions import Condition
from wordsight.search.postgres.halfvec import literal
from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum

_LOWEST = -700  # PostgreSQL refuses exp of less


def _exp(pooling: LogSumExp | Softmax) -> str:
    """exp((score - pivot) / temperature): at most 1, for no score is above the pivot."""
    return f"exp(greatest((score - pivot) / {float(pooling.temperature)!r}, {_LOWEST}))"


def _log_sum_exp(pooling: LogSumExp) -> str:
    temperature = float(pooling.temperature)
    unscaled = f"ln(sum(weight * {_exp(pooling)})) + max(pivot) / {temperature!r}"
    return f"{temperature!r} * ({unscaled})" if pooling.scaled else unscaled


_POOLED: dict[type[Pooling], Callable[[Any], str]] = {
    Mean: lambda _: "sum(weight * score) / sum(weight)",
    Sum: lambda _: "sum(weight * score)",
    Max: lambda _: "max(score)",
    LogSumExp: _log_sum_exp,
    Softmax: lambda one: f"sum(weight * score * {_exp(one)}) / sum(weight * {_exp(one)})",
}


def pooled_sql(pooling: Pooling | None) -> str | None:
    """The pooling as an aggregate over (weight, score, pivot); None if SQL cannot express it."""
    build = None if pooling is None else _POOLED.get(type(pooling))
    return None if build is None else build(pooling)


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
        return named | {f"n{n}": float(weight) for n, weight in enumerate(self.weights)}


def shortlist_sql(words: Words, estimate: str, condition: Condition) -> str:
    """Common table expressions up to ``shortlist(picture)``; parameters: the words', ``k``, ``size``."""
    where = _where(condition)
    nearest = "\n  UNION ALL ".join(_NEAREST.format(n=n, where=where) for n in range(len(words)))
    return f"""WITH words(word, weight) AS (VALUES {_values(words)}),
near AS (
  {nearest}
),
best AS (SELECT word, picture, max(score) AS score FROM near GROUP BY word, picture),
kth AS (SELECT word, weight, min(score) AS score FROM near JOIN words USING (word) GROUP BY word, weight),
seen AS (SELECT DISTINCT picture FROM best),
imputed AS (
  SELECT seen.picture, kth.weight, coalesce(best.score, kth.score) AS score, 1::float8 AS pivot
  FROM seen CROSS JOIN kth LEFT JOIN best ON best.word = kth.word AND best.picture = seen.picture
),
shortlist AS MATERIALIZED (
  SELECT picture FROM imputed GROUP BY picture ORDER BY {estimate} DESC, picture LIMIT %(size)s
)"""


_NEAREST = """(SELECT {n} AS word, r.picture, -(r.vector <#> %(w{n})s::halfvec) AS score
    FROM region r{where} ORDER BY r.vector <#> %(w{n})s::halfvec LIMIT %(k)s)"""


def candidates_statement(words: Words, estimate: str, condition: Condition) -> str:
    """Ids of the items of the shortlist."""
    return f"""{shortlist_sql(words, estimate, condition)}
SELECT i.id FROM shortlist JOIN item i USING (picture) WHERE {condition[0]}"""


def ranked_statement(words: Words, pooled: str, condition: Condition) -> str:
    """Ids and exact scores of the items of the shortlist."""
    return f"""{shortlist_sql(words, pooled, condition)},
{_exact(words, "shortlist JOIN region r USING (picture)", "", pooled)}
SELECT i.id, exact.score FROM exact JOIN item i USING (picture) WHERE {condition[0]}"""


def exact_statement(words: Words, pooled: str, condition: Condition) -> str:
    """Ids and exact scores of all items that pass the condition."""
    return f"""WITH {_exact(words, "region r", _where(condition), pooled)}
SELECT i.id, exact.score FROM exact JOIN item i USING (picture) WHERE {condition[0]}"""


def _exact(words: Words, source: str, where: str, pooled: str) -> str:
    """The exact score per picture. The stored vectors are rounded, so their lengths are divided out again."""
    maxima = ",\n    ".join(_MAXIMUM.format(n=n) for n in range(len(words)))
    rows = ", ".join(f"(%(n{n})s::float8, s{n}, top)" for n in range(len(words)))
    each = ", ".join(f"s{n}" for n in range(len(words)))
    return f"""stored AS NOT MATERIALIZED (
  SELECT r.picture, r.vector::vector AS vector FROM {source}{where} OFFSET 0
),
maxima AS (
  SELECT picture,
    {maxima}
  FROM stored GROUP BY picture
),
exact AS (
  SELECT picture, (SELECT {pooled} FROM (VALUES {rows}) AS word(weight, score, pivot)) AS score
  FROM maxima CROSS JOIN LATERAL (SELECT greatest({each}) AS top) AS pivots
)"""


_MAXIMUM = "max(coalesce(nullif(1 - (vector <=> %(w{n})s::vector), 'NaN'), 0)) AS s{n}"


def _values(words: Words) -> str:
    return ", ".join(f"({n}, %(n{n})s::float8)" for n in range(len(words)))


def _where(condition: Condition) -> str:
    if condition[0] == "true":
        return ""
    return f" WHERE r.picture IN (SELECT i.picture FROM item i WHERE {condition[0]})"
