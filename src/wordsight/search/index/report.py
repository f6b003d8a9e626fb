"""Counts of what an update did, and the candidates that it works on."""

from collections import Counter
from dataclasses import dataclass, field

from wordsight.read.pictures.pixel_reader import Frame
from wordsight.search.index.caption_join import CaptionFile
from wordsight.search.index.scan_sources import Entry


@dataclass
class UpdateReport:
    """Result of an update; ``skipped`` are pictures and folders that could not be read, and why."""

    added: int = 0
    updated: int = 0  # other bytes, or other captions
    renamed: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # how many folders and files by the reason
    captions: list[CaptionFile] = field(default_factory=list)
    cut: int = 0  # texts that are longer than the model reads, so that their ends do not count
    first_cut: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An entry that a thread has read: of known content, to be encoded, or unreadable."""

    entry: Entry
    content: str = ""
    sidecar: str = ""
    made: Frame | str | None = None  # what is encoded
    taken: int | None = None  # when, of a picture that is encoded; nanoseconds since 1970
    reason: str = ""
    is_cut: bool = False  # a text that is longer than the model reads
    is_unreadable: bool = False  # the content itself, so that what the index knew of the file is over
