"""Weights after every step -> their running average, which is what is validated and kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from wordsight.learn.names import longest_start, refuse_unknown


class WeightAverage:
    """The running average of the weights: average = decay average + (1 - decay) weights, after every step.

    The decay grows with the number of steps n as (1 + n) / (10 + n) up to ``decay``, so that the first,
    random weights are soon forgotten (as TensorFlow's moving averages do in CMPL). ``only`` names the starts
    of the weights to average; without any all are. Running statistics of batch norms stay the latest ones.
    """

    def __init__(self, module: nn.Module, decay: float, only: Sequence[str] = ()):
        named = dict(module.named_parameters())
        refuse_unknown("ema_only", only, named)
        self.decay = decay
        chosen = [name for name in named if not only or longest_start(name, only)]
        self.weights = {name: named[name] for name in chosen}
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights after step number ``steps`` (from 1)."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, weight in self.weights.items():
            self.average[name].lerp_(weight, 1 - decay)

    def load(self, average: Mapping[str, Tensor]) -> None:
        for name, tensor in self.average.items():
            tensor.copy_(average[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages are the module's weights inside the block; its own come back after it."""
        own = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(values[name])
