"""Feature files of a precomputed folder -> Regions, read row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from wordsight.errors import InputError
from wordsight.files.npy import open_floats
from wordsight.read.datasets.precomputed_boxes import Boxes
from wordsight.sets import Regions
from wordsight.tensors import torch


@dataclass(frozen=True, eq=False)
class PrecompImages:
    """The images of a precomputed folder: chosen rows of its feature file, as Regions."""

    path: Path
    rows: Int[np.ndarray, " image"]  # row of the file for each image
    boxes: Boxes | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def regions(self) -> int:
        return 1 if self._file.ndim == 2 else int(self._file.shape[1])

    @property
    def feature_dim(self) -> int:
        return int(self._file.shape[-1])

    def read(self, rows: Sequence[int]) -> Regions:
        """Features (float32), boxes and mask of these images. Features that are not finite are an error."""
        wanted = self.rows[np.asarray(rows, dtype=np.int64)]
        features = np.asarray(self._file[wanted], dtype=np.float32).reshape(
            -1, self.regions, self.feature_dim
        )
        finite = np.isfinite(features).all((1, 2))
        if not finite.all():
            raise InputError(
                f"{self.path} row {wanted[int(np.argmin(finite))]} holds NaN or infinity; "
                "wordsight data check lists all such rows; make the features again"
            )
        return Regions(
            features=torch.from_numpy(features),
            boxes=None if self.boxes is None else torch.from_numpy(self.boxes.read(wanted)),
            mask=torch.ones(features.shape[:2], dtype=torch.bool),
        )

    @cached_property
    def _file(self) -> np.ndarray:
        return open_features(self.path)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open map: a worker process opens its own."""
        return {"path": self.path, "rows": self.rows, "boxes": self.boxes}


def open_features(path: Path) -> np.ndarray:
    """The feature file as a memory map: [row, region, feature], or [row, feature] (VSE++)."""
    return open_floats(path, "row region feature", "row feature")
