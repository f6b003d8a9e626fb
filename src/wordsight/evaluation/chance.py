"""Identities of queries and of a gallery -> the R@K of a random order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def chance_recall(
    queries: Int[np.ndarray, " query"], gallery: Int[np.ndarray, " item"], ks: Sequence[int]
) -> dict[int, float]:
    """Percent of queries that find a match among the first K of a random order, expected over all orders.

    A query with m matches among n items misses with the chance C(n - m, K) / C(n, K).
    """
    known, counts = np.unique(gallery, return_counts=True)
    places = np.searchsorted(known, queries).clip(max=len(known) - 1)
    matches = np.where(known[places] == queries, counts[places], 0)
    recall, missed = {}, np.ones(len(queries))
    for place in range(max(ks)):
        if left := max(0, len(gallery) - place):
            missed = missed * np.clip((left - matches) / left, 0, None)
        if place + 1 in ks:
            recall[place + 1] = 100 * float((1 - missed).mean())
    return recall
