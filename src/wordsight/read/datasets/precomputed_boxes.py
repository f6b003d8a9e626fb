"""Boxes of a precomputed folder, in pixels or in fractions as published -> fractions of the picture.

``{split}_boxes.npy`` holds left, top, right, bottom of every region (also under the name
``{split}_ims_bbx.npy``),
``{split}_img_sizes.npy`` the width and height of every picture in pixels. Which unit the boxes have is read
off the largest number of the whole file: up to 1 they are fractions, above 2 they are pixels and need the
sizes, in between nobody can tell and the file is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.files.npy import open_array, open_floats

SLACK = 0.01  # of the picture: detectors let a box end a little outside
BOX_NAMES = ("{split}_boxes.npy", "{split}_ims_bbx.npy")
SIZE_NAMES = ("{split}_img_sizes.npy", "{split}_ims_size.npy")
LEAVE_OUT = "or set boxes = false to go without them"


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of a precomputed folder, read by row."""

    path: Path
    sizes: Float[np.ndarray, "row 2"] | None  # width, height in pixels; None: the boxes are fractions already

    def read(self, rows: Sequence[int] | np.ndarray) -> Float[np.ndarray, "image region 4"]:
        """Left, top, right, bottom in fractions of the picture, within [0, 1]."""
        boxes = np.array(self._file[rows], dtype=np.float32)
        if self.sizes is not None:
            boxes /= np.tile(self.sizes[rows], 2)[:, None]
        return boxes.clip(0, 1)

    @cached_property
    def _file(self) -> np.ndarray:
        return open_floats(self.path, "row region side")

    def __getstate__(self) -> dict[str, object]:
        """Without the open map: a worker process opens its own."""
        return {"path": self.path, "sizes": self.sizes}


def find_boxes(folder: Path, split: str) -> Path | None:
    return _first(folder, split, BOX_NAMES)


def open_boxes(folder: Path, split: str, rows: int, regions: int) -> Boxes | None:
    """The boxes of a split, or None if the folder has none (as SCAN's release). Raises ValueError."""
    path = find_boxes(folder, split)
    if path is None:
        return None
    boxes = open_floats(path, "row region side")
    if boxes.shape != (rows, regions, 4):
        raise InputError(
            f"{path.name} has shape {boxes.shape}, but the features have {rows} rows of {regions} regions; "
            f"expected {(rows, regions, 4)}; make both in one run, {LEAVE_OUT}"
        )
    reach = _reach(boxes, path)
    if reach <= 1 + SLACK:
        return Boxes(path, None)
    if reach <= 2:
        raise InputError(
            f"{path.name}: the largest number is {reach:.3g}, too large for fractions of the picture and too "
            f"small for pixels; write the boxes as one of the two, {LEAVE_OUT}"
        )
    return Boxes(path, _sizes(folder, split, boxes, path))


def _first(folder: Path, split: str, names: Sequence[str]) -> Path | None:
    paths = [folder / name.format(split=split) for name in names]
    return next((path for path in paths if path.is_file()), None)


def _reach(boxes: np.ndarray, path: Path) -> float:
    """The largest number; boxes that are no boxes are an error."""
    reach = float(boxes.max())
    if not np.isfinite([reach, float(boxes.min())]).all():
        raise InputError(f"{path.name} holds NaN or infinity; make it again, {LEAVE_OUT}")
    backwards = (boxes[..., 2] < boxes[..., 0]) | (boxes[..., 3] < boxes[..., 1])
    if backwards.any():
        row, region = np.argwhere(backwards)[0]
        raise InputError(
            f"{path.name} row {row} region {region} is {boxes[row, region].tolist()}: it ends before it "
            "begins; expected left, top, right, bottom, not width and height"
        )
    return reach


def _sizes(folder: Path, split: str, boxes: np.ndarray, path: Path) -> np.ndarray:
    """Width and height of every picture; refused unless every box lies inside its picture."""
    size_path = _first(folder, split, SIZE_NAMES)
    if size_path is None:
        raise InputError(
            f"{path.name} is in pixels (up to {boxes.max():.0f}), but there is no {split}_img_sizes.npy "
            f"with the width and height of every picture to divide by; add it, {LEAVE_OUT}"
        )
    sizes = np.array(open_array(size_path), dtype=np.float32)
    if sizes.shape != (len(boxes), 2) or not (sizes > 0).all():
        raise InputError(
            f"{size_path.name} has shape {sizes.shape}; expected ({len(boxes)}, 2): width and height, above 0"
        )
    ends = boxes[..., 2:].max(1)
    if not _inside(ends, sizes).all():
        swapped = _inside(ends, sizes[:, ::-1]).all()
        row = int(np.argmin(_inside(ends, sizes)))
        raise InputError(
            f"{path.name} row {row} reaches to {ends[row].tolist()}, outside its picture of "
            f"{sizes[row].tolist()} (width, height) in {size_path.name}"
            + (
                "; the file seems to hold height, width: swap its columns"
                if swapped
                else f"; {LEAVE_OUT[3:]}"
            )
        )
    return sizes


def _inside(ends: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    inside: np.ndarray = np.all(ends <= sizes * (1 + SLACK) + 1, axis=1)
    return inside
