"""A product of any size -> products of few sizes: oneDNN keeps half a megabyte for each size that it meets.

oneDNN compiles a program for each size. It keeps up to 1,024 of them, and torch as many again in each
thread. A search has as many rows as a filter leaves and as many columns as its query has words, so a server
would collect sizes, and memory, for hours. Compiling also takes longer than the product of one query.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from jaxtyping import Float

from wordsight.tensors import Tensor

ROWS = tuple(2**power for power in range(6, 15))  # 64 to 16,384
COLUMNS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
WASTE = 8  # up to one in so many rows may be computed for nothing, so that one product does the work of two
PAD_FROM = 256  # columns: then copying the rows takes a few hundredths of the product's time

Product = Callable[[Tensor, Tensor], Tensor]


class Span(NamedTuple):
    """Rows that are multiplied together; a span may overlap the one before, or be longer than all rows."""

    start: int
    size: int  # one of ROWS


def in_few_shapes(
    multiply: Product, rows: Float[Tensor, "row dim"], columns: Float[Tensor, "column dim"]
) -> Float[Tensor, "row column"]:
    """``multiply(rows, columns)`` by calls whose sizes are of ROWS and COLUMNS."""
    count, most = len(rows), COLUMNS[-1]
    spans = spans_of(count, may_pad=len(columns) >= min(PAD_FROM, rows.shape[1]))
    if len(spans) == 1 and len(columns) <= most:
        return _multiply(multiply, rows, spans[0], columns)
    found = rows.new_empty(count, len(columns))
    for first in range(0, len(columns), most):
        some = columns[first : first + most]
        for span in spans:
            part = slice(span.start, span.start + span.size)
            found[part, first : first + most] = _multiply(multiply, rows[part], span, some)
    return found


def padded_once(rows: Float[Tensor, "row dim"], columns: int) -> Float[Tensor, "size dim"]:
    """The rows as each of several products with ``columns`` columns in all would pad them."""
    if rows.device.type != "cpu" or columns <= COLUMNS[-1]:
        return rows
    spans = spans_of(len(rows), may_pad=True)
    return _filled(rows, spans[0].size) if len(spans) == 1 else rows


def column_size(columns: int) -> int:
    """The size that a product of so many columns has, at most the largest of COLUMNS."""
    return next((size for size in COLUMNS if size >= columns), COLUMNS[-1])


def full_columns(most: int) -> int:
    """The largest number of columns, at most ``most``, of which none is padding."""
    if most >= COLUMNS[-1]:
        return most - most % COLUMNS[-1]
    return max([size for size in COLUMNS if size <= most], default=max(1, most))


@cache
def spans_of(count: int, may_pad: bool) -> tuple[Span, ...]:
    """Spans that cover ``count`` rows. ``may_pad``: one that is longer than all rows is cheaper than two.

    Padding copies the rows; more than one span copies the product.
    """
    spans, start = [], 0
    while start < count:
        left = count - start
        above = next((size for size in ROWS if size >= left), ROWS[-1])
        fits = above <= count or may_pad or count < ROWS[0]
        if fits and left <= above and (left <= ROWS[0] or WASTE * (above - left) <= count):
            spans.append(Span(max(0, count - above), above))
            break
        spans.append(Span(start, max(size for size in ROWS if size <= left)))
        start += spans[-1].size
    return tuple(spans)


def _multiply(multiply: Product, rows: Tensor, span: Span, columns: Tensor) -> Tensor:
    size = column_size(len(columns))
    product = multiply(_filled(rows, span.size), _filled(columns, size))
    return product[: len(rows), : len(columns)]


def _filled(vectors: Float[Tensor, "row dim"], size: int) -> Float[Tensor, "size dim"]:
    """The vectors, followed by zeros."""
    if len(vectors) == size:
        return vectors
    filled = vectors.new_empty(size, vectors.shape[1])
    filled[: len(vectors)] = vectors
    filled[len(vectors) :] = 0
    return filled
