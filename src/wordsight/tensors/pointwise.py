"""Functions of each number of a tensor, with the names that torch has; those that end in _ change it."""

from typing import Any

import numpy as np


class Pointwise:
    """Methods of a tensor that map each of its numbers."""

    dtype: Any

    def clamp(self, min: Any = None, max: Any = None) -> Any:
        return self._like(np.clip(np.asarray(self), min, max).astype(self.dtype, copy=False))

    def clamp_min(self, least: Any) -> Any:
        return self.clamp(least)

    def abs(self) -> Any:
        return self._like(np.abs(np.asarray(self)))

    def round(self, *_: Any) -> Any:
        return self._like(np.rint(np.asarray(self)))

    def sqrt(self) -> Any:
        return self._like(np.sqrt(np.asarray(self)))

    def square(self) -> Any:
        return self._like(np.square(np.asarray(self)))

    def log(self) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._like(np.log(np.asarray(self)))

    def exp(self) -> Any:
        return self._like(np.exp(np.asarray(self)))

    def sin(self) -> Any:
        return self._like(np.sin(np.asarray(self)))

    def cos(self) -> Any:
        return self._like(np.cos(np.asarray(self)))

    def sign(self) -> Any:
        return self._like(np.sign(np.asarray(self)))

    def neg(self) -> Any:
        return self._like(-np.asarray(self))

    def sub(self, other: Any) -> Any:
        return self._like(self - other)

    def isfinite(self) -> Any:
        return self._like(np.isfinite(np.asarray(self)))

    def mul(self, other: Any) -> Any:
        return self._like(self * other)

    def mul_(self, other: Any) -> Any:
        self *= other
        return self

    def clamp_min_(self, least: Any) -> Any:
        np.maximum(np.asarray(self), least, out=np.asarray(self))
        return self

    def sub_(self, other: Any) -> Any:
        self -= other
        return self

    def div_(self, other: Any) -> Any:
        self /= other
        return self

    def eq(self, other: Any) -> Any:
        return self._like(self == other)

    def ne(self, other: Any) -> Any:
        return self._like(self != other)

    def sigmoid(self) -> Any:
        values = np.asarray(self)
        with np.errstate(over="ignore"):
            return self._like((1 / (1 + np.exp(-values))).astype(values.dtype))

    def tanh(self) -> Any:
        return self._like(np.tanh(np.asarray(self)))

    def _like(self, values: Any) -> Any:
        return np.asarray(values).view(type(self))
