"""Pictures through the reader of a matcher, with torch and without."""

from collections.abc import Sequence
from typing import Any

from wordsight.pairs import Picture
from wordsight.read.pictures.picture_list import list_pictures
from wordsight.sets import Pixels, Regions


class ReadsPictures:
    """A matcher with a reader."""

    reader: Any

    def read_images(self, images: Regions | Pixels | Sequence[Picture]) -> Regions | Pixels:
        """Pictures through the reader; what is already Regions or Pixels passes unchanged."""
        if isinstance(images, Regions | Pixels):
            return images
        read: Regions | Pixels = self.reader(list_pictures(images))
        return read
