"""Base class of search engines: a query and filters -> scores of rows of an index."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from wordsight.search.engine.brute_force import RowScorer
from wordsight.search.index.database import Filters
from wordsight.search.index.snapshot import Snapshot
from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels.packed import masked_unit

if TYPE_CHECKING:
    from wordsight.search.searcher_state import SearchSession


@dataclass(frozen=True, eq=False)
class RowScores:
    """Scores of rows: of all that pass the filters, or of candidates."""

    rows: Int[np.ndarray, " row"] | None  # None: all rows of the index
    scores: Float[np.ndarray, " row"]  # -inf: an operator of the query excludes the row
    exact: bool  # all rows that pass the filters were scored
    engine: str = ""  # name of the engine that scored them
    fallback: str = ""  # why it is another one than was chosen; empty: it is the chosen one, or "auto" chose


@dataclass(frozen=True, eq=False)
class EngineQuery:
    """A query as an engine sees it: its vectors, and the function that scores rows.

    ``threshold``        relevance threshold, if it is known before scoring
    ``has_operators``    whether + or - of the query exclude rows
    ``needs_relevant``   whether all rows above the threshold need their own score, not only the k best
    """

    scorer: RowScorer
    score_rows: Callable[[Int[np.ndarray, " row"] | None], Float[np.ndarray, " row"]]
    threshold: float | None = None
    has_operators: bool = False
    needs_relevant: bool = False

    @property
    def vectors(self) -> EmbeddingSet:
        """The query's sets: one, or a picture's and a text's."""
        return self.scorer.query

    @cached_property
    def mean_vector(self) -> Float[np.ndarray, " dim"]:
        """Mean of the unit vectors, as an index stores it for each item."""
        return mean_vector(self.vectors)

    def score(self, rows: Int[np.ndarray, " row"] | None, exact: bool = False) -> RowScores:
        """Scores of these rows by the model's similarity (None: of all rows)."""
        rows = None if rows is None else np.unique(rows)
        return RowScores(rows, self.score_rows(rows), exact or rows is None)


class Engine(ABC):
    """Search in one state of an index.

    An engine is built once for a session and used from several threads. It may read all of the session:
    ``session.snapshot`` (rows), ``session.matcher``, ``session.memory_mb``. It stores no reference to it.
    """

    name = ""  # by which it was chosen; empty: that of its class

    def __init__(self, session: "SearchSession") -> None:
        self._session = weakref.ref(session)

    @property
    def session(self) -> "SearchSession":
        """The session, which a running search keeps alive."""
        session = self._session()
        assert session is not None
        return session

    @property
    def snapshot(self) -> Snapshot:
        """The rows of the index."""
        snapshot: Snapshot = self.session.snapshot
        return snapshot

    @abstractmethod
    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        """Score the rows that pass the filters, or candidates that contain the k best of them."""

    def answer(self, query: EngineQuery, filters: Filters, k: int, fallback: str = "") -> RowScores:
        """The scores of ``search``, with the name of the engine; ``fallback``: why this one is used."""
        found, name = self.search(query, filters, k), self.name or type(self).__name__.lower()
        return replace(found, engine=found.engine or name, fallback=found.fallback or fallback)

    def rows(self, filters: Filters) -> Int[np.ndarray, " row"]:
        """The rows that pass the filters."""
        rows = self.snapshot.rows_where(filters)
        return np.arange(len(self.snapshot)) if rows is None else rows


def mean_vector(query: EmbeddingSet) -> Float[np.ndarray, " dim"]:
    """Mean of the unit vectors of a query."""
    total = masked_unit(query).sum(1)[0] / query.lengths[0]
    found: np.ndarray = total.float().cpu().numpy()
    return found
