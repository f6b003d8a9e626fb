"""Reader of models that were trained on precomputed features, which are not made of new pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.pairs import Picture
from wordsight.read.base import Reader
from wordsight.registry.limits import Size
from wordsight.sets import Pixels, Regions


class Precomputed(Reader):
    """The reader of a model that was trained on precomputed features: it has none for new pictures.

    Such a model scores and searches what a precomputed folder holds. Its features came from a detector that
    is not part of the model, so a new picture cannot be given to it.
    """

    def __init__(self, feature_dim: Size) -> None:
        self.feature_dim = feature_dim
        self.identity = f"precomputed-{feature_dim}"

    def __call__(self, pictures: Sequence[Picture]) -> Regions | Pixels:
        raise InputError(
            f"this model reads precomputed features of {self.feature_dim} numbers per region and cannot look "
            f"at pictures ({len(pictures)} given)",
            "measure it on its own data (evaluate, labels --split), or give it Regions in Python; "
            "for a model that reads pictures, train with "
            '[reader] name = "backbone" (features of a pretrained network) or "pixels"',
        )

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        return {"feature_dim": self.feature_dim}
