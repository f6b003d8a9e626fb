"""The base class of parts that have weights, and a linear map, over numpy arrays; nothing is trained."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wordsight.tensors.array import Tensor, tensor_of
from wordsight.tensors.functional import linear

__all__ = ["Linear", "Module"]


class Module:
    """A part that computes with ``forward``; its weights are its attributes, and those of its parts."""

    training = False

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Every weight by its name."""
        found: dict[str, Tensor] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                found[prefix + name] = value
            elif isinstance(value, Module):
                found |= value.state_dict(f"{prefix}{name}.")
        return found

    def load_state_dict(self, weights: Mapping[str, Any]) -> None:
        """Set every weight; their names are those of ``state_dict``."""
        for name, value in weights.items():
            *path, last = name.split(".")
            part: Any = self
            for step in path:
                part = getattr(part, step)
            setattr(part, last, tensor_of(np.asarray(value)))

    def parameters(self) -> Iterator[Tensor]:
        return iter(self.state_dict().values())

    def buffers(self) -> Iterator[Tensor]:
        return iter(())

    def train(self, _: bool = True) -> Any:
        return self

    def eval(self) -> Any:
        return self


class Linear(Module):
    """y = W x + b; zeros until weights are loaded."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        self.in_features, self.out_features = inputs, outputs
        self.weight = tensor_of(np.zeros((outputs, inputs), np.float32))
        if bias:
            self.bias = tensor_of(np.zeros(outputs, np.float32))

    def forward(self, rows: Any) -> Tensor:
        return linear(rows, self.weight, getattr(self, "bias", None))
