"""Pictures as a caller gives them -> a list of pictures, or an error that says which one is none."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from wordsight.errors import InputError
from wordsight.pairs import Picture


def list_pictures(pictures: Iterable[Picture]) -> list[Picture]:
    """The pictures as a list; one picture, whose rows or letters would be taken for pictures, is an error.

    Raises TypeError for one picture instead of a list, InputError with its place for an item that is none.
    """
    from PIL.Image import Image

    given: Any = pictures  # which may be anything
    one = isinstance(given, str | Path | Image) or getattr(given, "ndim", 4) < 4
    if one or not hasattr(given, "__iter__"):
        raise TypeError(f"expected a list of pictures, not {_described(given)}; give a list: [picture]")
    listed: list[Any] = list(given)
    for place, picture in enumerate(listed):
        if not (isinstance(picture, str | Path | np.ndarray | Image) or hasattr(picture, "read")):
            raise InputError(
                f"pictures[{place}] is {_described(picture)}, which is no picture; give the path of a file, "
                "an opened picture (PIL) or a uint8 array of height x width x 3, or leave it out"
            )
    return listed


def _described(value: object) -> str:
    """Describe a value for a message: "one array of 64 x 48 x 3", "one picture (dog.jpg)", "nan (float)"."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"one {type(value).__name__} of {' x '.join(map(str, shape))}"
    if isinstance(value, str | Path):
        return f"one picture ({value})"
    return "one picture" if hasattr(value, "mode") else f"{value!r} ({type(value).__name__})"
