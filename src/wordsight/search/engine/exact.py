"""Exact engine: scores all rows that pass the filters."""

from wordsight.search.engine.brute_force import score_rows
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.index.database import Filters


class Exact(Engine):
    """Scores all rows. The int8 screen spares those that cannot change the answer."""

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        rows = self.snapshot.rows_where(filters)
        if rows is None and not query.has_operators and query.threshold is not None:
            screened = self._screened(query, query.threshold, k)
            if screened is not None:
                return screened
        return query.score(rows, exact=True)

    def _screened(self, query: EngineQuery, threshold: float, k: int) -> RowScores | None:
        """Scores of all rows, exact where the answer depends on them; None if the screen saves nothing."""
        settled = self.session.screen.settle(query.vectors, k, threshold, query.needs_relevant)
        if settled is None:
            return None
        scores, undecided = settled
        scores[undecided] = score_rows(query.scorer, self.snapshot, undecided, None, self.session.memory_mb)
        return RowScores(None, scores, True)
