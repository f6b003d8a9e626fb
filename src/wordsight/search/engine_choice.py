"""A question and an index -> whether all rows are scored, or only those of a shortlist."""

import numpy as np

from wordsight.errors import InputError
from wordsight.search.engine import shortlist
from wordsight.search.engine.brute_force import Question
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.searcher_state import SearchSession

ENGINES = ("auto", "exact", "shortlist")
LONGEST = 1.0  # seconds that "auto" lets an exact search take, if the shortlist is good
GOOD = 0.9  # recall of a good one


class EngineChoice:
    """Knows how fast this machine scores: each exact search corrects the first guess."""

    def __init__(self) -> None:
        self._products_per_second = 5e9

    def is_exact(
        self, session: SearchSession, question: Question, rows: np.ndarray | None, engine: str
    ) -> bool:
        if engine not in ENGINES:
            raise InputError(f'engine = "{engine}"; known: {", ".join(ENGINES)}')
        if engine != "auto":
            return engine == "exact"
        count = len(session.snapshot) if rows is None else len(rows)
        seconds = _products(session.snapshot, question, count) / self._products_per_second
        return seconds <= LONGEST or count <= shortlist.SIZES[-1] or session.recall.recall < GOOD

    def learn_speed(self, snapshot: Snapshot, question: Question, count: int, seconds: float) -> None:
        if count >= 1000 and seconds > 0:
            measured = _products(snapshot, question, count) / seconds
            self._products_per_second = (self._products_per_second + measured) / 2


def _products(snapshot: Snapshot, question: Question, count: int) -> float:
    """Multiplications of an exact search."""
    if not len(snapshot):
        return 0.0
    return count * float(snapshot.lengths.mean()) * question.query.vectors.numel()
