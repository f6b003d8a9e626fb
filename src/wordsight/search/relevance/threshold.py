"""Relevance threshold of a query, and level from which each of its words counts as found.

**Threshold.** Even a text without a match has a best picture in an index. The scores of these best pictures
are measured for a bank of texts: captions of indexed pictures (without their own picture) and generated
texts. The threshold of a query is the quantile 1 - ``false_positive_rate`` of these scores; texts of about
as many words weigh most. So about ``false_positive_rate`` of the queries without a match are answered
wrongly; ``benchmarks/relevance_curves.py`` measures the real share, and that of good queries refused.

**Level of a word.** The strengths of a word in a sample of the pictures form one or two groups. Two groups:
some pictures show it, and the lower group is its background. One group: none or all show it, and the
background is that of other words. Level = mean + z standard deviations of the background, z for a normal
tail of ``word_false_positive_rate``, and at most the cut between the two groups.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.files.plain_json import Kind, table_of
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
from wordsight.tensors import Tensor, torch

FALSE_POSITIVE_RATE = 0.4
WORD_FALSE_POSITIVE_RATE = 0.1
LENGTH_BANDWIDTH = 0.35  # difference of the logarithms of two lengths at which a text weighs 0.6
MIN_GROUP_SHARE = 0.02  # least share of the pictures in an upper group


@dataclass(frozen=True, eq=False)
class Calibration:
    """Thresholds of one state of an index; queries are scored on the ``sample`` of its sets."""

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
        """Relevance threshold for a text of so many words."""
        bests, lengths, weights = self._bests
        if not len(bests):
            return -math.inf
        likeness = np.exp(-(((np.log(lengths) - math.log(max(1, words))) / LENGTH_BANDWIDTH) ** 2) / 2) + 1e-9
        return _quantile(bests, likeness * weights, 1 - self.false_positive_rate)

    @cached_property
    def _bests(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Best score of each text, extrapolated to all pictures; its number of words; its weight."""
        texts = [text for text in self.background.texts if math.isfinite(text.best)]
        further = _extra_deviations(self.background.pictures, self.total, [text.growth for text in texts])
        bests = np.array([text.best + further * text.spread for text in texts])
        lengths = np.array([max(1, text.words) for text in texts], float)
        return bests, lengths, np.array([text.weight for text in texts])

    def levels(self, encoded: EncodedQuery, scorer: QueryScorer) -> list[float]:
        """Level of each word: -inf for function words, inf for unknown words."""
        found = encoded.found(scorer.found(self.sample)).cpu()
        return [self._level(encoded, n, found[:, n]) for n in range(len(encoded.words))]

    def _level(self, encoded: EncodedQuery, n: int, found: Float[Tensor, " picture"]) -> float:
        word = encoded.words[n]
        if not encoded.whole and not names_something(word.text):
            return -math.inf
        return self.level(found) if word.known else math.inf

    def level(self, found: Float[Tensor, " picture"]) -> float:
        """Level of a word from its strengths in the sample."""
        groups = split(found)
        tail = NormalDist().inv_cdf(1 - self.word_false_positive_rate)
        if groups.explained >= TWO_GROUPS_EXPLAINED and groups.share >= MIN_GROUP_SHARE:
            return min(groups.cut, groups.lower_mean + tail * groups.lower_spread)
        return self.background.word_mean + tail * self.background.word_spread


def level_among(
    found: Float[Tensor, " value"], false_positive_rate: float = WORD_FALSE_POSITIVE_RATE
) -> float:
    """Level from the strengths of many words in one picture, most of them of unrelated texts."""
    groups = split(found)
    tail = NormalDist().inv_cdf(1 - false_positive_rate)
    if groups.explained >= TWO_GROUPS_EXPLAINED:
        return min(groups.cut, groups.lower_mean + tail * groups.lower_spread)
    return float(found.mean() + tail * found.std(correction=0))


def upper_quantile(
    scores: Float[np.ndarray, " row"], false_positive_rate: float = FALSE_POSITIVE_RATE
) -> float:
    """Threshold without a bank of texts: the quantile of the best of as many normal scores.

    Mean and standard deviation are those of the scores themselves.
    """
    alive = scores[np.isfinite(scores)]
    if not len(alive):
        return -math.inf
    share = (1 - false_positive_rate) ** (1 / len(alive))
    return float(alive.mean() + NormalDist().inv_cdf(min(share, 1 - 1e-15)) * alive.std())


def _extra_deviations(sampled: int, total: int, growths: Sequence[float]) -> float:
    """Standard deviations by which the best score of ``total`` pictures exceeds that of ``sampled``.

    The best of n normal values grows with the square root of 2 log n. Real scores grow more slowly; their
    rate is estimated between a quarter of the sample and all of it.
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


def from_json(table: Any) -> Background:
    """The background that ``to_json`` wrote. Raises InputError for anything else."""
    whole = table_of(table, _BACKGROUND, "background")
    texts = [table_of(text, _TEXT, "a text of the background") for text in whole["texts"]]
    stored = [TextAgainstAll(**{name: text[name] for name in _TEXT}) for text in texts]
    return Background(**{name: whole[name] for name in _BACKGROUND} | {"texts": tuple(stored)})


_BACKGROUND: dict[str, Kind] = {"pictures": int, "texts": list, "word_mean": float, "word_spread": float}
_TEXT: dict[str, Kind] = {"words": int, "best": float, "spread": float, "weight": float, "growth": float}


def background_scores(scorer: QueryScorer, sample: EmbeddingSet) -> Float[Tensor, " picture"]:
    """Scores of a query over the sample."""
    with torch.no_grad():
        return scorer.scores(sample).float().cpu()
