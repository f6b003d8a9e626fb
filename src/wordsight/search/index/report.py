"""Result of an index update."""

from collections import Counter
from dataclasses import dataclass, field

from wordsight.search.index.caption_file import CaptionFile


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
