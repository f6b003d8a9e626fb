"""Unit vectors -> int8, and how much that loses: cosines in a quarter of the time, with a proven bound."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float, Integer

from wordsight.similarity.kernels.blocks import pooled
from wordsight.similarity.kernels.integer_product import LARGEST, IntegerColumns, IntegerProduct
from wordsight.similarity.pooling import ROUNDING, Max
from wordsight.tensors import Tensor, torch


class Quantized(NamedTuple):
    """Vectors as ``scale x values``; what is lost has a known length."""

    values: Integer[Tensor, "*n dim"]
    scale: Float[Tensor, "*m"]
    lost: Float[Tensor, "*m"]  # length of the difference, the longest where one scale serves several vectors
    length: Float[Tensor, "*m"]  # of scale x values, likewise


class Queries(NamedTuple):
    """Quantized queries, packed for a product."""

    columns: IntegerColumns
    scale: Float[Tensor, " row"]


def quantize_each(vectors: Float[Tensor, "row dim"]) -> Quantized:
    """A scale of its own for each vector: queries, whose scale is applied after the maximum."""
    return _quantize(vectors, vectors.abs().amax(1, keepdim=True), LARGEST)


def quantize_together(vectors: Float[Tensor, "n context dim"], integers: IntegerProduct) -> Quantized:
    """One scale for all items of a context, so that the maximum may be taken of the raw integers.

    The values are as the product takes them.
    """
    largest = vectors.abs().amax((1, 2), keepdim=True)
    values, scale, lost, length = _quantize(vectors, largest, integers.largest)
    return Quantized(integers.rows(values), scale.squeeze(1), lost.amax(1), length.amax(1))


def _quantize(vectors: Tensor, largest: Tensor, levels: int) -> Quantized:
    scale = largest.clamp_min(torch.finfo(torch.float32).tiny * levels) / levels
    rounded = (vectors / scale).round_().clamp_(-levels, levels)
    values = rounded.to(torch.int8)
    places = rounded.mul_(scale)
    length = torch.linalg.vector_norm(places, dim=-1)
    lost = torch.linalg.vector_norm(places.sub_(vectors), dim=-1)
    return Quantized(values, scale.squeeze(-1), lost, length)


def pack(queries: Quantized, rows: slice, integers: IntegerProduct) -> Queries:
    """Some of the queries, ready for many products."""
    return Queries(integers.pack(queries.values[rows]), queries.scale[rows])


def best_of_int8(
    contexts: Quantized, queries: Queries, integers: IntegerProduct
) -> Float[Tensor, "context row"]:
    """How well each query is found in each context, to within its ``cosine_error``."""
    products = integers.multiply(contexts.values.flatten(0, 1), queries.columns)
    best = products.view(*contexts.values.shape[:2], products.shape[1]).amax(1)
    return best.float().mul_(contexts.scale[:, None]).mul_(queries.scale)


class Worst(NamedTuple):
    """The longest loss and the longest vector of each query."""

    lost: Float[Tensor, " query"]
    length: Float[Tensor, " query"]


def worst_of(queries: Quantized, lengths: Sequence[int]) -> Worst:
    """The worst of each query, for queries of these numbers of vectors one after another."""
    return Worst(*(pooled(Max(), some[None], lengths)[0] for some in (queries.lost, queries.length)))


def cosine_error(contexts: Quantized, queries: Worst) -> Float[Tensor, "context query"]:
    """No exact cosine of a context with a query's vectors is further from that of the quantized ones.

    r.w - r'.w' = (r - r').w' + r.(w - w'), and by Cauchy-Schwarz neither term exceeds the product of lengths.
    """
    rounded = 1 + (contexts.values.shape[-1] + 8) * ROUNDING  # the lengths themselves are float32 sums
    return (contexts.lost[:, None] * queries.length + queries.lost) * rounded + 12 * ROUNDING
