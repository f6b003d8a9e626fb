"""A numpy array with the methods of a torch tensor that search and index use; no gradients, one device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wordsight.errors import MissingPackageError
from wordsight.tensors.halves import can_widen, widen
from wordsight.tensors.pointwise import Pointwise
from wordsight.tensors.reductions import Reductions

INSTALL = "pip install 'wordsight[train]'"


@dataclass(frozen=True)
class Device:
    """The only device, the processor. Raises MissingPackageError for another."""

    type: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", str(self.type))  # also of another Device
        if self.type not in ("cpu", "auto"):
            raise MissingPackageError(f"the device {self.type} needs torch", INSTALL)

    def __str__(self) -> str:
        return self.type


CPU = Device()


class Tensor(Reductions, Pointwise, np.ndarray):
    """An array that computes like a torch tensor: float32 stays float32, whole numbers never widen it."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(one) if isinstance(one, np.ndarray) else one for one in inputs]
        if method == "__call__" and len(arrays) == 2:
            arrays = _promoted(arrays, ufunc is np.true_divide)
        with np.errstate(all="ignore"):  # torch computes inf and nan without a warning
            if options.get("out") is not None:
                options["out"] = tuple(np.asarray(one) for one in options["out"])
                getattr(ufunc, method)(*arrays, **options)
                return self
            found = getattr(ufunc, method)(*arrays, **options)
        return tuple(map(tensor_of, found)) if isinstance(found, tuple) else tensor_of(found)

    def __getitem__(self, key: Any) -> Any:
        return tensor_of(np.asarray(self)[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        np.asarray(self)[_index(key)] = value

    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __iter__(self) -> Any:
        return (tensor_of(row) for row in np.asarray(self))

    def __matmul__(self, other: Any) -> "Tensor":
        left, right = np.asarray(self), np.asarray(other)
        if left.ndim > 2 and right.ndim == 2:  # one product, not one for each matrix
            rows = np.matmul(left.reshape(-1, left.shape[-1]), right)
            return tensor_of(rows.reshape(*left.shape[:-1], right.shape[1]))
        return tensor_of(np.matmul(left, right))

    def __reduce__(self) -> Any:
        return tensor_of, (np.asarray(self),)

    # places and types

    @property
    def device(self) -> Any:
        return CPU

    @property
    def requires_grad(self) -> Any:
        return False

    def element_size(self) -> Any:
        return self.dtype.itemsize

    def cpu(self) -> "Tensor":
        return self

    def detach(self) -> "Tensor":
        return self

    def clone(self) -> "Tensor":
        return tensor_of(np.array(self))

    def contiguous(self, **_: Any) -> "Tensor":
        return tensor_of(np.ascontiguousarray(self))

    def numpy(self) -> np.ndarray:
        return np.asarray(self)

    def numel(self) -> int:
        return int(np.asarray(self).size)

    def to(self, target: Any, **_: Any) -> "Tensor":
        """Another number type, or that of another tensor; a device changes nothing."""
        if isinstance(target, Tensor):
            target = target.dtype
        if target is None or isinstance(target, str | Device):
            return self
        return self.type_as_numbers(target)

    def type_as_numbers(self, dtype: Any) -> "Tensor":
        values = np.asarray(self)
        if values.dtype != np.float16 or dtype != np.float32:
            return tensor_of(values.astype(dtype, copy=False))
        return tensor_of(np.empty(values.shape, np.float32)).copy_(values)

    def copy_(self, source: Any) -> "Tensor":
        values, own = np.asarray(source), np.asarray(self)
        if can_widen(values, own):
            widen(values, own)
        else:
            np.copyto(own, values, casting="unsafe")
        return self

    def float(self) -> "Tensor":
        return self.type_as_numbers(np.float32)

    def double(self) -> "Tensor":
        return self.type_as_numbers(np.float64)

    def half(self) -> "Tensor":
        return self.type_as_numbers(np.float16)

    def long(self) -> "Tensor":
        return self.type_as_numbers(np.int64)

    def int(self) -> "Tensor":
        return self.type_as_numbers(np.int32)

    def bool(self) -> "Tensor":
        return self.type_as_numbers(np.bool_)

    # shapes

    def view(self, *shape: Any) -> "Tensor":
        return self.reshape(*shape)

    def reshape(self, *shape: Any, **_: Any) -> "Tensor":
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return tensor_of(np.asarray(self).reshape(tuple(sizes)))

    def flatten(self, start: Any = 0, end: Any = -1) -> "Tensor":
        last = end % max(1, self.ndim)
        return self.reshape(*self.shape[:start], -1 if self.size else _product(self.shape[start : last + 1]),
                            *self.shape[last + 1 :])  # fmt: skip

    def transpose(self, *axes: Any) -> "Tensor":
        return tensor_of(np.swapaxes(np.asarray(self), *axes))

    def permute(self, *axes: Any) -> "Tensor":
        return tensor_of(np.transpose(np.asarray(self), axes))

    def squeeze(self, axis: Any = None) -> "Tensor":
        return tensor_of(np.squeeze(np.asarray(self), axis))

    def unsqueeze(self, axis: Any) -> "Tensor":
        return tensor_of(np.expand_dims(np.asarray(self), axis))

    def expand(self, *sizes: Any) -> "Tensor":
        added = len(sizes) - self.ndim
        shape = (self.shape[n - added] if size == -1 else size for n, size in enumerate(sizes))
        return tensor_of(np.broadcast_to(np.asarray(self), tuple(shape)))

    def expand_as(self, other: Any) -> "Tensor":
        return self.expand(*other.shape)

    def repeat(self, *times: Any) -> "Tensor":
        return tensor_of(np.tile(np.asarray(self), times))

    def repeat_interleave(self, times: Any) -> "Tensor":
        return tensor_of(np.repeat(np.asarray(self), np.asarray(times)))

    def flip(self, *axes: Any) -> "Tensor":
        return tensor_of(np.flip(np.asarray(self), axes))

    def unbind(self, axis: Any = 0) -> tuple["Tensor", ...]:
        return tuple(tensor_of(one) for one in np.moveaxis(np.asarray(self), axis, 0))

    def chunk(self, count: Any, dim: Any = 0) -> tuple["Tensor", ...]:
        return tuple(tensor_of(one) for one in np.array_split(np.asarray(self), count, dim))

    def gather(self, axis: Any, index: Any) -> "Tensor":
        return tensor_of(np.take_along_axis(np.asarray(self), np.asarray(index), axis))

    def scatter(self, axis: Any, index: Any, value: Any) -> "Tensor":
        return tensor_of(np.array(self)).scatter_(axis, index, value)

    def scatter_reduce_(self, axis: Any, index: Any, values: Any, reduce: Any) -> "Tensor":
        """The largest of the values and the tensor's own at each place: "amax" of one axis, and no other."""
        if (axis, reduce, self.ndim) != (0, "amax", 1):
            raise MissingPackageError(f"this needs torch (scatter_reduce_ by {reduce})", INSTALL)
        np.maximum.at(np.asarray(self), np.asarray(index), np.asarray(values))
        return self

    def scatter_(self, axis: Any, index: Any, value: Any) -> "Tensor":
        np.put_along_axis(np.asarray(self), np.asarray(index), value, axis)
        return self

    def nonzero(self, as_tuple: Any = False) -> Any:
        places = np.nonzero(np.asarray(self))
        return tuple(map(tensor_of, places)) if as_tuple else tensor_of(np.stack(places, 1))

    # values

    def masked_fill(self, mask: Any, value: Any) -> "Tensor":
        whole = np.asarray(self)
        return tensor_of(np.where(np.asarray(mask), np.asarray(value, whole.dtype), whole))

    def new_zeros(self, *shape: Any) -> "Tensor":
        return tensor_of(np.zeros(_shape(shape), self.dtype))

    def new_empty(self, *shape: Any) -> "Tensor":
        return tensor_of(np.empty(_shape(shape), self.dtype))

    def new_full(self, shape: Any, value: Any) -> "Tensor":
        return tensor_of(np.full(shape, value, self.dtype))


def tensor_of(values: Any) -> Tensor:
    """A Tensor that shares the values of an array; a scalar becomes one without axes."""
    return np.asarray(values).view(Tensor)


def _promoted(inputs: Sequence[Any], divides: bool) -> list[Any]:
    """Arrays without axes and whole numbers take the number type of a floating array, as in torch."""
    arrays = [one for one in inputs if isinstance(one, np.ndarray)]
    floating = [one for one in arrays if one.dtype.kind == "f"]
    if not floating:
        return [one.astype(np.float32) if divides and isinstance(one, np.ndarray) else one for one in inputs]
    kind = np.result_type(*([one.dtype for one in floating if one.ndim] or [one.dtype for one in floating]))
    return [
        one if isinstance(one, bool | int | float) else np.asarray(one).astype(kind, copy=False)
        for one in inputs
    ]


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(one) for one in key)
    return np.asarray(key) if isinstance(key, Tensor) else key


def _shape(sizes: Any) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else tuple(sizes)


def _product(sizes: Sequence[int]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
