"""Pictures' vectors and the words of their captions -> rules for how likely each picture shows each word.

First one rule for all words: a logistic regression on how well a word is found and how frequent it is. Then
for each frequent word a correction of its own, shrunk towards none, so that a word of few pictures keeps
nearly to the common rule.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from wordsight.presence.model import CommonRule, WordRules
from wordsight.tensors import F, Tensor, torch

COMMON_PICTURES = 2000  # that the common rule is fitted on
TOGETHER = 128  # words whose corrections are fitted at once: what a processor's cache holds
STEPS = 40  # of L-BFGS
PULL_HEAD = 100.0  # towards the common rule, of the weights of the mean vector (scaled to unit deviation)
PULL_SLOPE = 0.1  # of the weight of the best region
PULL_OFFSET = 1.0
RARE = 2.0  # pictures that mention a word without a rule of its own


@dataclass(frozen=True, eq=False)
class WordEvidence:
    """Cosines of pictures and words, before any labels."""

    means: Float[Tensor, "image dim"]  # of the unit vectors of each picture's regions
    best: Float[Tensor, "image word"]  # cosine of the best region
    units: Float[Tensor, "word dim"]  # vectors of the words

    def __getitem__(self, rows: Tensor | slice) -> "WordEvidence":
        return WordEvidence(self.means[rows], self.best[rows], self.units)


def fit_words(
    evidence: WordEvidence, counts: UInt8[np.ndarray, "image word"], report: Callable[[int, int], None]
) -> tuple[WordRules, CommonRule]:
    """Rules without the correction for words that captions leave out: ``unmentioned`` is 0."""
    mentioned = torch.from_numpy(counts > 0)
    means = evidence.means.mean(0)
    usual_best, usual_mean = evidence.best.mean(0), evidence.units @ means
    prior = _log_odds(mentioned.sum(0).float(), len(mentioned))
    best, mean, frequency, constant = _fit_common(evidence, mentioned, usual_best, usual_mean, prior)
    start = frequency * prior + constant
    slopes, heads, offsets = [], [], []
    for first in range(0, mentioned.shape[1], TOGETHER):
        some = slice(first, first + TOGETHER)
        found = evidence.best[:, some] - usual_best[some]
        along = (evidence.means - means) @ evidence.units[some].T
        base = best * found + mean * along + start[some]
        weights, slope, offset = _fit_corrections(
            base, evidence.means - means, found, mentioned[:, some].float()
        )
        slopes.append(best + slope)
        heads.append(mean * evidence.units[some] + weights.T)
        offsets.append(start[some] + offset - (best + slope) * usual_best[some] - heads[-1] @ means)
        report(min(first + TOGETHER, mentioned.shape[1]), mentioned.shape[1])
    rules = WordRules(
        evidence.units,
        torch.cat(heads),
        torch.cat(slopes),
        torch.cat(offsets),
        torch.zeros(len(evidence.units)),
    )
    rare = float(frequency * _log_odds(torch.tensor(RARE), len(mentioned)) + constant)
    return rules, CommonRule(float(best), float(mean), rare, 0.0)


def _log_odds(pictures: Tensor, total: int) -> Tensor:
    return ((pictures + 0.5) / (total - pictures + 0.5)).log()


def _fit_common(
    evidence: WordEvidence, mentioned: Tensor, usual_best: Tensor, usual_mean: Tensor, prior: Tensor
) -> Float[Tensor, "4"]:
    """Weights of the best region, of the mean, of the word's log odds, and the constant."""
    rows = torch.linspace(0, len(mentioned) - 1, min(len(mentioned), COMMON_PICTURES)).round().long()
    found = evidence.best[rows] - usual_best
    along = evidence.means[rows] @ evidence.units.T - usual_mean
    labels = mentioned[rows].float()
    weights = torch.tensor([5.0, 5.0, 1.0, -1.0], requires_grad=True)

    def loss() -> Tensor:
        logits = weights[0] * found + weights[1] * along + weights[2] * prior + weights[3]
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / labels.shape[1]

    minimize([weights], loss)
    return weights.detach()


def _fit_corrections(
    base: Float[Tensor, "image word"],
    means: Float[Tensor, "image dim"],
    found: Float[Tensor, "image word"],
    labels: Float[Tensor, "image word"],
) -> tuple[Float[Tensor, "dim word"], Float[Tensor, " word"], Float[Tensor, " word"]]:
    """Additions of each word to the common rule: two weights and a constant."""
    scale = means.std(0).mean().clamp(min=1e-6)
    scaled, count = means / scale, base.shape[1]
    weights = torch.zeros(means.shape[1], count, requires_grad=True)
    slope, offset = torch.zeros(count, requires_grad=True), torch.zeros(count, requires_grad=True)

    def loss() -> Tensor:
        logits = base + scaled @ weights + slope * found + offset
        fit = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        pulls = PULL_HEAD * weights.square().sum() + PULL_SLOPE * slope.square().sum()
        return (fit + (pulls + PULL_OFFSET * offset.square().sum()) / 2) / count

    minimize([weights, slope, offset], loss)
    return weights.detach() / scale, slope.detach(), offset.detach()


def minimize(parameters: list[Tensor], loss: Callable[[], Tensor], steps: int = STEPS) -> None:
    """L-BFGS over all data: the same numbers every time."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]


def fit_logistic(
    features: Float[Tensor, "sample feature"],
    labels: Float[Tensor, " sample"],
    start: Float[Tensor, " feature"],
) -> Float[Tensor, " feature"]:
    """Weights of a logistic regression by Newton's method, pulled slightly towards ``start``."""
    features, labels, weights = features.double(), labels.double(), start.double()
    pull, begin = 1.0, weights

    def loss(weights: Tensor) -> float:
        logits = features @ weights
        distance = (weights - begin).square().sum()
        return float((F.softplus(logits) - labels * logits).sum() + pull / 2 * distance)

    for _ in range(30):
        chances = torch.sigmoid(features @ weights)
        gradient = features.T @ (chances - labels) + pull * (weights - begin)
        curvature = (features * (chances * (1 - chances))[:, None]).T @ features
        step = torch.linalg.solve(curvature + pull * torch.eye(len(weights), dtype=torch.double), gradient)
        if float(step.abs().max()) < 1e-7:
            break
        step, before = step * min(1.0, 2 / float(step.abs().max())), loss(weights)
        while loss(weights - step) > before and float(step.abs().max()) > 1e-9:
            step = step / 2  # classes that are far apart: a whole step would go past the minimum
        weights = weights - step
    return weights.float()
