"""The encoders of an export: Tokens, Regions or Pixels -> EmbeddingSet, by onnxruntime."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wordsight.errors import InputError
from wordsight.read.pictures.onnx_session import first_line, open_session
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens
from wordsight.tensors import torch


class OnnxSide:
    """One encoder. ``names``: what the file reads, in order."""

    projection = None

    def __init__(self, path: Path, names: Sequence[str], dim: int) -> None:
        self.path, self.names, self.dim = path, tuple(names), dim

    @cached_property
    def session(self) -> Any:
        """The session, opened at the first use."""
        return open_session(self.path)

    def __call__(self, given: Tokens | Regions | Pixels) -> EmbeddingSet:
        """Vectors of each item, with the boxes of regions where each vector is one. Raises InputError."""
        values = {name: _as_array(given, name, self.path) for name in self.names}
        try:
            vectors, mask, *boxes = (torch.from_numpy(one) for one in self.session.run(None, values))
        except Exception as error:  # onnxruntime's own classes, which differ between its versions
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in values.items())
            raise InputError(f"{self.path} does not take {shapes}: {first_line(error)}") from error
        return EmbeddingSet(vectors, mask, boxes[0] if boxes else None)


def _as_array(given: Any, name: str, path: Path) -> np.ndarray:
    value = getattr(given, name, None)
    if value is None:
        raise InputError(f"{path.name} reads {name}, and these {type(given).__name__.lower()} have none")
    return np.ascontiguousarray(value.cpu().numpy())
