"""numpy arrays under torch's names give the numbers, shapes and number types that torch gives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from wordsight.errors import MissingPackageError
from wordsight.tensors import functional, functions
from wordsight.tensors.array import Tensor, tensor_of

CHANCE = np.random.default_rng(0)
VALUES = CHANCE.standard_normal((3, 4, 5)).astype(np.float32)
MASK = CHANCE.random((3, 4, 5)) > 0.4
COUNTS = CHANCE.integers(1, 6, (3, 1, 1))

METHODS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {  # of values, mask, counts and the functions
    "whole numbers do not widen": lambda x, m, n, t: x / n,
    "numbers without axes do not widen": lambda x, m, n, t: x * x.double().sum(),
    "division of whole numbers": lambda x, m, n, t: n / (n + 1),
    "sum": lambda x, m, n, t: x.sum(1),
    "sum of a mask": lambda x, m, n, t: m.sum(1, keepdim=True),
    "mean over two axes": lambda x, m, n, t: x.mean((1, 2)),
    "std": lambda x, m, n, t: x.std(correction=0),
    "var": lambda x, m, n, t: x.var(correction=1),
    "max": lambda x, m, n, t: x.max(1).values,
    "place of max": lambda x, m, n, t: x.max(-2).indices,
    "max of all": lambda x, m, n, t: x.max(),
    "amin": lambda x, m, n, t: x.amin(2),
    "argmax": lambda x, m, n, t: x.argmax(1),
    "argsort": lambda x, m, n, t: x.argsort(dim=-1, descending=True, stable=True),
    "topk": lambda x, m, n, t: x.topk(2, 1).values,
    "place of topk": lambda x, m, n, t: x.topk(3).indices,
    "logit": lambda x, m, n, t: t.logit(x.sigmoid(), eps=0.3),
    "largest at each place": lambda x, m, n, t: t.zeros(4).scatter_reduce_(
        0, t.tensor([1, 1, 3]), t.tensor([2.0, 5.0, -1.0]), "amax"
    ),
    "sort": lambda x, m, n, t: x.sort().values,
    "cumsum": lambda x, m, n, t: x.cumsum(0),
    "softmax": lambda x, m, n, t: x.softmax(1),
    "logsumexp": lambda x, m, n, t: x.logsumexp(-1),
    "any": lambda x, m, n, t: m.any(1),
    "all": lambda x, m, n, t: m.all(1, keepdim=True),
    "masked_fill": lambda x, m, n, t: x.masked_fill(~m, -t.inf),
    "clamp": lambda x, m, n, t: x.clamp(min=-0.5, max=0.5),
    "sigmoid": lambda x, m, n, t: x.sigmoid(),
    "round": lambda x, m, n, t: (x * 2).round(),
    "flatten": lambda x, m, n, t: x.flatten(0, 1),
    "flatten of nothing": lambda x, m, n, t: x[:, :, :0].flatten(1),
    "transpose": lambda x, m, n, t: x.transpose(1, 2),
    "permute": lambda x, m, n, t: x.permute(2, 0, 1),
    "expand": lambda x, m, n, t: n.expand(-1, 2, 3),
    "expand in front": lambda x, m, n, t: x.expand(2, -1, -1, -1),
    "each several times": lambda x, m, n, t: t.arange(3).repeat_interleave(t.tensor([2, 0, 3])),
    "length": lambda x, m, n, t: x.norm(dim=-1, keepdim=True),
    "repeat": lambda x, m, n, t: x.repeat(1, 2, 1),
    "chunk": lambda x, m, n, t: x.chunk(2, dim=1)[0],
    "unbind": lambda x, m, n, t: x.unbind(1)[2],
    "nonzero": lambda x, m, n, t: m.nonzero(),
    "index by a mask": lambda x, m, n, t: x[m],
    "index by places": lambda x, m, n, t: x[t.arange(3)[:, None], t.tensor([[0, 2]])],
    "gather": lambda x, m, n, t: x.gather(1, x.argsort(1)),
    "scatter": lambda x, m, n, t: t.zeros_like(x).scatter(-2, x.argmax(-2)[..., None, :], 1.0),
    "product": lambda x, m, n, t: x @ x.transpose(1, 2),
    "product with one matrix": lambda x, m, n, t: x.transpose(0, 1) @ x[0].T,
    "bmm": lambda x, m, n, t: t.bmm(x, x.transpose(1, 2)),
    "cat": lambda x, m, n, t: t.cat([x, x], 1),
    "stack": lambda x, m, n, t: t.stack([x, x], 2),
    "where": lambda x, m, n, t: t.where(m, x, 0),
    "where of doubles": lambda x, m, n, t: t.where(m, x.double(), x),
    "lerp": lambda x, m, n, t: t.lerp(x, x * 2, 0.25),
    "minimum": lambda x, m, n, t: t.minimum(x, -x),
    "expm1": lambda x, m, n, t: t.expm1(x),
    "einsum": lambda x, m, n, t: t.einsum("abc,abd->acd", x, x),
    "vector_norm": lambda x, m, n, t: t.linalg.vector_norm(x, dim=-1, keepdim=True),
    "vector_norm in doubles": lambda x, m, n, t: t.linalg.vector_norm(x, dim=-1, dtype=t.float64),
    "tensor of floats": lambda x, m, n, t: t.tensor([0.5, 1.5]),
    "tensor of whole numbers": lambda x, m, n, t: t.tensor([1, 2]),
    "tensor of nothing": lambda x, m, n, t: t.tensor([]),
    "arange": lambda x, m, n, t: t.arange(1, 4, dtype=t.float64),
    "linspace": lambda x, m, n, t: t.linspace(0, 5, 4),
    "full": lambda x, m, n, t: t.full((2, 3), 0.5),
    "zeros": lambda x, m, n, t: t.zeros(2, 3),
    "new_full": lambda x, m, n, t: x.new_full((2,), 3),
    "unique": lambda x, m, n, t: t.unique(n, return_inverse=True)[1].flatten(),
    "cartesian": lambda x, m, n, t: t.cartesian_prod(t.arange(2), t.arange(3)),
    "bincount": lambda x, m, n, t: t.bincount(n.flatten(), minlength=8),
}
HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)  # all of them
FUNCTIONAL: dict[str, Callable[[Any, Any], Any]] = {
    "normalize": lambda f, x: f.normalize(x, dim=-1),
    "pad": lambda f, x: f.pad(x, (0, 0, 0, 2)),
    "logsigmoid": lambda f, x: f.logsigmoid(x),
    "pool": lambda f, x: f.adaptive_avg_pool2d(x[None], (3, 2)),
    "leaky_relu": lambda f, x: f.leaky_relu(x, 0.1),
    "relu": lambda f, x: f.relu(x),
    "linear": lambda f, x: f.linear(x, x[0]),
}


def agree(found: Any, right: torch.Tensor) -> None:
    assert isinstance(found, Tensor)
    assert found.shape == tuple(right.shape)
    assert found.dtype == right.numpy().dtype
    np.testing.assert_allclose(np.asarray(found), right.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_arrays_compute_as_torch_does(name: str) -> None:
    of_torch = METHODS[name](*map(torch.from_numpy, (VALUES, MASK, COUNTS)), torch)
    agree(METHODS[name](*map(functions.from_numpy, (VALUES, MASK, COUNTS)), functions), of_torch)


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functions_of_layers_compute_as_torch_does(name: str) -> None:
    right = FUNCTIONAL[name](torch.nn.functional, torch.from_numpy(VALUES))
    agree(FUNCTIONAL[name](functional, tensor_of(VALUES)), right)


@pytest.mark.filterwarnings("ignore:invalid value")  # numpy's own conversion says it of some NaN
@pytest.mark.parametrize("chosen", [HALVES, HALVES[np.isfinite(HALVES)]])
def test_every_half_becomes_its_float(chosen: np.ndarray) -> None:
    found = functions.from_numpy(chosen).float()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(found), chosen.astype(np.float32))
    part = functions.zeros(2, len(chosen))
    part[1].copy_(functions.from_numpy(chosen))
    np.testing.assert_array_equal(np.asarray(part), [np.zeros(len(chosen)), chosen.astype(np.float32)])


def test_changes_in_place_reach_the_array_that_a_part_was_taken_of() -> None:
    rows = functions.ones(5, 2)
    for some in functions.split(rows, 2):
        some.div_(functions.tensor([2.0, 4.0]))
    assert rows.tolist() == [[0.5, 0.25]] * 5


def test_a_name_that_needs_torch_says_what_to_install() -> None:
    with pytest.raises(MissingPackageError, match=r"needs torch \(randperm\).*wordsight\[train\]"):
        _ = functions.randperm
    with pytest.raises(MissingPackageError, match="device cuda needs torch"):
        functions.device("cuda")
