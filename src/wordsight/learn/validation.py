"""Weights after an epoch -> how good they are, and the best of them in a folder."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from wordsight.errors import InputError
from wordsight.learn.journal import numbers
from wordsight.learn.resume import BEST, RunState, Trained
from wordsight.matcher import Matcher

Validate: TypeAlias = Callable[[Matcher], Mapping[str, float]]


@dataclass(frozen=True)
class Validation:
    """Measures the weights, or their average, and keeps the best in ``best/``.

    ``measure`` returns numbers by name, "rsum" among them; without it the latest weights are the best.
    """

    measure: Validate | None
    trained: Trained
    state: RunState
    folder: Path
    data: str  # what is trained on, for the model's card

    def run(self) -> dict[str, float]:
        """Only the first process does this; the matcher is in training mode before and after."""
        matcher, average = self.trained.matcher, self.trained.average
        matcher.eval()
        with average.in_place() if average else nullcontext(), torch.no_grad():
            facts = numbers(self.measure(matcher)) if self.measure else {}
            if self.measure is None or self._is_better(_rsum(facts)):
                card = {"training data": self.data or "not named"}
                card |= {f"validation {name}": f"{value:.4g}" for name, value in facts.items()}
                matcher.save_pretrained(self.folder / BEST, card)
        matcher.train()
        return facts

    def compare(self, facts: Mapping[str, Any]) -> bool:
        """Record in the state of the run whether these are the best so far; every process does this."""
        at = self.state
        if "rsum" not in facts:
            return False
        if not self._is_better(facts["rsum"]):
            at.without_better += 1
            return False
        at.best_rsum, at.best_epoch, at.without_better = facts["rsum"], at.epoch, 0
        return True

    def _is_better(self, rsum: float) -> bool:
        return self.state.best_rsum is None or rsum > self.state.best_rsum


def _rsum(facts: Mapping[str, float]) -> float:
    if not math.isfinite(facts.get("rsum", math.nan)):
        raise InputError(f"validate must return a finite number named rsum; it returned {dict(facts)}")
    return facts["rsum"]
