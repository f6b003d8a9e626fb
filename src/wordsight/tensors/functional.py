"""Functions of torch.nn.functional that search and index use, over numpy arrays."""

from typing import Any

import numpy as np

from wordsight.tensors.array import Tensor, tensor_of


def normalize(values: Any, dim: int = -1, eps: float = 1e-12) -> Tensor:
    array = np.asarray(values)
    length = np.sqrt(np.square(array).sum(dim, keepdims=True))
    return tensor_of(array / np.maximum(length, eps).astype(array.dtype))


def pad(values: Any, widths: tuple[int, ...]) -> Tensor:
    """Zeros around the last axes; the widths begin with the last axis."""
    array = np.asarray(values)
    pairs = [widths[n : n + 2] for n in range(0, len(widths), 2)][::-1]
    return tensor_of(np.pad(array, [(0, 0)] * (array.ndim - len(pairs)) + pairs))


def logsigmoid(values: Any) -> Tensor:
    array = np.asarray(values)
    return tensor_of(-np.logaddexp(np.zeros((), array.dtype), -array))


def adaptive_avg_pool2d(features: Any, size: tuple[int, int]) -> Tensor:
    """Mean of each cell of a grid over the last two axes; cells may share a row or a column."""
    array = np.asarray(features)
    for axis, cells in ((-2, size[0]), (-1, size[1])):
        native = array.shape[axis]
        edges = [(n * native // cells, -(-(n + 1) * native // cells)) for n in range(cells)]
        moved = np.moveaxis(array, axis, -1)
        means = np.stack([moved[..., a:b].mean(-1) for a, b in edges], -1)
        array = np.moveaxis(means, -1, axis)
    return tensor_of(np.ascontiguousarray(array))


def leaky_relu(values: Any, slope: float = 0.01) -> Tensor:
    array = np.asarray(values)
    return tensor_of(np.where(array >= 0, array, array * slope).astype(array.dtype))


def relu(values: Any) -> Tensor:
    return tensor_of(np.maximum(np.asarray(values), 0))


def linear(rows: Any, weight: Any, bias: Any = None) -> Tensor:
    found = np.asarray(rows) @ np.asarray(weight).T
    return tensor_of(found if bias is None else found + np.asarray(bias))
