"""Scores, a threshold and the words that are found -> which rows match: one verdict for every interface.

A row matches if its score reaches the relevance threshold, or if every word that names something is found in
it. A sentence that is one vector has no words, so its score alone decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wordsight.search.engine.brute_force import QueryScorer, Rows, score_rows
from wordsight.search.query.encoded import EncodedQuery
from wordsight.search.query.stop_words import names_something
from wordsight.sets import EmbeddingSet


@dataclass(frozen=True)
class EveryWord:
    """Asks of each row whether every word that names something is found: the score is 1 or 0."""

    text: EncodedQuery
    scorer: QueryScorer
    levels: Sequence[float]  # of each word: from here on it counts as found

    @property
    def query(self) -> EmbeddingSet:
        return self.scorer.query

    def scores(self, rows: EmbeddingSet) -> Float[Tensor, " row"]:
        found = self.text.found(self.scorer.found(rows)).cpu()
        needed = torch.tensor([self.levels[n] for n in self.judged])
        return (found[:, self.judged] >= needed).all(1).float()

    def aligned_numbers(self) -> int:
        return self.scorer.aligned_numbers()

    @property
    def judged(self) -> list[int]:
        """The words that name something; none where the text is one vector."""
        words = () if self.text.whole else self.text.words
        return [n for n, word in enumerate(words) if names_something(word.text)]

    def rows(
        self, stored: Rows, rows: Int[np.ndarray, " n"] | None, memory_mb: float
    ) -> Bool[np.ndarray, " row"]:
        """True for the rows in which every word is found; read only where that is possible."""
        if not self.judged or not all(self.text.words[n].known for n in self.judged):
            return np.zeros(len(stored) if rows is None else len(rows), bool)
        found: Bool[np.ndarray, " row"] = score_rows(self, stored, rows, None, memory_mb) > 0
        return found
