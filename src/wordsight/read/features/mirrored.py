"""A feature store's second view: the same pictures mirrored left to right, for training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wordsight.pairs import Picture
from wordsight.read.features.extract import RegionReader
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.sets import Regions


class MirroredReader:
    """Reads every picture mirrored, as another reader reads it; boxes are places in the mirrored picture."""

    def __init__(self, reader: RegionReader) -> None:
        self.reader = reader
        self.identity: str = reader.identity
        self.feature_dim: int = reader.feature_dim
        self.settings: dict[str, Any] = reader.settings

    def prepare(self, picture: Picture) -> PreparedPicture:
        return mirrored(self.reader.prepare(picture))

    def read(self, frames: Sequence[PreparedPicture]) -> Regions:
        return self.reader.read(frames)


def mirrored(frame: PreparedPicture) -> PreparedPicture:
    left, top, right, bottom = frame.window
    return replace(
        frame,
        values=np.ascontiguousarray(frame.values[:, ::-1]),
        window=(1 - right, top, 1 - left, bottom),
        others=tuple(mirrored(other) for other in frame.others),
    )
