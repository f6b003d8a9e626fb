"""Folders and files -> temporary tables of the existing files and of those to be read.

The tables are in SQLite's temporary file, so memory does not grow with the number of files.
"""

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.read.datasets.detect_format import texts_of
from wordsight.read.pictures.walk import (
    PICTURE_SUFFIXES,
    FoundFile,
    WalkNotes,
    WalkRules,
    is_picture_file,
    walk,
)
from wordsight.runtime.progress import Progress
from wordsight.search.index import caption_join, database
from wordsight.search.index.caption_file import CaptionFile

MAX_TEXT_CHARACTERS = 10_000  # characters
MAX_SIDECAR_BYTES = 1 << 20  # bytes
PAGE_ROWS = 1000  # rows in memory at once

TABLES = """
CREATE TEMP TABLE found (
    path BLOB NOT NULL, part TEXT NOT NULL, bytes INTEGER NOT NULL, changed INTEGER NOT NULL,
    stem BLOB, beside_changed INTEGER NOT NULL DEFAULT 0, text TEXT, caption TEXT,
    PRIMARY KEY (path, part)
) WITHOUT ROWID;
CREATE TEMP TABLE sidecars (stem BLOB PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE todo (number INTEGER PRIMARY KEY, path BLOB NOT NULL, part TEXT NOT NULL);
"""
_TODO = """
INSERT INTO temp.todo (path, part)
SELECT f.path, f.part FROM temp.found f LEFT JOIN items i ON i.path = f.path AND i.part = f.part
WHERE i.id IS NULL OR (f.part = '' AND
    (i.bytes, i.changed, i.beside_changed) IS NOT (f.bytes, f.changed, f.beside_changed))
ORDER BY f.path, f.part
"""
_PAGE = """
SELECT t.number, f.path, f.part, f.bytes, f.changed, f.beside_changed, f.text
FROM temp.todo t JOIN temp.found f ON f.path = t.path AND f.part = t.part
WHERE t.number > ? ORDER BY t.number LIMIT ?
"""


@dataclass(frozen=True)
class Entry:
    """A file, or a text in a file, as found on disk."""

    path: bytes
    part: str = ""  # '' for a file; the hash of a text
    bytes: int = 0
    changed: int = 0  # nanoseconds
    sidecar_changed: int = 0  # of the sidecar; 0: none
    text: str | None = None


@dataclass
class SourceScan:
    """Counts of a scan; items below ``closed`` folders, which could not be read, stay in the index."""

    roots: list[bytes] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # folders and files by reason
    links: list[str] = field(default_factory=list)  # followed links to folders
    captions: list[CaptionFile] = field(default_factory=list)
    found: int = 0
    todo: int = 0


def check_sources(kind: str, sources: Sequence[Path], captions: Sequence[Path], gone_ok: bool) -> None:
    """Raise MissingFileError or InputError for a source that an index of this kind cannot have."""
    what = "a folder of pictures" if kind == "images" else "a file of texts"
    whose = "pictures" if kind == "images" else "texts"
    for source in sources:
        if not os.path.lexists(source) and not gone_ok:
            raise MissingFileError(
                f"there is no {source}; give {what}, or pass --drop-all if its {whose} are to leave the index"
            )
        if kind == "texts" and os.path.isdir(source):
            raise InputError(f"{source} is a folder; give its files of texts one by one, each with --texts")
        if kind == "images" and os.path.isfile(source) and not is_picture_file(source):
            raise InputError(
                f"{source} is no picture ({', '.join(PICTURE_SUFFIXES)}); a caption file goes to --captions, "
                "a list of texts to --texts"
            )
    for file in captions:
        if not os.path.lexists(file):
            raise MissingFileError(f"there is no {file}; --captions takes a caption file")


def scan_pictures(
    connection: sqlite3.Connection,
    sources: Sequence[Path],
    leave_out: Path,
    captions: Sequence[CaptionFile],
    rules: WalkRules,
    progress: Progress,
    gone_ok: bool,
) -> SourceScan:
    """Scan folders of pictures; ``leave_out`` is the index's own folder.

    Raises MissingFileError for missing sources, InputError for captions of other pictures.
    """
    check_sources("images", sources, [one.file for one in captions], gone_ok)
    scan = _begin(connection)
    scan.captions = list(captions)
    notes = WalkNotes(scan.closed, scan.skipped, scan.left_out, scan.links)
    for source in sources:
        root = os.fsencode(os.path.abspath(source))
        scan.roots.append(root)
        before = scan.found
        found = walk(root, rules, notes, os.path.abspath(os.fsencode(leave_out)))
        for page in _pages(found if os.path.lexists(root) else iter(())):
            _insert_files(connection, page)
            scan.found += sum(file.is_picture for file in page)
            progress("looking for pictures", scan.found, 0)
        if scan.found == before and not gone_ok:
            _refuse_to_empty(connection, source, root)
    _join_sidecars(connection)
    caption_join.join(connection, scan.captions, sources)
    return _count(connection, scan)


def scan_texts(
    connection: sqlite3.Connection,
    sources: Sequence[Path],
    progress: Progress,
    gone_ok: bool,
    caption_column: str | None = None,
) -> SourceScan:
    """Scan lines of .txt files, captions of tables and caption files; duplicates in a file count once."""
    check_sources("texts", sources, (), gone_ok)
    scan = _begin(connection)
    for source in sources:
        path = os.fsencode(os.path.abspath(source))
        scan.roots.append(path)
        if gone_ok and not os.path.lexists(path):
            continue
        changed = Path(source).stat().st_mtime_ns
        for page in _pages(_texts(Path(source), caption_column, scan)):
            rows = [(path, digest(text), len(text.encode()), changed, text) for text in page]
            connection.executemany(
                "INSERT OR IGNORE INTO temp.found (path, part, bytes, changed, text) VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            scan.found += len(page)
            progress("reading texts", scan.found, 0)
    return _count(connection, scan)


def todo(connection: sqlite3.Connection) -> Iterator[Entry]:
    """Entries to be read, ordered by path; writing in between is allowed."""
    last = 0
    while rows := connection.execute(_PAGE, (last, PAGE_ROWS)).fetchall():
        for _, *row in rows:
            yield Entry(*row)
        last = rows[-1][0]


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def sidecar(path: str) -> str:
    """The text in a picture's sidecar, photo.txt or photo.jpg.txt; '' without one."""
    for candidate in (os.path.splitext(path)[0] + ".txt", f"{path}.txt"):
        if os.path.isfile(candidate):
            with open(candidate, "rb") as file:
                text = file.read(MAX_SIDECAR_BYTES).decode("utf-8-sig", "replace")
            lines = (line.strip() for line in text.splitlines())
            return database.clean("\n".join(line for line in lines if line))
    return ""


def _begin(connection: sqlite3.Connection) -> SourceScan:
    connection.execute("PRAGMA temp_store = FILE")
    for name in ("found", "sidecars", "todo"):
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    connection.executescript(TABLES)
    return SourceScan()


def _count(connection: sqlite3.Connection, scan: SourceScan) -> SourceScan:
    connection.execute(_TODO)
    scan.found = database.value(connection, "SELECT count(*) FROM temp.found")
    scan.todo = database.value(connection, "SELECT count(*) FROM temp.todo")
    return scan


def _pages(items: Iterator[Any]) -> Iterator[list[Any]]:
    page: list[Any] = []
    for item in items:
        page.append(item)
        if len(page) == PAGE_ROWS:
            yield page
            page = []
    if page:
        yield page


def _insert_files(connection: sqlite3.Connection, page: Sequence[FoundFile]) -> None:
    pictures = [
        (path, "", status.st_size, status.st_mtime_ns, os.path.splitext(path)[0])
        for path, status, is_picture in page
        if is_picture
    ]
    texts = [(path[:-4], status.st_mtime_ns) for path, status, is_picture in page if not is_picture]
    connection.executemany(
        "INSERT OR IGNORE INTO temp.found (path, part, bytes, changed, stem) VALUES (?, ?, ?, ?, ?)", pictures
    )
    connection.executemany("INSERT OR IGNORE INTO temp.sidecars VALUES (?, ?)", texts)


def _join_sidecars(connection: sqlite3.Connection) -> None:
    """Match sidecars to pictures; photo.txt goes before photo.jpg.txt, as in ``sidecar``."""
    for column in ("path", "stem"):
        connection.execute(
            "UPDATE temp.found SET beside_changed = s.changed "
            f"FROM temp.sidecars s WHERE s.stem = found.{column}"
        )


def _refuse_to_empty(connection: sqlite3.Connection, source: Path, root: bytes) -> None:
    count = database.value(
        connection,
        "SELECT count(*) FROM items WHERE path = ? OR (path >= ? AND path < ?)",
        (root, *database.below(root)),
    )
    if count:
        raise InputError(
            f"{source} has no pictures now; {count} of its pictures are in the index. Is its disk mounted? "
            "If they are to leave the index, pass --drop-all"
        )


def _texts(source: Path, caption_column: str | None, scan: SourceScan) -> Iterator[str]:
    for number, line in enumerate(texts_of(source, caption_column=caption_column), 1):
        text = database.clean(line).strip()
        if len(text) > MAX_TEXT_CHARACTERS:
            where = f"{source} text {number}"
            scan.skipped.append((where, f"{len(text)} characters, more than {MAX_TEXT_CHARACTERS}"))
        elif text:
            yield text
