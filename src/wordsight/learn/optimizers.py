"""Weights and settings -> optimizer with groups, learning rate of every step, average of the weights."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from wordsight.learn.settings import Training


def named_weights(matcher: nn.Module, loss: nn.Module) -> dict[str, nn.Parameter]:
    """All weights by name; those of the loss (a learned temperature, say) as "loss....\""""
    return dict(matcher.named_parameters()) | {f"loss.{name}": p for name, p in loss.named_parameters()}


def make_optimizer(weights: Mapping[str, nn.Parameter], settings: Training) -> Optimizer:
    """One parameter group per setting of ``groups`` and one for the rest; a factor of 0 freezes its weights.

    Each group keeps its learning-rate factor as "factor", for ``set_learning_rate``.
    """
    members: dict[str, list[nn.Parameter]] = {}
    for name, weight in weights.items():
        members.setdefault(_group_of(name, settings), []).append(weight)
    _refuse_unknown_groups(settings, members, weights)
    tables = []
    for prefix, parameters in members.items():
        factor, weight_decay = _factor_and_decay(prefix, settings)
        for parameter in parameters:
            parameter.requires_grad_(parameter.requires_grad and factor > 0)
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            tables.append({"params": trained, "factor": factor, "weight_decay": weight_decay})
    if not tables:
        raise ValueError("there is nothing to train: every weight is frozen; see [training] groups")
    if settings.optimizer == "sgd":
        return SGD(tables, settings.learning_rate, momentum=settings.betas[0])
    adam = AdamW if settings.optimizer == "adamw" else Adam
    return adam(tables, settings.learning_rate, betas=(settings.betas[0], settings.betas[1]))


def _group_of(name: str, settings: Training) -> str:
    """The longest prefix that the name starts with, at a dot; "" if there is none."""
    starts = [prefix for prefix in settings.groups if f"{name}.".startswith(f"{prefix.rstrip('.')}.")]
    return max(starts, key=len, default="")


def _refuse_unknown_groups(
    settings: Training, members: Mapping[str, list[nn.Parameter]], weights: Mapping[str, nn.Parameter]
) -> None:
    for prefix in settings.groups:
        within = any(f"{name}.".startswith(f"{prefix.rstrip('.')}.") for name in weights)
        if prefix not in members and not within:
            first = sorted({".".join(name.split(".")[:2]) for name in weights})
            raise ValueError(
                f'[training] groups: no weight is called "{prefix}" or "{prefix}....", '
                f"known: {', '.join(first)}"
            )


def _factor_and_decay(prefix: str, settings: Training) -> tuple[float, float]:
    group = settings.groups.get(prefix, 1.0)
    if not isinstance(group, Mapping):
        return float(group), settings.weight_decay
    if unknown := set(group) - {"factor", "weight_decay"}:
        raise ValueError(
            f'[training] groups."{prefix}": {sorted(unknown)[0]} is not known; known: factor, weight_decay'
        )
    return float(group.get("factor", 1.0)), float(group.get("weight_decay", settings.weight_decay))


def learning_rate_share(step: int, epoch: int, steps_per_epoch: int, settings: Training) -> float:
    """What part of the learning rate step ``step`` of the run, in ``epoch``, uses; both count from 0."""
    warm = settings.warmup_steps
    share = min(1.0, (step + 1) / warm) if warm else 1.0
    if settings.schedule == "step":
        return share * settings.factor ** sum(epoch >= milestone for milestone in settings.milestones)
    if settings.schedule == "cosine":
        total = settings.epochs * steps_per_epoch
        done = min(1.0, max(0, step - warm) / max(1, total - warm))
        return share * (settings.factor + (1 - settings.factor) * (1 + math.cos(math.pi * done)) / 2)
    return share


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


class WeightAverage:
    """The running average of the weights: average = decay average + (1 - decay) weights, after every step.

    The decay grows with the number of steps n as (1 + n) / (10 + n) up to ``decay``, so that the first,
    random weights are soon forgotten (as TensorFlow's moving averages do in CMPL).
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.weights = dict(module.named_parameters())
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
