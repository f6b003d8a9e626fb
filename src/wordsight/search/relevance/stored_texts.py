"""An index of texts and a picture -> the probability that the picture answers each text.

It is the probability that a search by the text would give the picture: its words' log odds and its score, by
the rule of the presence model. A score counts in deviations from those of the text with 200 reference
pictures. That costs as much as scoring 200 pictures, so it is computed for the texts whose words leave a
chance, once for each.
"""

import threading
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from wordsight.matcher import Matcher
from wordsight.presence.model import LOGIT_LIMIT, PresenceModel, WordRules
from wordsight.search.engine.brute_force import best_candidates
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.query.encoded import words_of
from wordsight.search.relevance.verdict import SPREAD, NamedWords, log_odds
from wordsight.search.relevance.word_vectors import word_vectors
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch

MAX_DEVIATION = 8.0  # of a score; of 10 million pairs of Flickr8k the highest is 5.7
TEXTS_AT_ONCE = 256
ITEMS_AT_ONCE = 2000


class StoredTexts:
    """The texts of a snapshot, word by word; safe to use from several threads."""

    def __init__(self, matcher: Matcher, model: PresenceModel, snapshot: Snapshot) -> None:
        self.matcher, self.model, self.snapshot = matcher, model, snapshot
        columns: dict[str, int] = {}
        named = [_columns(columns, model, one) for one in _named_words(matcher, snapshot)]
        self.rules: WordRules = model.rules_for(list(columns), lambda some: word_vectors(matcher, some))
        self.words = np.fromiter((column for one, _ in named for column in one), np.int64)
        self.known = np.array([len(one) for one, _ in named], np.int64)
        self.unknown = np.array([unknown for _, unknown in named], np.int64)
        self._usual = np.full((2, len(named)), np.nan, np.float32)  # mean and spread of each text's scores
        self._lock = threading.Lock()

    @torch.no_grad()
    def chances(
        self,
        picture: EmbeddingSet,
        rows: Int[np.ndarray, " row"] | None,
        scores: Float[np.ndarray, " row"],
        count: int,
        least: float,
    ) -> Float[np.ndarray, " row"]:
        """The probability of each row: exact for all that reach ``least``, and for the ``count`` best others.

        Those of the rest are upper bounds below ``least``.
        """
        rows = np.arange(len(self.known)) if rows is None else rows
        summary = self._summary(self.rules.logits(picture)[0].double().cpu().numpy())
        number, weakest, mean = (of_all[rows] for of_all in summary)

        def logits(places: np.ndarray, deviations: Tensor) -> np.ndarray:
            count, least, usual = (torch.from_numpy(of[places]).float() for of in (number, weakest, mean))
            found: np.ndarray = self.model.match.of_summary(count, least, usual, deviations).numpy()
            return found

        def settle(places: np.ndarray) -> None:
            means, spreads = self._usual_of(rows[places])
            settled[places] = logits(places, torch.from_numpy((scores[places] - means) / spreads))

        everything = np.arange(len(rows))
        settled = logits(everything, torch.full((len(rows),), MAX_DEVIATION))
        settle(np.flatnonzero(settled >= log_odds(least)))
        others = np.where(settled >= log_odds(least), -np.inf, scores).astype(np.float32)
        settle(best_candidates(others, count))
        found: np.ndarray = (1 / (1 + np.exp(-np.clip(settled, -50, 50)))).astype(np.float32)
        return found

    def _summary(
        self, logits: Float[np.ndarray, " word"]
    ) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
        """Words of each text, the least of their log odds, the mean; an unknown word has the lowest."""
        number = self.known + self.unknown
        weakest, total = np.full(len(self.known), np.inf), np.zeros(len(self.known))
        with_words = self.known > 0
        starts = (self.known.cumsum() - self.known)[with_words]
        if len(starts):
            weakest[with_words] = np.minimum.reduceat(logits[self.words], starts)
            total[with_words] = np.add.reduceat(logits[self.words], starts)
        weakest[self.unknown > 0] = -LOGIT_LIMIT
        return number, weakest, (total - LOGIT_LIMIT * self.unknown) / np.maximum(1, number)

    def _usual_of(
        self, rows: Int[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Mean and spread of the scores of these texts with the reference pictures."""
        missing = rows[np.isnan(self._usual[0, rows])]
        reference = self.model.reference.to(self.matcher.device)
        for start in range(0, len(missing), TEXTS_AT_ONCE):
            some = missing[start : start + TEXTS_AT_ONCE]
            texts = self.snapshot.gather(some).to(self.matcher.device)
            scores = self.matcher.similarity(reference, texts).float()
            usual = torch.stack([scores.mean(0), scores.std(0, correction=0).clamp(min=SPREAD)])
            with self._lock:
                self._usual[:, some] = usual.cpu().numpy()
        return self._usual[0, rows], self._usual[1, rows]


def _named_words(matcher: Matcher, snapshot: Snapshot) -> Iterator[NamedWords]:
    for start in range(0, len(snapshot), ITEMS_AT_ONCE):
        for item in snapshot.items(range(start, min(start + ITEMS_AT_ONCE, len(snapshot)))):
            yield NamedWords.of(words_of(matcher.tokenizer, item.text))


def _columns(columns: dict[str, int], model: PresenceModel, named: NamedWords) -> tuple[list[int], int]:
    """Columns of a text's words, new ones for new words: lemmas with a rule of their own, else spellings."""
    keys = (lemma if lemma in model.rows else written for lemma, written in named.known.items())
    return [columns.setdefault(key, len(columns)) for key in keys], named.unknown
