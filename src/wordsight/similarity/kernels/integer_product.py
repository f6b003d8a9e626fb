"""int8 rows x int8 columns -> exact dot products, by a product that proved itself on this processor.

The integer products of torch are private, and not all are exact: without VNNI, oneDNN adds two products in
16 bits, which saturate where values are large. Rows of 7 bits never reach that: 2 x 127 x 127 < 2^15. So each
candidate is tried once on the largest values, and the first that is exact there is used.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from jaxtyping import Int8, Integer

from wordsight.similarity.kernels.matmul import product
from wordsight.tensors import Tensor, torch

LARGEST = 127  # absolute value of the columns' numbers
WORTHWHILE = 1.4  # times faster than float32: what an inexact first pass costs beside its product
TRIED_SHAPES = ((96, 48, 512), (33, 17, 37), (1, 17, 512), (96, 1, 512))  # rows, columns, dim


class IntegerColumns(NamedTuple):
    """Columns as the product takes them."""

    packed: Tensor
    number: int


class IntegerProduct(ABC):
    """An integer matrix product in two steps, so that columns are packed once for many blocks of rows."""

    largest: int  # absolute value that a row's numbers may have

    @abstractmethod
    def rows(self, values: Int8[Tensor, "*n dim"]) -> Integer[Tensor, "*n dim"]:
        """Rows as ``multiply`` takes them."""

    @abstractmethod
    def pack(self, values: Int8[Tensor, "column dim"]) -> IntegerColumns:
        """Columns as ``multiply`` takes them."""

    @abstractmethod
    def multiply(self, rows: Integer[Tensor, "row dim"], columns: IntegerColumns) -> Tensor:
        """The dot products [row, column], int32 or float32; float32 is exact up to 2^24 and rounds above."""


class OneDnnProduct(IntegerProduct):
    """oneDNN's product of unsigned rows, moved by a zero point, with signed columns."""

    def __init__(self, largest: int):
        self.largest = largest

    def rows(self, values: Int8[Tensor, "*n dim"]) -> Integer[Tensor, "*n dim"]:
        return values.view(torch.uint8) + (self.largest + 1)  # modulo 256, which is what makes it right

    def pack(self, values: Int8[Tensor, "column dim"]) -> IntegerColumns:
        typical = [1024, values.shape[1]]  # the layout is the best for products of about so many rows
        return IntegerColumns(torch.ops.onednn.qlinear_prepack(values, typical), len(values))

    def multiply(self, rows: Integer[Tensor, "row dim"], columns: IntegerColumns) -> Tensor:
        ones, zeros = torch.ones(columns.number), torch.zeros(columns.number, dtype=torch.int64)
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows,
            1.0,
            self.largest + 1,
            columns.packed,
            ones,
            zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return found


class TorchProduct(IntegerProduct):
    """torch's product of signed integers: slower for few columns, but built for more processors."""

    largest = LARGEST

    def rows(self, values: Int8[Tensor, "*n dim"]) -> Integer[Tensor, "*n dim"]:
        return values

    def pack(self, values: Int8[Tensor, "column dim"]) -> IntegerColumns:
        return IntegerColumns(values.T, len(values))

    def multiply(self, rows: Integer[Tensor, "row dim"], columns: IntegerColumns) -> Tensor:
        return torch._int_mm(rows, columns.packed)


@cache
def integer_product(device_type: str) -> IntegerProduct | None:
    """The product for this processor; None where there is no exact one, and on a GPU: none was measured."""
    if device_type != "cpu":
        return None
    candidates = OneDnnProduct(LARGEST), OneDnnProduct(LARGEST // 2), TorchProduct()
    return next((candidate for candidate in candidates if is_exact(candidate)), None)


def is_exact(candidate: IntegerProduct) -> bool:
    """Whether products of the largest values of either sign, and of mixed ones, are right."""
    try:
        return all(_is_exact_for(candidate, *shape) for shape in TRIED_SHAPES)
    except (RuntimeError, AttributeError, NotImplementedError, TypeError):
        return False


def _is_exact_for(candidate: IntegerProduct, rows: int, columns: int, dim: int) -> bool:
    left, right = _extreme(rows, dim, candidate.largest), _extreme(columns, dim, LARGEST)
    found = candidate.multiply(candidate.rows(left), candidate.pack(right))
    return torch.equal(found.double(), left.double() @ right.double().T)


def _extreme(rows: int, dim: int, largest: int) -> Int8[Tensor, "{rows} {dim}"]:
    """Rows of the largest value, of its negative, of both, and of values between."""
    values = torch.arange(rows * dim).reshape(rows, dim).mul(0.7).sin().mul(largest).round()
    values[::4] = largest
    values[1::4] = -largest
    values[2::4] = values[2::4].sign() * largest
    return values.to(torch.int8)


@cache
def int8_speedup(device_type: str) -> float:
    """How many times faster than float32 an integer product is here; 0 where there is none."""
    integers = integer_product(device_type)
    if integers is None:
        return 0.0
    rows, columns = _extreme(576, 512, integers.largest), _extreme(256, 512, LARGEST)
    ready, packed, floats = integers.rows(rows), integers.pack(columns), (rows.float(), columns.float())
    in_float32, in_int8 = float("inf"), float("inf")
    for _ in range(7):  # the best of several, one after the other: what else the machine does only adds time
        in_float32 = min(in_float32, _seconds(lambda: product(*floats)))
        in_int8 = min(in_int8, _seconds(lambda: integers.multiply(ready, packed)))
    return in_float32 / in_int8


def int8_is_faster(device_type: str) -> bool:
    """Whether an int8 screen is worth its second pass. Ranks and hits are the same, so timing may decide."""
    return int8_speedup(device_type) >= WORTHWHILE


def _seconds(act: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
