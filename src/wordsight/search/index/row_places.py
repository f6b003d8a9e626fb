"""Places of contents in segments -> the positions of their vectors."""

from collections.abc import Iterator

import numpy as np


def groups_by_segment(segments: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each segment with the positions of its rows."""
    if len(segments) and (segments == segments[0]).all():
        yield int(segments[0]), np.arange(len(segments))
        return
    for number in np.unique(segments):
        yield int(number), np.flatnonzero(segments == number)


def vector_places(starts: np.ndarray, counts: np.ndarray) -> slice | np.ndarray:
    """Positions of the vectors of some contents; a slice if they are adjacent."""
    total = int(counts.sum())
    if len(starts) and (starts[1:] == starts[:-1] + counts[:-1]).all():
        return slice(int(starts[0]), int(starts[0]) + total)
    return runs(starts, counts)


def runs(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ... counts[0] of them, then starts[1], ..."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
