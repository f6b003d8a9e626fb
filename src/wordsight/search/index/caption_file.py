"""A file with captions for the pictures of an index, and how many of its pictures were found."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class CaptionFile:
    """A caption file, and how many of the pictures that it names the walk has found.

    ``pictures``: the folder that its names start from; None: where its format looks for them. The columns are
    those of a table; None: found by their names.
    """

    file: Path
    pictures: Path | None = None
    image_column: str | None = None
    caption_column: str | None = None
    named: int = 0
    found: int = 0
    first_missing: str = ""

    def to_text(self) -> str:
        text = f"{self.file}: {self.found:,} of the {self.named:,} pictures that it names are in the index"
        if self.found == self.named:
            return text
        return f"{text}; the first that is not: {self.first_missing} (--pictures says where names start)"
