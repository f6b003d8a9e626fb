"""Probabilities and what was true -> area under the curve, calibration error, and a reliability table."""

from dataclasses import dataclass

from jaxtyping import Bool, Float

from wordsight.tensors import Tensor, torch

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Pairs whose probability lies in one range."""

    count: int
    said: float  # mean probability
    true: float  # share that was true


def area_under_curve(chances: Float[Tensor, "*pair"], true: Bool[Tensor, "*pair"]) -> float:
    """Share of (true, false) pairs that the probabilities order rightly; nan where there is only one kind."""
    values, labels = chances.flatten().double(), true.flatten()
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1) / 2  # equal values share the mean of their ranks
    total = float(ranks[inverse][labels].sum())
    return (total - positive * (positive + 1) / 2) / (positive * negative)


def reliability(chances: Float[Tensor, "*pair"], true: Bool[Tensor, "*pair"], bins: int = BINS) -> list[Bin]:
    """Bins of equal width; empty ones are left out."""
    values, labels = chances.flatten().double(), true.flatten().double()
    places = (values * bins).long().clamp(max=bins - 1)
    counts = torch.bincount(places, minlength=bins)
    said = torch.bincount(places, values, minlength=bins) / counts
    share = torch.bincount(places, labels, minlength=bins) / counts
    rows = zip(counts.tolist(), said.tolist(), share.tolist(), strict=True)
    return [Bin(*row) for row in rows if row[0]]


def calibration_error(
    chances: Float[Tensor, "*pair"], true: Bool[Tensor, "*pair"], bins: int = BINS
) -> float:
    """Expected calibration error: |said - true| of the bins, weighted by their pairs."""
    table = reliability(chances, true, bins)
    total = sum(row.count for row in table)
    return sum(row.count * abs(row.said - row.true) for row in table) / max(1, total)
