"""Background + a query -> where relevance ends, and from which strength on a word counts as found.

**The line.** Among the pictures of an index even a text that belongs to none of them has a best one. How good
that is, is known for a bank of texts: captions of indexed pictures (their own picture left out) and made-up
texts in the model's words. The line for a query is the quantile 1 - ``false_positive_rate`` of these
best scores, texts of about as many words counting most. So of queries that nothing answers, about a share of
``false_positive_rate`` is answered all the same; ``benchmarks/relevance_curves.py`` measures the real
share, and that of good queries which are refused.

**The level of a word.** What the word finds in pictures spread over the index falls into one or two groups.
Two: it is here and there, and the lower group is its background. One: it is nowhere, or everywhere, and the
background is what other words find. Level = mean + z deviations of the background, z for a normal tail of
``word_false_positive_rate``, and never above the cut between the two groups.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wordsight.errors import InputError
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.query.encoded import EncodedQuery
from wordsight.search.query.stop_words import names_something
from wordsight.search.relevance.null_scores import (
    QUARTERS,
    TWO_GROUPS_EXPLAINED,
    Background,
    TextAgainstAll,
    split,
)
from wordsight.sets import EmbeddingSet

FALSE_POSITIVE_RATE = 0.4
WORD_FALSE_POSITIVE_RATE = 0.1
LENGTH_BANDWIDTH = 0.35  # of two numbers of words, the difference of logarithms at which a text counts 0.6
MIN_GROUP_SHARE = 0.02  # the least share of pictures that makes a group


@dataclass(frozen=True, eq=False)
class Calibration:
    """Thresholds of one state of an index; ``sample`` are some of its sets, to score queries against."""

    background: Background
    sample: EmbeddingSet
    total: int
    false_positive_rate: float = FALSE_POSITIVE_RATE
    word_false_positive_rate: float = WORD_FALSE_POSITIVE_RATE

    def __post_init__(self) -> None:
        for name in ("false_positive_rate", "word_false_positive_rate"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; expected a share between 0 and 1")

    def threshold(self, words: int) -> float:
        """The score at which relevance ends, for a text of so many words."""
        bests, lengths, weights = self._bests
        if not len(bests):
            return -math.inf
        likeness = np.exp(-(((np.log(lengths) - math.log(max(1, words))) / LENGTH_BANDWIDTH) ** 2) / 2) + 1e-9
        return _quantile(bests, likeness * weights, 1 - self.false_positive_rate)

    @cached_property
    def _bests(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best score of each text, as if compared with all pictures, its number of words, its weight."""
        texts = [text for text in self.background.texts if math.isfinite(text.best)]
        further = _extra_deviations(self.background.pictures, self.total, [text.growth for text in texts])
        bests = np.array([text.best + further * text.spread for text in texts])
        lengths = np.array([max(1, text.words) for text in texts], float)
        return bests, lengths, np.array([text.weight for text in texts])

    def levels(self, encoded: EncodedQuery, scorer: QueryScorer) -> list[float]:
        """One for each word: -inf for those that name nothing, inf for those that the model does not know."""
        found = encoded.found(scorer.found(self.sample)).cpu()
        return [self._level(encoded, n, found[:, n]) for n in range(len(encoded.words))]

    def _level(self, encoded: EncodedQuery, n: int, found: Float[Tensor, " picture"]) -> float:
        word = encoded.words[n]
        if not encoded.whole and not names_something(word.text):
            return -math.inf
        return self.level(found) if word.known else math.inf

    def level(self, found: Float[Tensor, " picture"]) -> float:
        """From what one word finds in the sample."""
        groups = split(found)
        tail = NormalDist().inv_cdf(1 - self.word_false_positive_rate)
        if groups.explained >= TWO_GROUPS_EXPLAINED and groups.share >= MIN_GROUP_SHARE:
            return min(groups.cut, groups.lower_mean + tail * groups.lower_spread)
        return self.background.word_mean + tail * self.background.word_spread


def level_among(
    found: Float[Tensor, " value"], false_positive_rate: float = WORD_FALSE_POSITIVE_RATE
) -> float:
    """From what many words find in one picture, most of them of texts that do not belong to it."""
    groups = split(found)
    tail = NormalDist().inv_cdf(1 - false_positive_rate)
    if groups.explained >= TWO_GROUPS_EXPLAINED:
        return min(groups.cut, groups.lower_mean + tail * groups.lower_spread)
    return float(found.mean() + tail * found.std(correction=0))


def upper_quantile(
    scores: Float[np.ndarray, " row"], false_positive_rate: float = FALSE_POSITIVE_RATE
) -> float:
    """Where no bank of queries is known: what the best of so many normal scores stays below.

    The mean and the deviation are those of the scores themselves.
    """
    alive = scores[np.isfinite(scores)]
    if not len(alive):
        return -math.inf
    share = (1 - false_positive_rate) ** (1 / len(alive))
    return float(alive.mean() + NormalDist().inv_cdf(min(share, 1 - 1e-15)) * alive.std())


def _extra_deviations(sampled: int, total: int, growths: Sequence[float]) -> float:
    """How many deviations higher the best score of ``total`` pictures is than that of ``sampled``.

    The best of n normal values grows with the square root of 2 log n; real scores grow more slowly, and how
    fast they do is seen between a quarter of the sample and all of it.
    """
    if total <= sampled or sampled < 2 * QUARTERS or not growths:
        return 0.0
    quarter, here, there = (math.sqrt(2 * math.log(n)) for n in (sampled / QUARTERS, sampled, total))
    return float(np.mean(growths)) * (there - here) / (here - quarter)


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = values.argsort(kind="stable")
    reached = weights[order].cumsum() / weights.sum()
    return float(values[order][min(len(values) - 1, int(np.searchsorted(reached, share)))])


def to_json(background: Background) -> dict[str, Any]:
    return asdict(background)


def from_json(table: dict[str, Any]) -> Background:
    texts = tuple(TextAgainstAll(**text) for text in table.pop("texts"))
    return Background(texts=texts, **table)


def background_scores(scorer: QueryScorer, sample: EmbeddingSet) -> Float[Tensor, " picture"]:
    """Scores of a query over the sample."""
    with torch.no_grad():
        return scorer.scores(sample).float().cpu()
