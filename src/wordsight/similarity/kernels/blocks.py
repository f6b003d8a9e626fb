"""Blocks of contexts and queries: their vectors ready for products, and scores from what was found."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float

from wordsight.similarity.kernels.few_shapes import full_columns, padded_once
from wordsight.similarity.kernels.matmul import product
from wordsight.similarity.kernels.packed import PackedTexts, runs
from wordsight.similarity.pooling import Pooling
from wordsight.tensors import Tensor, torch

CACHED_COSINES = 1 << 19  # the cosines of a block stay in a processor's cache: more is slower, not faster


class Stack(NamedTuple):
    """Some contexts of about one length, ready for products with queries."""

    vectors: Float[Tensor, "n context dim"]
    mask: Bool[Tensor, "n context"] | None  # False where an item is repeated; None if nowhere
    rows: Float[Tensor, "row dim"] | None = None  # the vectors one after another, padded for products

    def for_many(self, queries: int) -> "Stack":
        """The stack for so many queries: padded once, not for each block of them."""
        return self._replace(rows=padded_once(self.vectors.flatten(0, 1), queries))


class Chunk(NamedTuple):
    """Some queries, ready to look: ``first`` to ``last`` of all, shortest first."""

    vectors: Float[Tensor, "row dim"]
    first: int
    last: int


def query_blocks(queries: PackedTexts, most: int) -> Iterator[tuple[slice, Sequence[int]]]:
    """Neighbouring queries of at most so many rows: where those are among all rows, and their lengths."""
    for start, stop in queries.packed_pieces(full_columns(most)):
        yield slice(queries.starts[start], queries.starts[stop]), queries.lengths[start:stop]


def cosines_of(
    contexts: Float[Tensor, "n context dim"],
    queries: Float[Tensor, "row dim"],
    rows: Float[Tensor, "context_row dim"] | None = None,
) -> Float[Tensor, "n context row"]:
    """``rows``: the contexts' vectors one after another, padded or not, where they are there already."""
    count, length, _ = contexts.shape
    cosines = product(contexts.flatten(0, 1) if rows is None else rows, queries)
    return cosines[: count * length].view(count, length, len(queries))


def pooled(
    pooling: Pooling, found: Float[Tensor, "context row"], lengths: Sequence[int]
) -> Float[Tensor, "context query"]:
    """Neighbours of one length are pooled together: no mask, no padding."""
    parts, row = [], 0
    for count, length in runs(lengths):
        values = found[:, row : row + count * length].reshape(len(found), count, length)
        parts.append(pooling(values))
        row += count * length
    return torch.cat(parts, 1)
