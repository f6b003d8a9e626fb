"""rows x columns' -> their dot products, by the fastest product that proves itself on this machine.

torch's float32 ``mm`` goes through MKL, which takes a slow path on some processors; oneDNN does not, but
torch offers it by a private name only, so it is tried once for its values, and left alone if it fails.
"""

from collections.abc import Callable
from functools import cache

from jaxtyping import Float

from wordsight.similarity.kernels.few_shapes import in_few_shapes
from wordsight.tensors import Tensor, torch


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
    if rows.device.type == "cpu":
        return in_few_shapes(_mm, rows, columns).float()
    return torch.mm(rows, columns.T).float()


def _mm(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.mm(rows, columns.T)


def _onednn(rows: Tensor, columns: Tensor) -> Tensor:
    return in_few_shapes(_linear, rows, columns)


def _linear(rows: Tensor, columns: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, columns, None, "none", [], "")
    return product


def product_name() -> str:
    """The library whose float32 product this CPU takes."""
    return "oneDNN" if _cpu_product() is _onednn else "torch.mm"


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


def _trial(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(n * 256, dtype=torch.float64).reshape(n, 256) for n in (192, 48))
    return rows.mul(0.7).sin().to(dtype), columns.mul(0.3).cos().to(dtype)
