"""rows x columns' -> their dot products, by the fastest product that proves itself on this machine.

torch's float32 ``mm`` goes through MKL, which takes a slow path on some processors; oneDNN does not, but
torch offers it by a private name only. Integer products are private too. Each is tried once for its
values, and left alone if it fails.
"""

import time
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float, Int8, Int32
from torch import Tensor

# int8 has to be so much faster than float32 to be chosen; its ranks are the same, so timing may decide.
CLEARLY = 1.5


def product(
    rows: Float[Tensor, "row dim"], columns: Float[Tensor, "column dim"]
) -> Float[Tensor, "row column"]:
    """``rows @ columns.T`` without a gradient; half precision gives float32."""
    if rows.dtype in (torch.bfloat16, torch.float16):
        return _half_product(rows, columns)
    if rows.dtype == torch.float32 and rows.device.type == "cpu":
        return _cpu_product()(rows, columns)
    return torch.mm(rows, columns.T)


def _half_product(rows: Tensor, columns: Tensor) -> Tensor:
    if rows.device.type == "cuda":
        try:
            return torch.mm(rows, columns.T, out_dtype=torch.float32)
        except (RuntimeError, TypeError, NotImplementedError):  # an older torch, or a device without it
            pass
    return torch.mm(rows, columns.T).float()


def integer_product(
    rows: Int8[Tensor, "row dim"], columns: Int8[Tensor, "column dim"]
) -> Int32[Tensor, "row column"]:
    """``rows @ columns.T``, exact; ask ``integers_pay(device)`` first."""
    return torch._int_mm(rows, columns.T)


def _mm(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.mm(rows, columns.T)


def _onednn(rows: Tensor, columns: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, columns, None, "none", [], "")
    return found


@cache
def _cpu_product() -> Callable[[Tensor, Tensor], Tensor]:
    """oneDNN unless it is missing or wrong. Never by its speed: the two round differently, timing is noise,
    and a run must give the same bits whenever it is repeated or resumed."""
    rows, columns = _trial(torch.float32)
    try:
        right = torch.allclose(
            _onednn(rows, columns).double(), rows.double() @ columns.double().T, atol=1e-3, rtol=0
        )
    except (RuntimeError, AttributeError, NotImplementedError):
        return _mm
    return _onednn if right else _mm


@cache
def int8_is_faster(device_type: str) -> bool:
    """Whether int8 products work here and beat float32 ones clearly; on a GPU that has not been measured."""
    if device_type != "cpu":
        return False
    rows, columns = (torch.randint(-127, 128, size, dtype=torch.int8) for size in ((576, 512), (256, 512)))
    try:
        right = torch.equal(integer_product(rows, columns).double(), rows.double() @ columns.double().T)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    if not right:
        return False
    floats = _seconds(product, rows.float(), columns.float())
    return _seconds(integer_product, rows, columns) * CLEARLY < floats


def _trial(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(n * 512, dtype=torch.float64).reshape(n, 512) for n in (576, 256))
    return rows.mul(0.7).sin().to(dtype), columns.mul(0.3).cos().to(dtype)


def _seconds(act: Callable[[Tensor, Tensor], Tensor], rows: Tensor, columns: Tensor) -> float:
    """The best of five: what else the machine does only ever adds time."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        act(rows, columns)
        best = min(best, time.perf_counter() - start)
    return best
