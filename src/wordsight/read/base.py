"""The promise of every reader: pictures in, Regions or Pixels out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordsight.pairs import Picture
from wordsight.sets import Pixels, Regions


class Reader:
    """Turns pictures into what an image encoder reads; it is not trained.

    A reader with ``prepare(picture)`` (decoding, in any thread) and ``read(prepared)`` can fill an index; one
    with ``feature_dim`` tells the image encoder how wide its features are.
    """

    def __call__(self, pictures: Sequence[Picture]) -> Regions | Pixels:
        """Raises UnreadablePicture, with its name, for a picture that cannot be decoded."""
        raise NotImplementedError

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        """Write what the reader needs into the folder; return its settings, file names relative to it."""
        return {}
