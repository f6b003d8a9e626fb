"""Two ways to read a picture, which a feature store holds apart: as it is, and mirrored left to right."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wordsight.pairs import Picture
from wordsight.read.features.extract import RegionReader
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.sets import Regions


class OneWayReader:
    """Reads every picture as it is, or mirrored, as another reader does; boxes are places in what was read.

    A reader that can (``read_one_way``) gives a region the same number in both.
    """

    def __init__(self, reader: RegionReader, mirrored: bool) -> None:
        self.reader, self.mirrored = reader, mirrored
        self.identity: str = reader.identity
        self.feature_dim: int = reader.feature_dim
        self.settings: dict[str, Any] = reader.settings

    def prepare(self, picture: Picture) -> PreparedPicture:
        return self.reader.prepare(picture)

    def read(self, frames: Sequence[PreparedPicture]) -> Regions:
        read = getattr(self.reader, "read_one_way", None)
        if read is not None:
            regions: Regions = read(frames, self.mirrored)
            return regions
        return self.reader.read([mirrored(frame) for frame in frames] if self.mirrored else frames)


def mirrored(frame: PreparedPicture) -> PreparedPicture:
    left, top, right, bottom = frame.window
    return replace(
        frame,
        values=np.ascontiguousarray(frame.values[:, ::-1]),
        window=(1 - right, top, 1 - left, bottom),
        others=tuple(mirrored(other) for other in frame.others),
    )
