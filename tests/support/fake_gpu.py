"""A device that this machine lacks, computed by its processor: a tensor left on another device is an error.

Inside ``fake_gpu("cuda")`` a tensor sent to "cuda" holds its numbers in a processor's tensor and says that it
lies on the GPU. Each operation checks what a GPU checks: all tensors on one device, no NumPy view. Values
are real, so results can be compared with those of the processor.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
BY_LENGTHS = {aten._pack_padded_sequence.default, aten._pad_packed_sequence.default}  # those stay behind
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


class FakeTensor(torch.Tensor):
    """A tensor of the pretended device; ``inner`` holds its numbers."""

    inner: torch.Tensor
    pretended: torch.device

    @staticmethod
    def __new__(cls: type, inner: torch.Tensor, device: torch.device) -> "FakeTensor":
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            shape = torch.empty_strided(inner.shape, inner.stride(), dtype=inner.dtype, device="meta")
            made = torch.Tensor._make_subclass(  # "meta" for C++, which has no CUDA here to call
                cls, shape, False, device_for_backend_keys=device
            )
        made.inner, made.pretended = inner, device
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.pretended

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return self.pretended.type == "cuda"

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Fake({self.inner!r}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class WrongDeviceError(RuntimeError):
    """What a GPU says of tensors on two devices."""


class Gpu:
    """The pretended device: its name, its limits, and what was done on it."""

    def __init__(self, kind: str, most_numbers: int | None) -> None:
        self.device, self.most_numbers = torch.device(kind, 0), most_numbers
        self.operations = self.refused = 0


_gpu: Gpu | None = None


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    gpu = _gpu
    assert gpu is not None, f"{function} on a tensor of a fake device that is gone"
    device = kwargs.get("device")
    target = None if device is None else torch.device(device)
    if target is not None and target.type == "meta":
        target = gpu.device  # asked for by C++, which sees "meta"
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
    on_gpu = [isinstance(one, FakeTensor) for one in tensors]
    _check_devices(function, args, tensors, on_gpu)
    special = _SPECIAL.get(function)
    inner_args, inner_kwargs = tree_map(_inner, (args, kwargs))
    if target is not None and "device" in inner_kwargs:
        inner_kwargs["device"] = torch.device("cpu")
    result = special(*inner_args, **inner_kwargs) if special else function(*inner_args, **inner_kwargs)
    to_gpu = target.type == gpu.device.type if target is not None else any(on_gpu)
    if function._schema.is_mutable:
        return None if not function._schema.returns else kwargs.get("out", args[0])
    if function is aten._to_copy.default and target is not None and not to_gpu:
        return result
    if not to_gpu:
        return result
    gpu.operations += 1
    if function in BY_LENGTHS:
        return _outer(result[0], gpu), result[1]
    return tree_map(lambda one: _outer(one, gpu), result)


def _check_devices(function: Any, args: Any, tensors: list[torch.Tensor], on_gpu: list[bool]) -> None:
    if function in MOVES | BY_LENGTHS or not any(on_gpu):
        return
    if function in INDEXED and isinstance(args[0], FakeTensor):
        return  # a GPU takes the indices of a processor
    others = [one for one, fake in zip(tensors, on_gpu, strict=True) if not fake and one.dim() > 0]
    if others:
        raise WrongDeviceError(
            f"{function}: expected all tensors to be on the same device, but found one of shape "
            f"{tuple(others[0].shape)} on cpu"
        )


def _inner(one: Any) -> Any:
    return one.inner if isinstance(one, FakeTensor) else one


def _outer(one: Any, gpu: Gpu) -> Any:
    if not isinstance(one, torch.Tensor) or isinstance(one, FakeTensor):
        return one
    if gpu.most_numbers is not None and one.numel() > gpu.most_numbers:
        gpu.refused += 1
        raise torch.OutOfMemoryError(
            f"the fake GPU holds {gpu.most_numbers:,} numbers; {one.numel():,} wanted"
        )
    if gpu.device.type == "mps" and one.dtype == torch.float64:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as MPS does not support float64")
    return FakeTensor(one, gpu.device)


def _lstm_cell(
    gates_in: Any, gates_hidden: Any, cell: Any, bias_in: Any = None, bias_hidden: Any = None
) -> Any:
    gates = gates_in + gates_hidden + (0 if bias_in is None else bias_in + bias_hidden)
    input, forget, new, out = gates.chunk(4, 1)
    cell = forget.sigmoid() * cell + input.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell, gates


def _gru_cell(
    gates_in: Any, gates_hidden: Any, hidden: Any, bias_in: Any = None, bias_hidden: Any = None
) -> Any:
    if bias_in is not None:
        gates_in, gates_hidden = gates_in + bias_in, gates_hidden + bias_hidden
    (r_in, z_in, n_in), (r_hidden, z_hidden, n_hidden) = gates_in.chunk(3, 1), gates_hidden.chunk(3, 1)
    reset, update = (r_in + r_hidden).sigmoid(), (z_in + z_hidden).sigmoid()
    new = (n_in + reset * n_hidden).tanh()
    return update * (hidden - new) + new, gates_in


_SPECIAL: dict[Any, Callable[..., Any]] = {
    aten._fused_sdp_choice.default: lambda *args, **kwargs: 0,  # plain products
    aten._thnn_fused_lstm_cell.default: _lstm_cell,
    aten._thnn_fused_gru_cell.default: _gru_cell,
}


class _Factories(TorchDispatchMode):
    """Catches what makes tensors on the device, or moves there what is on the processor."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class _Lists(TorchFunctionMode):
    """tolist and NumPy look into memory that a wrapper lacks."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.tolist and isinstance(args[0], FakeTensor):
            return args[0].detach().inner.tolist()
        if function is torch.Tensor.numpy and isinstance(args[0], FakeTensor):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if function is torch.Tensor.new_tensor and isinstance(args[0], FakeTensor):
            like = {"dtype": args[0].dtype, "device": args[0].device}
            return torch.tensor(args[1], **(like | (kwargs or {})))
        if function is torch.device:
            return function(*args, **(kwargs or {}))
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):  # C++ would fill a list's memory
            args = (args[0], _without_lists(args[1]), *args[2:])
        args, kwargs = tree_map(_numbered, (args, kwargs or {}))
        return function(*args, **kwargs)


def _made_here(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """torch.tensor, which fills memory that a wrapper lacks: made on the processor, then sent."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        found = make(*args, **kwargs)
        return found if device is None else found.to(_numbered(device))

    return made


def _without_lists(index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(torch.tensor(part) if isinstance(part, list) else part for part in parts)
    return plain if isinstance(index, tuple) else plain[0]


def _numbered(one: Any) -> Any:
    """ "cuda" as "cuda:0": torch would ask a driver which GPU is the current one."""
    name = str(one) if isinstance(one, torch.device | str) else ""
    return torch.device(name, 0) if name in ("cuda", "mps") else one


def _in_new_threads(run: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """What is pretended holds in one thread: each new one, a server's for instance, begins with it."""

    def begun(thread: threading.Thread) -> None:
        with _Lists(), _Factories():
            run(thread)

    return begun


@contextmanager
def fake_gpu(kind: str = "cuda", most_numbers: int | None = None) -> Iterator[Gpu]:
    """A machine with one GPU; ``most_numbers``: a larger tensor is out of memory."""
    global _gpu
    made, begin_thread = Gpu(kind, most_numbers), threading.Thread._bootstrap_inner
    present = kind == "cuda"
    with (
        patch.object(torch.cuda, "is_available", lambda: present),
        patch.object(torch.cuda, "device_count", lambda: int(present)),
        patch.object(torch.cuda, "get_device_capability", lambda device=None: (9, 0)),
        patch.object(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"]),
        patch.object(torch.cuda, "mem_get_info", lambda device=None: (8 << 30, 8 << 30)),
        patch.object(torch.cuda, "is_bf16_supported", lambda *a, **k: True),
        patch.object(torch.cuda, "_lazy_init", lambda: None),
        patch.object(torch.version, "cuda", "12.8"),
        patch.object(torch.backends.mps, "is_available", lambda: kind == "mps"),
        patch.object(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True),
        patch.object(torch, "tensor", _made_here(torch.tensor)),
        patch.object(threading.Thread, "_bootstrap_inner", _in_new_threads(begin_thread)),
        torch.autograd.set_multithreading_enabled(False),  # what is pretended holds in this thread
        _Lists(),
        _Factories(),
    ):
        before, _gpu = _gpu, made
        try:
            yield made
        finally:
            _gpu = before
