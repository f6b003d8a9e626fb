"""The bottom-up-attention TSV, line by line -> boxes and region features of a picture.

Every line is ``image_id, image_w, image_h, num_boxes, boxes, features``, separated by tabs; boxes and
features are base64 of little-endian float32, ``num_boxes`` rows of 4 and (usually) 2048 numbers; boxes in
pixels.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wordsight.errors import InputError, MissingFileError

LARGEST = 10**6  # sides in pixels, and boxes
COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")


@dataclass(frozen=True, eq=False)
class Detection:
    """One line of the TSV."""

    size: tuple[float, float]  # width, height in pixels
    boxes: Float[np.ndarray, "region 4"]  # left, top, right, bottom in pixels
    features: Float[np.ndarray, "region feature"]


@dataclass(frozen=True, eq=False)
class DetectionLine:
    """One line of the TSV, cut into columns and not yet decoded."""

    where: str  # file and line number
    number: int
    start: int  # byte at which it begins
    end: int  # byte at which the next line begins
    columns: Sequence[bytes]
    complete: bool  # False where the file ends without a line feed, perhaps because it is still being fetched

    @property
    def image_id(self) -> str:
        return self.columns[0].decode("utf-8", "replace").strip()

    def decode(self) -> Detection:
        """Raises ValueError for a wrong number of columns, no number, no base64, another length."""
        if len(self.columns) != len(COLUMNS):
            raise InputError(
                f"{self.where} has {len(self.columns)} columns, expected {len(COLUMNS)} "
                f"({', '.join(COLUMNS)}); if this is the last line, the file is cut short: fetch it again"
            )
        width, height, count = (self._number(column) for column in (1, 2, 3))
        boxes, features = self._array(4, int(count)), self._array(5, int(count))
        if boxes.shape[1] != 4:
            raise InputError(f"{self.where}: boxes have {boxes.shape[1]} numbers each, expected 4")
        return Detection((width, height), boxes, features)

    def _number(self, column: int) -> float:
        try:
            value = float(self.columns[column])
        except ValueError:
            value = 0.0
        if not 1 <= value <= LARGEST:
            raise InputError(
                f"{self.where}: {COLUMNS[column]} is {self.columns[column][:40]!r}, expected a number from "
                f"1 to {LARGEST:,}"
            )
        return value

    def _array(self, column: int, rows: int) -> np.ndarray:
        name = COLUMNS[column]
        try:
            content = base64.b64decode(self.columns[column].strip(), validate=True)
        except binascii.Error as error:
            raise InputError(f"{self.where}: {name} is not base64 ({error}); fetch the file again") from error
        if not content or len(content) % (4 * rows):
            raise InputError(
                f"{self.where}: {name} holds {len(content)} bytes, which is not float32 for {rows} boxes; "
                "fetch the file again"
            )
        values = np.frombuffer(content, dtype="<f4").reshape(rows, -1)
        if not np.isfinite(values).all():
            raise InputError(f"{self.where}: {name} holds NaN or infinity; extract this image again")
        return values


def read_bottom_up(path: Path, start: int = 0, number: int = 0) -> Iterator[DetectionLine]:
    """The lines of the TSV from a byte on, ``number`` being the lines before it."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist")
    with path.open("rb") as file:
        file.seek(start)
        for content in file:
            number, end = number + 1, start + len(content)
            if content.strip():
                columns = content.rstrip(b"\r\n").split(b"\t")
                yield DetectionLine(
                    f"{path} line {number}", number, start, end, columns, content.endswith(b"\n")
                )
            start = end
