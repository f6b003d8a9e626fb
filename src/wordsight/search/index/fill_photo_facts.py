"""Read dates, cameras and places of pictures that were indexed before these were stored."""

import os
import sqlite3
from collections.abc import Iterator

from wordsight.read.pictures.photo_facts import PhotoFacts, photo_facts
from wordsight.runtime.prefetch import prefetch
from wordsight.runtime.progress import Progress
from wordsight.search.index.interface import BatchWriter
from wordsight.search.index.scan_sources import PAGE_ROWS

_UNREAD = """
SELECT c.key, c.content, min(i.path) FROM contents c JOIN items i ON i.content = c.key
WHERE c.camera IS NULL AND c.key > ? GROUP BY c.key ORDER BY c.key LIMIT ?
"""


def fill_photo_facts(writer: BatchWriter, workers: int, progress: Progress) -> None:
    """Store what the EXIF of these pictures says; missing files are tried again at the next update."""
    done = 0
    for page in _unread(writer.facts):
        read = [one for one in prefetch(_read, iter(page), workers, PAGE_ROWS) if one is not None]
        if read:
            with writer.batch():
                writer.store_photo_facts(read)
        done += len(page)
        progress("dates and places", done, 0)


def _unread(facts: sqlite3.Connection) -> Iterator[list[tuple[int, str, bytes]]]:
    last = 0
    while page := facts.execute(_UNREAD, (last, PAGE_ROWS)).fetchall():
        yield page
        last = page[-1][0]


def _read(row: tuple[int, str, bytes]) -> tuple[str, PhotoFacts] | None:
    """The content's hash and its facts; None if the file is not there."""
    _, content, path = row
    return (content, photo_facts(os.fsdecode(path))) if os.path.isfile(path) else None
