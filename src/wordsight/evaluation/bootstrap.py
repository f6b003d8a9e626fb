"""Ranks of two systems on the same queries -> the difference of their rsum, with its bootstrap interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from wordsight.errors import InputError
from wordsight.evaluation.recall import RESAMPLES, SEED, K


@dataclass(frozen=True, eq=False)
class QueryHits:
    """Hits of each query among the first 1, 5, 10: 0 or 1, or a mean over seeds."""

    images: Float[np.ndarray, "image 3"]
    texts: Float[np.ndarray, "text 3"]
    image_identities: Int[np.ndarray, " image"]
    text_identities: Int[np.ndarray, " text"]

    @classmethod
    def of(
        cls,
        images: Int[np.ndarray, " image"],
        texts: Int[np.ndarray, " text"],
        image_identities: Int[np.ndarray, " image"],
        text_identities: Int[np.ndarray, " text"],
    ) -> "QueryHits":
        """From the 0-based ranks of each query's best match."""
        first = np.array(K)
        by_image, by_text = ((ranks[:, None] < first).astype(float) for ranks in (images, texts))
        return cls(by_image, by_text, image_identities, text_identities)

    @classmethod
    def mean(cls, seeds: Sequence["QueryHits"]) -> "QueryHits":
        """Over runs that asked the same queries; ValueError if they did not."""
        for other in seeds[1:]:
            _must_ask_the_same(seeds[0], other)
        images, texts = (
            np.mean([getattr(one, side) for one in seeds], axis=0) for side in ("images", "texts")
        )
        return cls(images, texts, seeds[0].image_identities, seeds[0].text_identities)

    @property
    def rsum(self) -> float:
        return 100 * float(self.images.mean(0).sum() + self.texts.mean(0).sum())


@dataclass(frozen=True)
class Difference:
    """One system's rsum less another's."""

    rsum: float
    ends: tuple[float, float]  # 95 %, percentile bootstrap
    p: float  # two-sided: how often resampling turns the sign, twice


def interval(hits: QueryHits, resamples: int = RESAMPLES, seed: int = SEED) -> tuple[float, float]:
    """95 % bootstrap interval of the rsum; the unit drawn is an identity: an image with its texts."""
    low, high = np.percentile(_replicas(hits, hits.images, hits.texts, resamples, seed), [2.5, 97.5])
    return float(low), float(high)


def difference(one: QueryHits, other: QueryHits, resamples: int = RESAMPLES, seed: int = SEED) -> Difference:
    """``one`` less ``other`` with the same images drawn for both, which is what makes the test a paired one.

    Raises ValueError when the two were not asked the same queries in the same order.
    """
    _must_ask_the_same(one, other)
    drawn = _replicas(one, one.images - other.images, one.texts - other.texts, resamples, seed)
    low, high = np.percentile(drawn, [2.5, 97.5])
    turned = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Difference(one.rsum - other.rsum, (float(low), float(high)), min(1.0, 2 * float(turned)))


def _replicas(
    queries: QueryHits,
    images: Float[np.ndarray, "image 3"],
    texts: Float[np.ndarray, "text 3"],
    resamples: int,
    seed: int,
) -> Float[np.ndarray, " resample"]:
    """The rsum of each resample; galleries stay whole."""
    names = np.concatenate([queries.image_identities, queries.text_identities])
    units, unit_of = np.unique(names, return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    total = np.zeros(resamples)
    for values, unit in ((images, unit_of[: len(images)]), (texts, unit_of[len(images) :])):
        drawn_queries = drawn @ np.bincount(unit, minlength=len(units))
        total += 100 * (drawn @ np.bincount(unit, values.sum(1), len(units))) / drawn_queries
    return total


def _must_ask_the_same(one: QueryHits, other: QueryHits) -> None:
    for side in ("image_identities", "text_identities"):
        if not np.array_equal(getattr(one, side), getattr(other, side)):
            raise InputError(
                "two systems that were not asked the same queries cannot be compared: their "
                f"{side.replace('_', ' ')} differ; measure both on one split of one data set"
            )
