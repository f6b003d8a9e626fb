"""Weights and settings -> optimizer with groups, and the learning rate of every step."""

import math
from collections.abc import Mapping

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from wordsight.learn.names import longest_start, refuse_unknown
from wordsight.learn.settings import Training


def named_weights(matcher: nn.Module, loss: nn.Module) -> dict[str, nn.Parameter]:
    """All weights by name; those of the loss (a learned temperature, say) as "loss....\""""
    return dict(matcher.named_parameters()) | {f"loss.{name}": p for name, p in loss.named_parameters()}


def make_optimizer(weights: Mapping[str, nn.Parameter], settings: Training) -> Optimizer:
    """One parameter group per setting of ``groups`` and one for the rest; a factor of 0 freezes its weights.

    Each group keeps its learning-rate factor as "factor", for ``set_learning_rate``.
    """
    refuse_unknown("groups", settings.groups, weights)
    members: dict[str, list[nn.Parameter]] = {}
    for name, weight in weights.items():
        members.setdefault(longest_start(name, settings.groups), []).append(weight)
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
    betas = (settings.betas[0], settings.betas[1])
    return adam(tables, settings.learning_rate, betas=betas, eps=settings.eps)


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
