"""Counts of who comes before each item's best match, and pairs that are still open."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Bool, Int

from wordsight.tensors import Tensor, torch


class Open(NamedTuple):
    """Pairs that could not be decided, and for whose rank: the context's, the query's."""

    context: Int[Tensor, " pair"]
    query: Int[Tensor, " pair"]
    for_context: Bool[Tensor, " pair"]
    for_query: Bool[Tensor, " pair"]


class Side:
    """One side's best scores and the wrong items counted before them, shortest member first."""

    def __init__(self, scores: Tensor, places: Tensor, order: Tensor):
        self.best = scores.to(order.device)[order]
        self.places = places.to(order.device)[order]
        self.count = torch.zeros_like(order)
        self.order = order

    def ranks(self) -> Int[Tensor, " n"]:
        return torch.empty_like(self.count).scatter_(0, self.order, self.count).cpu()


def by_context(open_: Open) -> Iterator[tuple[int, Int[Tensor, " member"]]]:
    """Each context with its queries, from pairs that are sorted by context."""
    contexts, counts = torch.unique_consecutive(open_.context, return_counts=True)
    groups = torch.split(open_.query, counts.tolist())
    yield from zip(contexts.tolist(), groups, strict=True)
