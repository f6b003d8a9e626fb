"""Result of an index update, and the candidates that it works on."""

from collections import Counter
from dataclasses import dataclass, field

from wordsight.read.pictures.pixel_reader import Frame
from wordsight.search.index.caption_join import CaptionFile
from wordsight.search.index.scan_sources import Entry


@dataclass
class UpdateReport:
    """Counts of an update; ``skipped``: pictures and folders that could not be read, with the reason."""

    added: int = 0
    updated: int = 0  # other bytes or captions
    renamed: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # folders and files by reason
    captions: list[CaptionFile] = field(default_factory=list)
    cut: int = 0  # texts beyond the model's limit; their ends do not count
    first_cut: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An entry after reading: of known content, to be encoded, or unreadable."""

    entry: Entry
    content: str = ""
    sidecar: str = ""
    made: Frame | str | None = None  # the input of the encoder
    taken: int | None = None  # date of a picture to be encoded; nanoseconds since 1970
    reason: str = ""
    is_cut: bool = False  # a text beyond the model's limit
    is_unreadable: bool = False  # the content itself; an older item of the file is deleted
