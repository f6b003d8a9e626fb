"""Weights and settings -> optimizer with groups, and the learning rate of every step."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from wordsight.errors import InputError
from wordsight.learn.muon import Muon, stacked_matrices
from wordsight.learn.names import longest_start, refuse_unknown
from wordsight.learn.settings import Training, WeightGroup


def named_weights(matcher: nn.Module, loss: nn.Module) -> dict[str, nn.Parameter]:
    """All weights by name; those of the loss (a learned temperature, say) as "loss....\""""
    return dict(matcher.named_parameters()) | {f"loss.{name}": p for name, p in loss.named_parameters()}


def make_optimizer(
    weights: Mapping[str, nn.Parameter], settings: Training, modules: Iterable[nn.Module] = ()
) -> Optimizer:
    """One parameter group per setting of ``groups`` and one for the rest; a factor of 0 freezes its weights.

    Each keeps its WeightGroup as "own", for ``set_learning_rates``. With Muon the matrices of ``modules``
    are in groups of their own, whose "scale" leads from the learning rate to ``matrix_rate``.
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
    if settings.optimizer == "muon":
        tables = list(_with_matrices_apart(tables, dict(stacked_matrices(modules)), settings))
    if not tables:
        raise InputError("there is nothing to train: every weight is frozen; see [training] groups")
    if settings.optimizer == "sgd":
        return SGD(tables, settings.learning_rate, momentum=settings.betas[0])
    kinds: dict[str, type[Adam]] = {"adamw": AdamW, "adam": Adam, "muon": Muon}
    betas = (settings.betas[0], settings.betas[1])
    fused = True if settings.optimizer == "muon" else None  # small networks wait for the calls, not the sums
    return kinds[settings.optimizer](
        tables, settings.learning_rate, betas=betas, eps=settings.eps, fused=fused
    )


def _with_matrices_apart(
    tables: Iterable[dict[str, Any]], parts: Mapping[Tensor, int], settings: Training
) -> Iterator[dict[str, Any]]:
    scale = settings.matrix_rate / settings.learning_rate
    for table in tables:
        matrices = [weight for weight in table["params"] if weight in parts]
        rest = [weight for weight in table["params"] if weight not in parts]
        if matrices:
            counts = [parts[weight] for weight in matrices]
            yield table | {"params": matrices, "parts": counts, "scale": scale}
        if rest:
            yield table | {"params": rest}


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
        group["lr"] = (
            group["own"].factor
            * group.get("scale", 1.0)
            * (rate if share is None else settings.learning_rate * share * _warm(step, settings))
        )
    return rate
