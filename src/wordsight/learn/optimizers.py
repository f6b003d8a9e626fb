"""Weights and settings -> optimizer with groups, and the learning rate of every step."""

import math
from collections.abc import Mapping

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from wordsight.errors import InputError
from wordsight.learn.names import longest_start, refuse_unknown
from wordsight.learn.settings import Training, WeightGroup


def named_weights(matcher: nn.Module, loss: nn.Module) -> dict[str, nn.Parameter]:
    """All weights by name; those of the loss (a learned temperature, say) as "loss....\""""
    return dict(matcher.named_parameters()) | {f"loss.{name}": p for name, p in loss.named_parameters()}


def make_optimizer(weights: Mapping[str, nn.Parameter], settings: Training) -> Optimizer:
    """One parameter group per setting of ``groups`` and one for the rest; a factor of 0 freezes its weights.

    Each keeps its WeightGroup as "own", for ``set_learning_rates``.
    """
    refuse_unknown("groups", settings.groups, weights)
    members: dict[str, list[nn.Parameter]] = {}
    for name, weight in weights.items():
        members.setdefault(longest_start(name, settings.groups), []).append(weight)
    tables = []
    for prefix, parameters in members.items():
        own = WeightGroup.of(prefix, settings.groups.get(prefix, 1.0))
        weight_decay = settings.weight_decay if own.weight_decay is None else own.weight_decay
        for parameter in parameters:
            parameter.requires_grad_(parameter.requires_grad and own.factor > 0)
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            tables.append({"params": trained, "own": own, "weight_decay": weight_decay})
    if not tables:
        raise InputError("there is nothing to train: every weight is frozen; see [training] groups")
    if settings.optimizer == "sgd":
        return SGD(tables, settings.learning_rate, momentum=settings.betas[0])
    adam = AdamW if settings.optimizer == "adamw" else Adam
    betas = (settings.betas[0], settings.betas[1])
    return adam(tables, settings.learning_rate, betas=betas, eps=settings.eps)


def learning_rate_share(step: int, epoch: int, steps_per_epoch: int, settings: Training) -> float:
    """Share of the learning rate in step ``step`` of the run, in ``epoch``; both count from 0."""
    if settings.schedule == "step":
        left = settings.factor ** sum(epoch >= milestone for milestone in settings.milestones)
    elif settings.schedule == "cosine":
        total, warm = settings.epochs * steps_per_epoch, settings.warmup_steps
        done = min(1.0, max(0, step - warm) / max(1, total - warm))
        left = settings.factor + (1 - settings.factor) * (1 + math.cos(math.pi * done)) / 2
    else:
        left = 1.0
    return left * _warm(step, settings)


def _warm(step: int, settings: Training) -> float:
    return min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0


def set_learning_rates(
    optimizer: Optimizer, step: int, epoch: int, steps_per_epoch: int, settings: Training
) -> float:
    """Set the learning rate of every group for one step; return that of weights in no group."""
    rate = settings.learning_rate * learning_rate_share(step, epoch, steps_per_epoch, settings)
    for group in optimizer.param_groups:
        share = group["own"].share(epoch)
        group["lr"] = group["own"].factor * (
            rate if share is None else settings.learning_rate * share * _warm(step, settings)
        )
    return rate
