"""Ranks -> R@K, median and mean rank, rsum, precisions, each with its protocol and its bootstrap interval."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from wordsight.evaluation.average_precision import PRECISIONS, MatchRanks
from wordsight.evaluation.chance import chance_recall

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
    image_matches: MatchRanks | None = None  # where all that belongs to them came; only for precisions
    text_matches: MatchRanks | None = None

    def values(self, way: str) -> dict[str, Shaped[np.ndarray, " query"]]:
        """Contribution of each query to the measures of "i2t" or "t2i", in [0, 1]."""
        best, matches = {
            "i2t": (self.images, self.image_matches),
            "t2i": (self.texts, self.text_matches),
        }[way]
        precise = {} if matches is None else {name: of(matches) for name, of in PRECISIONS.items()}
        return {f"R@{k}": best < k for k in K} | precise


@dataclass(frozen=True)
class Direction:
    """One way of asking: recalls and precisions in percent, ranks counted from 1."""

    recall: dict[int, float]  # by K
    medr: float  # floor(median) + 1, averaged over folds
    meanr: float
    precisions: dict[str, float] | None = None  # mAP, mINP, R-precision, mAP@R; where they were asked for

    def to_dict(self) -> dict[str, float]:
        recalls = {f"R@{k}": self.recall[k] for k in K}
        return recalls | {"medr": self.medr, "meanr": self.meanr} | (self.precisions or {})


@dataclass(frozen=True)
class Recalls:
    """R@K, ranks and rsum, and the protocol that they follow."""

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
    ranks: Sequence[FoldRanks] = field(default=(), repr=False, compare=False)  # of every query, by fold

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
            i2t=_average([direction_of(fold.images, fold.image_matches) for fold in folds]),
            t2i=_average([direction_of(fold.texts, fold.text_matches) for fold in folds]),
            images=sum(len(fold.images) for fold in folds),
            texts=sum(len(fold.texts) for fold in folds),
            folds=len(folds),
            ties=ties,
            split=split,
            deviation=deviation,
            intervals=bootstrap(folds) if intervals else None,
            ranks=tuple(folds),
        )

    @property
    def rsum(self) -> float:
        """The sum of the six recalls; 600 is perfect."""
        return sum(self.i2t.recall.values()) + sum(self.t2i.recall.values())

    @property
    def chance(self) -> dict[str, dict[int, float]]:
        """The R@K of a random order, in percent, of "i2t" and "t2i"; empty without the ranks."""
        if not self.ranks:
            return {}
        sides = [(fold.image_identities, fold.text_identities) for fold in self.ranks]
        ways = {"i2t": sides, "t2i": [(texts, images) for images, texts in sides]}
        folds = {way: [chance_recall(*fold, K) for fold in found] for way, found in ways.items()}
        return {
            way: {k: float(np.mean([recall[k] for recall in found])) for k in K}
            for way, found in folds.items()
        }

    @property
    def cmpl_map(self) -> dict[str, float]:
        """Mean average precision as CMPL's code computes it, in percent, of "i2t" and "t2i".

        Its precision at a match leaves out this match itself, so it is lower than the standard mAP. Empty
        where the ranks of all matches were not measured.
        """
        ways = {
            "i2t": [fold.image_matches for fold in self.ranks],
            "t2i": [fold.text_matches for fold in self.ranks],
        }
        return {
            way: 100 * float(np.mean([one.reference_average_precision().mean() for one in found if one]))
            for way, found in ways.items()
            if found and None not in found
        }

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
            "chance": {
                way: {f"R@{k}": recall for k, recall in found.items()} for way, found in self.chance.items()
            },
            "intervals": intervals,
        }

    def by_name(self) -> dict[str, float]:
        """R@1, R@5, R@10, medr and meanr of both ways, and precisions: "i2t R@1", "t2i medr", ..."""
        return {f"{way} {key}": value for _, way, one in self._ways for key, value in one.to_dict().items()}

    def to_text(self) -> str:
        """A table of fixed width; its first line and each row name the protocol."""
        lines = [self.headline]
        if self.deviation:
            lines.append(f"* {self.deviation}.")
        lines += [
            "",
            f"{self._name:<14}{'':<16}" + "".join(f"{f'R@{k}':>13}" for k in K) + "    medr   meanr",
        ]
        for label, way, direction in self._ways:
            recalls = {f"R@{k}": direction.recall[k] for k in K}
            lines += self._rows(label, way, recalls, f"{direction.medr:8.1f}{direction.meanr:8.1f}")
            if chance := self.chance.get(way):
                lines.append(
                    f"{'':<14}{'  chance':<16}{''.join(f'{share:13.1f}' for share in chance.values())}"
                )
        ends = f"{_span(self.intervals['rsum']):>13}" if self.intervals is not None else ""
        lines.append(f"{self._name:<14}{'rsum':<16}{self.rsum:13.1f}{ends}")
        if self.i2t.precisions is not None:
            lines += ["", f"{self._name:<14}{'':<16}" + "".join(f"{name:>13}" for name in PRECISIONS)]
            for label, way, direction in self._ways:
                lines += self._rows(label, way, direction.precisions or {})
        if self.intervals is not None:
            lines += ["", interval_method()]
        return "\n".join(lines)

    @property
    def _name(self) -> str:
        return f"{self.protocol}{'*' if self.deviation else ''}"

    @property
    def _ways(self) -> tuple[tuple[str, str, Direction], ...]:
        return ("picture -> text", "i2t", self.i2t), ("text -> picture", "t2i", self.t2i)

    def _rows(self, label: str, way: str, numbers: dict[str, float], rest: str = "") -> list[str]:
        """Some measures of one way, and their intervals below."""
        row = f"{self._name:<14}{label:<16}{''.join(f'{number:13.1f}' for number in numbers.values())}{rest}"
        if self.intervals is None:
            return [row]
        ends = "".join(f"{_span(self.intervals[f'{way} {measure}']):>13}" for measure in numbers)
        return [row, f"{'':<14}{'  95 %':<16}{ends}"]


def interval_method() -> str:
    return (
        f"95 % intervals: percentile bootstrap, {RESAMPLES} resamples of the images with their texts "
        f"(seed {SEED});\nthe gallery stays whole: they cover the choice of queries, not of training runs."
    )


def _span(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.1f}-{ends[1]:.1f}"


def direction_of(ranks: Int[np.ndarray, " query"], matches: MatchRanks | None = None) -> Direction:
    """The measures of one way of asking, from the rank of each query's best match, or those of all."""
    recall = {k: 100 * float((ranks < k).mean()) for k in K}
    precisions = None
    if matches is not None:
        precisions = {name: 100 * float(values_of(matches).mean()) for name, values_of in PRECISIONS.items()}
    return Direction(recall, float(np.floor(np.median(ranks)) + 1), float(ranks.mean() + 1), precisions)


def _average(folds: Sequence[Direction]) -> Direction:
    precisions = [fold.precisions for fold in folds if fold.precisions is not None]
    return Direction(
        {k: float(np.mean([fold.recall[k] for fold in folds])) for k in K},
        float(np.mean([fold.medr for fold in folds])),
        float(np.mean([fold.meanr for fold in folds])),
        {name: float(np.mean([fold[name] for fold in precisions])) for name in PRECISIONS}
        if precisions
        else None,
    )


def bootstrap(
    folds: Sequence[FoldRanks], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals; the unit drawn with replacement is an identity: an image with its texts.

    Ranks are those of the whole gallery. Folds are resampled each by itself and averaged.
    """
    random = np.random.default_rng(seed)
    of_folds = [_replicas(fold, resamples, random) for fold in folds]
    replicas = {name: np.mean([fold[name] for fold in of_folds], axis=0) for name in of_folds[0]}
    replicas["rsum"] = np.sum([replicas[f"{way} R@{k}"] for way in ("i2t", "t2i") for k in K], axis=0)
    ends = {name: np.percentile(values, [2.5, 97.5]) for name, values in replicas.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _replicas(
    fold: FoldRanks, resamples: int, random: np.random.Generator
) -> dict[str, Float[np.ndarray, " resample"]]:
    """Each measure of each way, in percent, for each resample."""
    units, unit_of = np.unique(
        np.concatenate([fold.image_identities, fold.text_identities]), return_inverse=True
    )
    drawn = random.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    split = len(fold.images)
    replicas = {}
    for way, unit in (("i2t", unit_of[:split]), ("t2i", unit_of[split:])):
        totals = drawn @ np.bincount(unit, minlength=len(units))
        for name, values in fold.values(way).items():
            replicas[f"{way} {name}"] = 100 * (drawn @ np.bincount(unit, values, len(units))) / totals
    return replicas
