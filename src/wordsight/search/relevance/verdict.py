"""A query and a matcher's presence model -> the log odds that each row of an index matches.

A text matches a picture that shows all it names; a picture matches others that show at least half of its main
things. One threshold, a probability, decides for every query, model and index.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from wordsight.inflection import lemma
from wordsight.matcher import Matcher
from wordsight.presence.model import LOGIT_LIMIT, PictureRule, PresenceModel, WordRules, main_words
from wordsight.search.engine.brute_force import (
    BLOCK_COPIES,
    SUBSET_DIVISOR,
    QueryScorer,
    ReadyRows,
    Rows,
    to_score,
)
from wordsight.search.query.encoded import EncodedQuery, EncodedWord, words_of
from wordsight.search.query.stop_words import names_something
from wordsight.search.relevance.word_vectors import word_vectors
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch

SPREAD = 1e-6  # the least deviation of scores that says anything


@runtime_checkable
class Verdict(Protocol):
    """Log odds of a match, from the rows' sets and their scores."""

    def logits(self, rows: EmbeddingSet, scores: Float[Tensor, " row"]) -> Float[Tensor, " row"]: ...


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


@dataclass(frozen=True)
class Usual:
    """Mean and deviation of a query's scores with the reference items."""

    mean: float
    spread: float

    @classmethod
    def of(cls, scorer: QueryScorer, reference: EmbeddingSet) -> "Usual":
        with torch.no_grad():
            scores = scorer.scores(reference.to(scorer.query.device)).float()
        return cls(float(scores.mean()), max(SPREAD, float(scores.std(correction=0))))

    def deviations(self, scores: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
        return (scores - self.mean) / self.spread


@dataclass(frozen=True, eq=False)
class PictureVerdict:
    """By the main things of a picture, and by its score: pictures by a picture."""

    rule: PictureRule
    words: WordRules  # the picture's main words
    weights: Float[Tensor, " word"]
    usual: Usual

    @classmethod
    def of(cls, model: PresenceModel, scorer: QueryScorer) -> "PictureVerdict":
        weights, columns = main_words(model.rules.mentioned_logits(scorer.query).cpu())
        rules = model.rules[columns[0].tolist()]
        return cls(model.pictures, rules, weights[0], Usual.of(scorer, model.reference))

    def logits(self, rows: EmbeddingSet, scores: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
        share = torch.sigmoid(self.words.logits(rows)) @ self.weights.to(rows.device)
        return self.rule.logits(share, self.usual.deviations(scores.to(share)))


@dataclass(frozen=True)
class NamedWords:
    """The words of a text that name something."""

    known: dict[str, str]  # lemma -> as it was written
    unknown: int  # distinct words that the model never learnt

    @classmethod
    def of(cls, words: Iterable[EncodedWord]) -> "NamedWords":
        naming = [word for word in words if names_something(word.text)]
        known = {lemma(word.text): word.text for word in naming if word.known}
        return cls(known, len({word.text.casefold() for word in naming if not word.known}))


@dataclass(frozen=True, eq=False)
class TextVerdict:
    """By the words of a text, and by its score."""

    model: PresenceModel
    rules: WordRules  # of the distinct words that name something and are known
    columns: tuple[int | None, ...]  # by word of the text; None for one without a probability
    unknown: int
    scorer: QueryScorer

    @classmethod
    def of(
        cls, matcher: Matcher, model: PresenceModel, encoded: EncodedQuery, scorer: QueryScorer
    ) -> "TextVerdict":
        words = words_of(matcher.tokenizer, encoded.sentence) if encoded.whole else encoded.words
        named = NamedWords.of(words)
        places = {word: n for n, word in enumerate(named.known)}
        rules = model.rules_for(list(named.known.values()), lambda some: word_vectors(matcher, some))
        columns = tuple(_column(places, word) for word in words)
        return cls(model, rules, columns, named.unknown, scorer)

    @cached_property
    def usual(self) -> Usual:
        return Usual.of(self.scorer, self.model.reference)

    def word_logits(self, rows: EmbeddingSet) -> Float[Tensor, "row word"]:
        """For each distinct word."""
        return self.rules.logits(rows)

    def logits(self, rows: EmbeddingSet, scores: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
        words = self.word_logits(rows)
        if self.unknown:
            words = torch.cat([words, words.new_full((len(words), self.unknown), -LOGIT_LIMIT)], 1)
        return self.model.match.logits(words, self.usual.deviations(scores.to(words)))

    def probabilities(self, rows: EmbeddingSet) -> list[list[float | None]]:
        """For each row, and each word of the text: None for words that name nothing, or are not known."""
        chances = torch.sigmoid(self.word_logits(rows)).tolist()
        return [[None if n is None else row[n] for n in self.columns] for row in chances]


def _column(places: dict[str, int], word: EncodedWord) -> int | None:
    return places.get(lemma(word.text)) if word.known and names_something(word.text) else None


@dataclass(frozen=True, eq=False)
class BlendVerdict:
    """By a picture and by words, each with its share."""

    picture: PictureVerdict
    by_picture: QueryScorer
    words: TextVerdict
    by_words: QueryScorer
    weight: float

    def logits(self, rows: EmbeddingSet, scores: Float[Tensor, " row"]) -> Float[Tensor, " row"]:  # noqa: ARG002
        picture = self.picture.logits(rows, self.by_picture.scores(rows).float())
        words = self.words.logits(rows, self.by_words.scores(rows).float())
        return torch.lerp(picture, words, self.weight)


@torch.no_grad()
def chances_of_rows(
    verdict: Verdict,
    scores: Float[np.ndarray, " row"],
    stored: Rows,
    rows: np.ndarray | None,
    memory_mb: float,
) -> Float[np.ndarray, " row"]:
    """The probability of each row that was scored, in the order of the scores; 0 for those left out."""
    every = rows is None or (isinstance(stored, ReadyRows) and SUBSET_DIVISOR * len(rows) >= len(stored))
    within = scores
    if every and rows is not None:
        within = np.full(len(stored), -np.inf, np.float32)
        within[rows] = scores
    logits = np.empty(len(within), np.float32)
    extra = BLOCK_COPIES * 8
    for places, block in to_score(stored, None if every else rows, memory_mb, extra):
        its = torch.from_numpy(np.ascontiguousarray(within[places])).to(block.device)
        logits[places] = verdict.logits(block, its).float().cpu().numpy()
    chances = np.where(np.isfinite(within), 1 / (1 + np.exp(-np.clip(logits, -50, 50))), 0).astype(np.float32)
    of_rows: Float[np.ndarray, " row"] = chances[rows] if every and rows is not None else chances
    return of_rows
