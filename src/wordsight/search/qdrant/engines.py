"""Engines of an index on Qdrant: its MaxSim finds candidates, the model's similarity scores their vectors."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.index.database import Filters
from wordsight.similarity.kernels.packed import masked_unit

if TYPE_CHECKING:
    from wordsight.search.qdrant.session import QdrantSession

SHORTLIST = 1000  # items that are scored exactly
PER_HIT = 4  # candidates for each hit of a page, at least
MAX_EXACT_ROWS = 2000  # so many items are scored exactly as quickly as candidates are found
GOOD_RECALL = 0.9  # candidates are used if they have this recall


class QdrantEngine(Engine):
    """An engine of a session on Qdrant."""

    session: "QdrantSession"


class Exact(QdrantEngine):
    """Scores all items that pass the filters."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:  # noqa: ARG002
        return query.score(self.session.snapshot.rows_where(filters), exact=True)


class Shortlist(QdrantEngine):
    """Scores the items with the largest sum of maxima."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        return query.score(self.candidates(query, filters, max(SHORTLIST, PER_HIT * k)))

    def candidates(self, query: EngineQuery, filters: Filters, size: int) -> Int[np.ndarray, " near"]:
        """The rows with the largest sum over the query's vectors of the greatest product."""
        sets, snapshot = query.vectors, self.session.snapshot
        words = masked_unit(sets)[sets.mask].float().cpu().numpy()
        with snapshot.store.client() as client:
            found = client.query_points(
                snapshot.store.items,
                query=words.tolist(),
                query_filter=snapshot.condition(filters),
                limit=size,
                with_payload=False,
            ).points
        return np.array(sorted(int(one.id) for one in found), dtype=np.int64)


class Auto(QdrantEngine):
    """Exact search of few items, or where candidates miss too many; else candidates."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        few = self.session.snapshot.count_where(filters) <= MAX_EXACT_ROWS
        is_exact = few or self.session.recall.recall < GOOD_RECALL
        return self.session.engine("exact" if is_exact else "shortlist").answer(query, filters, k)


ENGINES: dict[str, type[Engine]] = {"auto": Auto, "exact": Exact, "shortlist": Shortlist}
