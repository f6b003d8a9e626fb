"""An entry of a scan that a thread has read, on its way into the index."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from wordsight.read.pictures.photo_facts import NO_FACTS, PhotoFacts
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.search.index.scan_sources import Entry

CHANGED = "it changed while it was read; run the same command again"


class StoredPicture(NamedTuple):
    """A picture by its row in a feature store."""

    row: int


Made: TypeAlias = PreparedPicture | StoredPicture | Path | str  # the input of an encoder


@dataclass(frozen=True, eq=False)
class Candidate:
    """An entry after reading: of known content, to be encoded, or unreadable."""

    entry: Entry
    content: str = ""
    sidecar: str = ""
    made: Made | None = None
    facts: PhotoFacts = NO_FACTS  # of a picture to be encoded
    reason: str = ""
    is_cut: bool = False  # a text beyond the model's limit
    is_unreadable: bool = False  # the content itself; an older item of the file is deleted
