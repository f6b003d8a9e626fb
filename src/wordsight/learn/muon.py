"""Gradients -> steps of equal length in every direction for matrices (Muon), and AdamW's for the rest.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: the momentum of a
matrix is replaced by the nearest matrix whose singular values are all about 1. Directions that the
gradient hardly shows are learned as fast as those that it shows most.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # a, b, c of x -> a x + b x^3 + c x^5: steepest at 0, stable up to 1
ITERATIONS = 5


class Muon(AdamW):
    """AdamW whose groups with ``parts`` move by orthogonalized momentum.

    ``parts`` says, for each weight of the group, how many matrices are stacked in it along its first axis: a
    GRU keeps those of its three gates in one weight. A convolution is a matrix of its outputs by the rest.
    Float32 throughout: bfloat16, which torch's own Muon computes in, is emulated on many processors.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Matrices first; AdamW then moves what still has a gradient."""
        del closure
        for group in self.param_groups:
            if "parts" in group:
                self._step_matrices(group)
        super().step()

    def _step_matrices(self, group: Mapping[str, Any]) -> None:
        given = zip(group["params"], group["parts"], strict=True)
        moving = [(weight, parts) for weight, parts in given if weight.grad is not None]
        momenta = [
            self._momentum(weight).reshape(parts, len(weight) // parts, -1) for weight, parts in moving
        ]
        for (weight, _), change in zip(moving, orthogonalized_together(momenta), strict=True):
            rows, columns = change.shape[1:]
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(change.reshape(weight.shape), alpha=rate)
            weight.grad = None

    def _momentum(self, weight: Tensor) -> Tensor:
        """The running mean of the gradients, seen one step ahead (Nesterov)."""
        assert weight.grad is not None
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        return torch.lerp(weight.grad, mean, MOMENTUM)


def orthogonalized_together(stacks: list[Float[Tensor, "_ _ _"]]) -> Iterable[Float[Tensor, "_ _ _"]]:
    """Each matrix of each stack, orthogonalized; those of one size in one product."""
    order = sorted(range(len(stacks)), key=lambda number: stacks[number].shape[1:])
    changes: dict[int, Tensor] = {}
    for _, numbers in groupby(order, key=lambda number: stacks[number].shape[1:]):
        same = list(numbers)
        joined = orthogonalized(torch.cat([stacks[number] for number in same]))
        counts = [len(stacks[number]) for number in same]
        changes |= zip(same, torch.split(joined, counts), strict=True)
    return (changes[number] for number in range(len(stacks)))


def orthogonalized(matrices: Float[Tensor, "n row column"]) -> Float[Tensor, "n row column"]:
    """U V' of each matrix U S V', nearly: singular values between 0.7 and 1.2 (Newton-Schulz)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def stacked_matrices(modules: Iterable[nn.Module]) -> Iterator[tuple[Tensor, int]]:
    """The matrices between layers, and how many are stacked in each weight.

    Embedding tables, biases, norms and convolutions channel by channel are none: they stay with AdamW.
    """
    for module in modules:
        if isinstance(module, nn.RNNBase):
            for name, weight in module.named_parameters(recurse=False):
                if name.startswith("weight_"):
                    yield weight, _GATES[module.mode]
        elif isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            yield module.weight, 1


_GATES = {"GRU": 3, "LSTM": 4, "RNN_TANH": 1, "RNN_RELU": 1}
