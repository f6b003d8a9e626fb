"""Add the dates of pictures to an index that was made without them."""

import os
import sqlite3
from collections.abc import Iterator

from wordsight.read.pictures.date_taken import date_taken
from wordsight.runtime.prefetch import prefetch
from wordsight.runtime.progress import Progress
from wordsight.search.index import database
from wordsight.search.index.dates import COMPLETE
from wordsight.search.index.interface import BatchWriter
from wordsight.search.index.scan_sources import PAGE_ROWS

_UNDATED = """
SELECT c.key, min(i.path) FROM contents c JOIN items i ON i.content = c.key
WHERE c.taken IS NULL AND c.key > ? GROUP BY c.key ORDER BY c.key LIMIT ?
"""


def fill_dates(writer: BatchWriter, workers: int, progress: Progress) -> None:
    """Read the dates of contents stored without; missing files are tried again at the next update."""
    query = "SELECT value FROM state WHERE name = ?"
    if database.value(writer.facts, query, (COMPLETE,)) != 0:
        return
    there, done = True, 0
    for page in _undated(writer.facts):
        read = list(prefetch(_read, iter(page), workers, PAGE_ROWS))
        with writer.batch():
            dated = [(taken, key) for key, taken, _ in read if taken is not None]
            writer.facts.executemany("UPDATE contents SET taken = ? WHERE key = ?", dated)
        there = there and all(is_there for _, _, is_there in read)
        done += len(page)
        progress("dates", done, 0)
    if there:
        with writer.batch():
            writer.facts.execute("UPDATE state SET value = 1 WHERE name = ?", (COMPLETE,))


def _undated(facts: sqlite3.Connection) -> Iterator[list[tuple[int, bytes]]]:
    last = 0
    while page := facts.execute(_UNDATED, (last, PAGE_ROWS)).fetchall():
        yield page
        last = page[-1][0]


def _read(row: tuple[int, bytes]) -> tuple[int, int | None, bool]:
    """The content's key, its date, and whether the file is there."""
    key, path = row
    is_there = os.path.isfile(path)
    return key, date_taken(os.fsdecode(path)) if is_there else None, is_there
