"""Sums, means, extremes and orders of a tensor along an axis, with the arguments that torch has."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

Axes: TypeAlias = int | tuple[int, ...] | None


class Extreme(NamedTuple):
    """Largest or sorted values, and where they were."""

    values: Any
    indices: Any


class Reductions:
    """Methods of a tensor that reduce or sort an axis; every result is a tensor, also a single number."""

    dtype: Any

    def sum(self, axis: Any = None, keepdim: Any = False, dim: Any = None, **_: Any) -> Any:
        return self._along(np.sum, axis if dim is None else dim, keepdim)

    def mean(self, axis: Any = None, keepdim: Any = False, dim: Any = None, **_: Any) -> Any:
        return self._along(np.mean, axis if dim is None else dim, keepdim)

    def prod(self, axis: Any = None, **_: Any) -> Any:
        return self._along(np.prod, axis)

    def norm(self, dim: Any = None, keepdim: Any = False) -> Any:
        """The Euclidean length."""
        return np.sqrt(self._along(lambda values, **how: np.square(values).sum(**how), dim, keepdim))

    def amax(self, axis: Any = None, keepdim: Any = False) -> Any:
        return self._along(np.max, axis, keepdim)

    def amin(self, axis: Any = None, keepdim: Any = False) -> Any:
        return self._along(np.min, axis, keepdim)

    def any(self, axis: Any = None, keepdim: Any = False, **_: Any) -> Any:
        return self._along(np.any, axis, keepdim)

    def all(self, axis: Any = None, keepdim: Any = False, **_: Any) -> Any:
        return self._along(np.all, axis, keepdim)

    def std(self, axis: Any = None, correction: Any = 1, **_: Any) -> Any:
        return self._like(np.asarray(np.std(np.asarray(self), axis=axis, ddof=correction)))

    def var(self, axis: Any = None, correction: Any = 1, **_: Any) -> Any:
        return self._like(np.asarray(np.var(np.asarray(self), axis=axis, ddof=correction)))

    def max(self, axis: Any = None, keepdim: Any = False, dim: Any = None, **_: Any) -> Any:
        return self._extreme(np.max, np.argmax, axis if dim is None else dim, keepdim)

    def min(self, axis: Any = None, keepdim: Any = False, dim: Any = None, **_: Any) -> Any:
        return self._extreme(np.min, np.argmin, axis if dim is None else dim, keepdim)

    def argmax(self, axis: Any = None, **_: Any) -> Any:
        return self._along(np.argmax, axis)

    def argmin(self, axis: Any = None, **_: Any) -> Any:
        return self._along(np.argmin, axis)

    def cumsum(self, axis: Any = None, **_: Any) -> Any:
        return self._along(np.cumsum, axis)

    def softmax(self, axis: Any) -> Any:
        values = np.asarray(self)
        powers = np.exp(values - values.max(axis, keepdims=True))
        return self._like(powers / powers.sum(axis, keepdims=True))

    def logsumexp(self, axis: Any) -> Any:
        values = np.asarray(self)
        most = values.max(axis, keepdims=True)
        total = np.log(np.exp(values - most).sum(axis, keepdims=True)) + most
        return self._like(total.squeeze(axis))

    def sort(self, axis: Any = -1, descending: Any = False, **_: Any) -> Extreme:
        order = self.argsort(axis, descending)
        return Extreme(self._like(np.take_along_axis(np.asarray(self), np.asarray(order), axis)), order)

    def argsort(self, axis: Any = -1, descending: Any = False, **_: Any) -> Any:
        values = np.asarray(self)
        return self._like(np.argsort(-values if descending else values, axis=axis, kind="stable"))

    def topk(self, count: Any, dim: Any = -1, **_: Any) -> Extreme:
        first = tuple(map(np.asarray, self.sort(dim, descending=True)))
        return Extreme(*(self._like(np.take(one, np.arange(count), dim)) for one in first))

    def _along(self, reduce: Any, axis: Axes, keepdim: Any = False) -> Any:
        options = {"keepdims": True} if keepdim else {}
        found = np.asarray(reduce(np.asarray(self), axis=axis, **options))
        return self._like(
            found.astype(np.float32) if reduce is np.mean and self.dtype.kind in "bi" else found
        )

    def _extreme(self, value: Any, place: Any, axis: Axes, keepdim: Any) -> Any:
        if axis is None:
            return self._along(value, None)
        return Extreme(self._along(value, axis, keepdim), self._along(place, axis, keepdim))

    def _like(self, values: Any) -> Any:
        return np.asarray(values).view(type(self))
