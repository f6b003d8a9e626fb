"""Feature rows and caption lines -> each distinct image once, and the image of every caption.

The published folders say how captions and rows belong together by counting alone: five lines per row, or as
many lines as rows, where most releases repeat every image five times (``im_div`` 5 and 1 of the reference
readers).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from wordsight.errors import InputError


@dataclass(frozen=True, eq=False)
class Fold:
    """The row to read for each image, and the image of each caption."""

    rows: Int[np.ndarray, " image"]  # the first of the rows that repeat the image
    image_of: Int[np.ndarray, " text"]
    names: Sequence[str] = ()

    def named(self, names: Sequence[str]) -> "Fold":
        """Add one name per image."""
        return replace(self, names=list(names))

    def only(self, texts: Sequence[int]) -> "Fold":
        """Only these captions, and only the images that they tell of."""
        images, image_of = np.unique(self.image_of[list(texts)], return_inverse=True)
        return type(self)(self.rows[images], image_of.reshape(-1), [self.names[image] for image in images])


def lines_per_row(rows: int, lines: int, setting: int | Literal["auto"], files: tuple[str, str]) -> int:
    """How many caption lines tell of one row. Counts that do not fit are an error that names both files."""
    allowed = (1, 5) if setting == "auto" else (setting,)
    for count in allowed:
        if lines == rows * count:
            return count
    expected = " or ".join(map(str, allowed))
    even = f"; if every row has {lines // rows}, set captions_per_image = {lines // rows}"
    raise InputError(
        f"{files[0]} has {rows} rows but {files[1]} has {lines} lines; expected {expected} lines per row"
        + (even if setting == "auto" and lines and lines % rows == 0 else "; one of the two may be cut short")
    )


def fold_by_name(names: Sequence[str], per_row: int) -> Fold:
    """Rows of one name are one image, wherever they stand; images are in order of first appearance."""
    numbers: dict[str, int] = {}
    image_of_row = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
    _, first = np.unique(image_of_row, return_index=True)
    return Fold(first, np.repeat(image_of_row, per_row), list(numbers))


def fold_by_content(features: np.ndarray, per_row: int) -> Fold:
    """Consecutive rows of equal features are one image."""
    new = ~repeats(features)
    return Fold(np.flatnonzero(new), np.repeat(np.cumsum(new) - 1, per_row))


def fold_evenly(rows: int, images: int, per_row: int) -> Fold:
    """Every image fills the same number of consecutive rows."""
    each = rows // images
    return Fold(np.arange(images) * each, np.repeat(np.arange(rows) // each, per_row))


def repeats(features: np.ndarray) -> Bool[np.ndarray, " row"]:
    """Where a row equals the one before it; whole rows are read only where their first regions are equal."""
    same = np.zeros(len(features), dtype=bool)
    for row in range(1, len(features)):
        now, before = features[row], features[row - 1]
        same[row] = np.array_equal(now[0], before[0]) and np.array_equal(now, before)
    return same
