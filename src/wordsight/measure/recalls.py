"""Ranks -> R@K, median and mean rank, rsum, each with its protocol and its bootstrap interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

K = (1, 5, 10)
TIES = {
    "pessimistic": "ties count against the query",
    "reference": "ties go to the larger index, as argsort reversed",
}
RESAMPLES, SEED = 1000, 0


@dataclass(frozen=True, eq=False)
class FoldRanks:
    """Where the best match of each query came in one gallery; 0 is first."""

    images: Int[np.ndarray, " image"]  # of the best text of each image
    texts: Int[np.ndarray, " text"]  # of the best image of each text
    image_identities: Int[np.ndarray, " image"]
    text_identities: Int[np.ndarray, " text"]


@dataclass(frozen=True)
class Direction:
    """One way of asking: recalls in percent, ranks counted from 1."""

    recall: dict[int, float]  # by K
    medr: float  # floor(median) + 1, averaged over folds
    meanr: float

    def to_dict(self) -> dict[str, float]:
        return {f"R@{k}": self.recall[k] for k in K} | {"medr": self.medr, "meanr": self.meanr}


@dataclass(frozen=True)
class Recalls:
    """What was measured, and by which protocol."""

    protocol: str
    i2t: Direction  # picture asks, texts answer
    t2i: Direction
    images: int
    texts: int
    folds: int = 1
    ties: str = "pessimistic"
    split: str = ""
    deviation: str = ""  # why the protocol's name is not the whole truth
    intervals: dict[str, tuple[float, float]] | None = None  # by "i2t R@1" ... "rsum"; 95 %

    @classmethod
    def from_folds(
        cls,
        protocol: str,
        folds: Sequence[FoldRanks],
        *,
        ties: str = "pessimistic",
        split: str = "",
        deviation: str = "",
        intervals: bool = True,
    ) -> "Recalls":
        """Every number averaged over the folds; ``intervals`` adds the bootstrap."""
        return cls(
            protocol=protocol,
            i2t=_average([_direction(fold.images) for fold in folds]),
            t2i=_average([_direction(fold.texts) for fold in folds]),
            images=sum(len(fold.images) for fold in folds),
            texts=sum(len(fold.texts) for fold in folds),
            folds=len(folds),
            ties=ties,
            split=split,
            deviation=deviation,
            intervals=bootstrap(folds) if intervals else None,
        )

    @property
    def rsum(self) -> float:
        """The sum of the six recalls; 600 is perfect."""
        return sum(self.i2t.recall.values()) + sum(self.t2i.recall.values())

    @property
    def headline(self) -> str:
        """Protocol, counts, split and ties rule in one line: what makes two numbers comparable."""
        folds = f", average of {self.folds} folds" if self.folds > 1 else ""
        name = f"not {self.protocol}" if self.deviation else self.protocol
        split = f"; {self.split}" if self.split else ""
        return f"protocol {name}: {self.images} images, {self.texts} texts{folds}{split}; {TIES[self.ties]}"

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        intervals = None
        if self.intervals is not None:
            intervals = {"method": interval_method().replace("\n", " "), "level": 0.95}
            intervals |= {name: list(ends) for name, ends in self.intervals.items()}
        return {
            "protocol": self.protocol,
            "split": self.split,
            "images": self.images,
            "texts": self.texts,
            "folds": self.folds,
            "ties": self.ties,
            "deviation": self.deviation,
            "i2t": self.i2t.to_dict(),
            "t2i": self.t2i.to_dict(),
            "rsum": self.rsum,
            "intervals": intervals,
        }

    def to_text(self) -> str:
        """A table of fixed width; its first line and each row name the protocol."""
        name = f"{self.protocol}{'*' if self.deviation else ''}"
        lines = [self.headline]
        if self.deviation:
            lines.append(f"* {self.deviation}.")
        lines += ["", f"{name:<14}{'':<16}" + "".join(f"{f'R@{k}':>13}" for k in K) + "    medr   meanr"]
        for label, key, direction in (
            ("picture -> text", "i2t", self.i2t),
            ("text -> picture", "t2i", self.t2i),
        ):
            numbers = "".join(f"{direction.recall[k]:13.1f}" for k in K)
            lines.append(f"{name:<14}{label:<16}{numbers}{direction.medr:8.1f}{direction.meanr:8.1f}")
            if self.intervals is not None:
                ends = "".join(f"{_span(self.intervals[f'{key} R@{k}']):>13}" for k in K)
                lines.append(f"{'':<14}{'  95 %':<16}{ends}")
        ends = f"{_span(self.intervals['rsum']):>13}" if self.intervals is not None else ""
        lines.append(f"{name:<14}{'rsum':<16}{self.rsum:13.1f}{ends}")
        if self.intervals is not None:
            lines += ["", interval_method()]
        return "\n".join(lines)


def interval_method() -> str:
    return (
        f"95 % intervals: percentile bootstrap, {RESAMPLES} resamples of the images with their texts "
        f"(seed {SEED});\nthe gallery stays whole: they cover the choice of queries, not of training runs."
    )


def _span(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.1f}-{ends[1]:.1f}"


def _direction(ranks: Int[np.ndarray, " query"]) -> Direction:
    recall = {k: 100 * float((ranks < k).mean()) for k in K}
    return Direction(recall, float(np.floor(np.median(ranks)) + 1), float(ranks.mean() + 1))


def _average(folds: Sequence[Direction]) -> Direction:
    return Direction(
        {k: float(np.mean([fold.recall[k] for fold in folds])) for k in K},
        float(np.mean([fold.medr for fold in folds])),
        float(np.mean([fold.meanr for fold in folds])),
    )


def bootstrap(
    folds: Sequence[FoldRanks], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals; the unit drawn with replacement is an identity: an image with its texts.

    Ranks are those of the whole gallery. Folds are resampled each by itself and averaged.
    """
    random = np.random.default_rng(seed)
    replicas = np.mean([_replicas(fold, resamples, random) for fold in folds], axis=0)
    replicas = np.concatenate([replicas, replicas.sum(1, keepdims=True)], axis=1)
    low, high = np.percentile(replicas, [2.5, 97.5], axis=0)
    names = [f"{way} R@{k}" for way in ("i2t", "t2i") for k in K] + ["rsum"]
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def _replicas(
    fold: FoldRanks, resamples: int, random: np.random.Generator
) -> Float[np.ndarray, "resample six"]:
    """The six recalls of each resample."""
    units, unit_of = np.unique(
        np.concatenate([fold.image_identities, fold.text_identities]), return_inverse=True
    )
    drawn = random.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    split = len(fold.images)
    columns = []
    for ranks, unit in ((fold.images, unit_of[:split]), (fold.texts, unit_of[split:])):
        asked = drawn @ np.bincount(unit, minlength=len(units))
        columns += [100 * (drawn @ np.bincount(unit, ranks < k, len(units))) / asked for k in K]
    return np.stack(columns, axis=1)
