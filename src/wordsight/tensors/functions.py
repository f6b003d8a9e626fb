"""Functions of torch that search and index use, over numpy arrays, without gradients."""

import os
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from types import SimpleNamespace
from typing import Any

import numpy as np

from wordsight.errors import MissingPackageError
from wordsight.tensors.array import CPU, INSTALL, Device, Tensor, tensor_of

__all__ = ["CPU", "Tensor"]
float32, float64, float16 = np.dtype("float32"), np.dtype("float64"), np.dtype("float16")
int8, int32, int64, uint8 = np.dtype("int8"), np.dtype("int32"), np.dtype("int64"), np.dtype("uint8")
bfloat16 = None  # numpy has no such numbers
float, double, half, long = float32, float64, float16, int64
bool = np.dtype("bool")
inf = np.inf
finfo = np.finfo
dtype = np.dtype


class no_grad(ContextDecorator):  # noqa: N801 (torch's name)
    """There are no gradients to switch off."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


inference_mode = enable_grad = no_grad


device = Device


def __getattr__(name: str) -> Any:
    """Names that need torch itself. Raises MissingPackageError."""
    if name.startswith("_"):
        raise AttributeError(name)
    raise MissingPackageError(f"this needs torch ({name})", INSTALL)


def _kind(values: Any, dtype: Any) -> Any:
    """The number type of new values: Python's floats are float32."""
    if dtype is not None:
        return dtype
    return np.float32 if np.asarray(values).dtype.kind == "f" else None


def tensor(values: Any, dtype: Any = None, **_: Any) -> Tensor:
    if isinstance(values, Sequence):
        values = [np.asarray(one) if isinstance(one, Tensor) else one for one in values]
    numbers = isinstance(values, np.ndarray)
    array = np.array(values, dtype if numbers else _kind(values, dtype))
    return tensor_of(array if array.size or dtype is not None or numbers else array.astype(np.float32))


def as_tensor(values: Any, dtype: Any = None, **_: Any) -> Tensor:
    if isinstance(values, Tensor) and dtype in (None, values.dtype):
        return values
    return tensor(values, dtype)


def from_numpy(values: np.ndarray) -> Tensor:
    return tensor_of(values)


def _made(make: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    def made(*shape: Any, dtype: Any = None, **_: Any) -> Tensor:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return tensor_of(make(tuple(sizes), dtype or np.float32))

    return made


zeros, ones, empty = _made(np.zeros), _made(np.ones), _made(np.empty)


def full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Tensor:
    return tensor_of(np.full(shape, value, _kind(value, dtype)))


def full_like(like: Any, value: Any) -> Tensor:
    return tensor_of(np.full(like.shape, value, like.dtype))


def zeros_like(like: Any, dtype: Any = None) -> Tensor:
    return tensor_of(np.zeros(like.shape, dtype or like.dtype))


def ones_like(like: Any, dtype: Any = None) -> Tensor:
    return tensor_of(np.ones(like.shape, dtype or like.dtype))


empty_like = zeros_like


def arange(*limits: Any, dtype: Any = None, **_: Any) -> Tensor:
    return tensor_of(np.arange(*limits, dtype=dtype))


def linspace(start: Any, stop: Any, count: int) -> Tensor:
    return tensor_of(np.linspace(start, stop, count, dtype=np.float32))


def _arrays(parts: Sequence[Any]) -> list[np.ndarray]:
    return [np.asarray(one) for one in parts]


def cat(parts: Sequence[Any], dim: int = 0) -> Tensor:
    return tensor_of(np.concatenate(_arrays(parts), dim))


def stack(parts: Sequence[Any], dim: int = 0) -> Tensor:
    return tensor_of(np.stack(_arrays(parts), dim))


def where(mask: Any, yes: Any, no: Any) -> Tensor:
    kinds = [one.dtype for one in (yes, no) if isinstance(one, np.ndarray)]
    found = np.where(np.asarray(mask), *(np.asarray(one) for one in (yes, no)))
    return tensor_of(found.astype(np.result_type(*kinds)) if kinds else found)


def minimum(one: Any, other: Any) -> Tensor:
    return tensor_of(np.minimum(one, other))


def maximum(one: Any, other: Any) -> Tensor:
    return tensor_of(np.maximum(one, other))


def sigmoid(values: Any) -> Tensor:
    found: Tensor = tensor_of(values).sigmoid()
    return found


def logit(values: Any, eps: Any = 0.0) -> Tensor:
    clipped = np.clip(np.asarray(values), eps, 1 - eps)
    with np.errstate(divide="ignore"):
        return tensor_of(np.log(clipped) - np.log1p(-clipped))


def expm1(values: Any) -> Tensor:
    return tensor_of(np.expm1(np.asarray(values)))


def exp(values: Any) -> Tensor:
    return tensor_of(np.exp(np.asarray(values)))


def lerp(start: Any, end: Any, weight: Any) -> Tensor:
    return tensor_of(start + weight * (end - start))


def bmm(one: Any, other: Any) -> Tensor:
    return tensor_of(np.matmul(np.asarray(one), np.asarray(other)))


mm = bmm


def isin(values: Any, among: Any) -> Tensor:
    return tensor_of(np.isin(np.asarray(values), np.asarray(among)))


def bincount(values: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    return tensor_of(np.bincount(np.asarray(values), weights, minlength))


def einsum(rule: str, *parts: Any) -> Tensor:
    return tensor_of(np.einsum(rule, *_arrays(parts), optimize=True))


def allclose(one: Any, other: Any, rtol: Any = 1e-5, atol: Any = 1e-8) -> Any:
    return np.allclose(np.asarray(one), np.asarray(other), rtol, atol)


def equal(one: Any, other: Any) -> Any:
    return np.array_equal(np.asarray(one), np.asarray(other))


def unique(values: Any, return_inverse: Any = False, return_counts: Any = False, **_: Any) -> Any:
    options = {"return_inverse": return_inverse, "return_counts": return_counts}
    found = np.unique(np.asarray(values), **options)
    return tuple(map(tensor_of, found)) if isinstance(found, tuple) else tensor_of(found)


def cartesian_prod(*parts: Any) -> Tensor:
    grids = np.meshgrid(*_arrays(parts), indexing="ij")
    return tensor_of(np.stack([grid.ravel() for grid in grids], -1))


def split(values: Any, size: int) -> list[Tensor]:
    """Neighbouring rows, so many at a time; they share the values."""
    array = np.asarray(values)
    return [tensor_of(array[start : start + size]) for start in range(0, len(array), size)]


def get_num_threads() -> int:
    """Processors that this process may use."""
    most = os.environ.get("OMP_NUM_THREADS", "")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, int(most) if most.isdigit() else processors))


def set_num_threads(_: int) -> None:
    """numpy's threads are set before it is loaded."""


class Generator:
    """A seeded source of random numbers; they are not those of torch."""

    def __init__(self) -> None:
        self.chance = np.random.default_rng(0)

    def manual_seed(self, seed: int) -> "Generator":
        self.chance = np.random.default_rng(seed)
        return self


def rand(*shape: Any, generator: Generator) -> Tensor:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return tensor_of(generator.chance.random(tuple(sizes), dtype=np.float32))


def randn(*shape: Any, generator: Generator) -> Tensor:
    return tensor_of(generator.chance.standard_normal(shape, dtype=np.float32))


class autocast(no_grad):  # noqa: N801 (torch's name)
    """Numbers of less precision, which the processor does not have."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


def is_grad_enabled() -> Any:
    return False


def is_autocast_enabled(_: str) -> Any:
    return False


def promote_types(one: Any, other: Any) -> Any:
    return np.promote_types(one, other)


class _Function:
    """A function with a backward pass of its own, of which only the forward one is run."""

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        return cls.forward(SimpleNamespace(save_for_backward=lambda *_: None), *inputs)  # type: ignore[attr-defined]


autograd = SimpleNamespace(
    Function=_Function, function=SimpleNamespace(once_differentiable=lambda backward: backward)
)
ops = SimpleNamespace()  # private products of torch, which are tried and not missed


def _vector_norm(values: Any, dim: Any = -1, keepdim: Any = False, dtype: Any = None, **_: Any) -> Tensor:
    array = np.asarray(values)
    array = array if dtype is None else array.astype(dtype)
    if dim != -1:
        return tensor_of(np.sqrt(np.square(array).sum(dim, keepdims=keepdim)))
    length = np.sqrt(np.einsum("...i,...i->...", array, array))  # without an array of the squares
    return tensor_of(length[..., None] if keepdim else length)


linalg = SimpleNamespace(vector_norm=_vector_norm)


def softmax(values: Any, dim: int) -> Tensor:
    found: Tensor = tensor_of(values).softmax(dim)
    return found
