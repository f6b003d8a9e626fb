"""SQLite database of an index: paths, dates, captions and their words, places of vectors.

A *content* is what was encoded: the hash of its bytes and the place of its vectors. An *item* is a file (or a
text of a file) with that content. Two files of equal bytes are two items of one content. A batch counts from
its commit here: a reader's transaction sees all of it or nothing.
"""

import errno
import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from wordsight.errors import InputError, StorageError
from wordsight.files.lock import StoreInUse, has_locks
from wordsight.search.index.near import Near, distance_km
from wordsight.search.index.schema_check import REMEDY, check_schema

FACTS = "facts.sqlite"
LOCK_PROBE = "model/config.json"  # in every index and never locked; SQLite's own files must not be probed
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SEPARATOR = os.fsencode(os.sep)
SYNCHRONOUS = "FULL"  # a commit survives a power failure
BUSY_SECONDS = 30.0  # wait for the commit of another connection
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO state VALUES ('generation', 0), ('dates', 1);
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number is never used again
    vectors INTEGER NOT NULL,  -- how many of its files' rows count
    contents INTEGER NOT NULL,
    boxes INTEGER NOT NULL  -- 1: every vector has a box; 2: and the number of its phrase
);
CREATE TABLE contents (
    key INTEGER PRIMARY KEY,
    content TEXT NOT NULL UNIQUE,
    segment INTEGER NOT NULL REFERENCES segments,
    place INTEGER NOT NULL,  -- of its pooled vector
    start INTEGER NOT NULL,  -- of its vectors
    count INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    taken INTEGER,  -- when, by EXIF; nanoseconds since 1970; NULL: it does not say
    camera TEXT,  -- maker and model, by EXIF; '': it does not say; NULL: the EXIF was not read
    latitude INTEGER,  -- millionths of a degree; NULL: it does not say
    longitude INTEGER,
    UNIQUE (segment, place)
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL,  -- the name's bytes, which need not be text
    part TEXT NOT NULL,  -- '' for a file; of a text the hash, for a file holds many
    content INTEGER NOT NULL REFERENCES contents,
    bytes INTEGER NOT NULL,
    changed INTEGER NOT NULL,  -- nanoseconds
    beside_changed INTEGER NOT NULL,  -- of the text file beside a picture; 0: none
    shown TEXT NOT NULL,  -- the path as text
    beside TEXT NOT NULL,  -- the text beside the picture
    told TEXT NOT NULL,  -- what a caption file says of it; of a text the text
    UNIQUE (path, part)
);
CREATE INDEX items_of_content ON items (content);
CREATE VIRTUAL TABLE words USING fts5 (
    shown, beside, told, content = 'items', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER words_added AFTER INSERT ON items BEGIN
    INSERT INTO words (rowid, shown, beside, told) VALUES (new.id, new.shown, new.beside, new.told);
END;
CREATE TRIGGER words_dropped AFTER DELETE ON items BEGIN
    INSERT INTO words (words, rowid, shown, beside, told)
    VALUES ('delete', old.id, old.shown, old.beside, old.told);
END;
CREATE TRIGGER words_changed AFTER UPDATE OF shown, beside, told ON items BEGIN
    INSERT INTO words (words, rowid, shown, beside, told)
    VALUES ('delete', old.id, old.shown, old.beside, old.told);
    INSERT INTO words (rowid, shown, beside, told) VALUES (new.id, new.shown, new.beside, new.told);
END;
"""


_PLACES = "".join(
    f"ALTER TABLE contents ADD COLUMN {column};"
    for column in ("camera TEXT", "latitude INTEGER", "longitude INTEGER")
)
_FORMAT_2 = re.sub(" *(camera TEXT|l[a-z]+itude INTEGER|longitude INTEGER),[^\n]*", "", SCHEMA)
_FORMAT_1 = re.sub(" *taken INTEGER,[^\n]*", "", _FORMAT_2) + "CREATE INDEX items_by_date ON items (changed);"
_MIGRATED = _FORMAT_1 + "ALTER TABLE contents ADD COLUMN taken INTEGER;"
SCHEMAS = (SCHEMA, _FORMAT_2, _FORMAT_1, _MIGRATED, _FORMAT_2 + _PLACES, _MIGRATED + _PLACES)  # accepted


class IndexFull(StorageError):  # noqa: N818
    """No space for the next batch; earlier batches are stored."""


@dataclass(frozen=True)
class Item:
    """One row of an index."""

    id: int  # stable for the life of the item: it survives renames and compaction
    path: str  # absolute; bytes that are not text are escaped as os.fsdecode does
    content: str  # hash of the file's bytes, or of the text
    bytes: int
    modified: float  # seconds since 1970
    width: int  # pixels; 0 for a text
    height: int
    text: str  # captions of the picture, one per line; of a text index the text itself
    taken: float | None = None  # when the picture was taken, by EXIF; seconds since 1970
    camera: str = ""  # maker and model, by EXIF
    place: tuple[float, float] | None = None  # latitude and longitude in degrees, by EXIF

    @property
    def date(self) -> float:
        """Time when it was taken if known, else when its file was changed."""
        return self.modified if self.taken is None else self.taken


@dataclass(frozen=True)
class Filters:
    """The items to search; None allows all.

    ``folder``: absolute, or the last names of a folder, such as "holiday" or "2024/may", wherever it is.
    ``after``, ``before``: of ``Item.date``, seconds since 1970. ``text``: words that are all in the captions
    or the path. ``camera``: words, or parts of words, that are all in its name. ``near``: where pictures were
    taken.
    """

    folder: str | None = None
    after: float | None = None
    before: float | None = None
    min_bytes: int | None = None
    text: str | None = None
    ids: Sequence[int] | None = None
    camera: str | None = None
    near: Near | None = None


def connect(folder: Path, write: bool = False) -> sqlite3.Connection:
    """Open a connection; every statement is its own transaction until BEGIN."""
    mode = "rw" if write else "ro"
    if not write and not os.access(folder, os.W_OK) and not (folder / f"{FACTS}-shm").exists():
        mode = "ro&immutable=1"  # SQLite cannot create its shared memory there, and no writer has
    connection = _opened(folder, mode)
    try:
        check_schema(connection, SCHEMAS, folder / FACTS)
    except BaseException:
        connection.close()
        raise
    connection.create_function("composed", 1, composed, deterministic=True)
    connection.create_function("distance_km", 4, distance_km, deterministic=True)
    connection.execute("PRAGMA foreign_keys = ON")
    if write:
        connection.execute("PRAGMA trusted_schema = ON")  # our triggers fill the table of words
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    return connection


def can_share(folder: Path) -> bool:
    """Whether several connections see each other's commits; needs a file system with locks."""
    return has_locks(folder / LOCK_PROBE)


def _opened(folder: Path, mode: str) -> sqlite3.Connection:
    """Open the database; without locks on file systems that have none."""
    shared = can_share(folder) or "immutable" in mode
    connection = sqlite3.connect(
        f"{uri_of((folder / FACTS).absolute())}?mode={mode}{'' if shared else '&vfs=unix-none'}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if not shared:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def uri_of(path: PurePath) -> str:
    """Address of a database. SQLite takes no server in it: a share of Windows (UNC) is named by its path."""
    address = path.as_uri()
    return address if address.startswith("file:///") else address.replace("file://", "file:////", 1)


def create(folder: Path) -> None:
    """Make the tables of an empty index."""
    connection = _opened(folder, "rwc")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
    finally:
        connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything inside to disk if the block succeeds, nothing otherwise."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("UPDATE state SET value = value + 1 WHERE name = 'generation'")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def value(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The single value of a query; None without a row."""
    row = connection.execute(sql, parameters).fetchone()
    return None if row is None else row[0]


def generation(connection: sqlite3.Connection) -> int:
    """Number of commits so far."""
    number = value(connection, "SELECT value FROM state WHERE name = 'generation'")
    if not isinstance(number, int):
        raise InputError("the index is damaged: its number of commits is missing", REMEDY)
    return number


@contextmanager
def wrap_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the disk and of SQLite inside the block into messages with the next step."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a bug of ours, nothing that a user could do something about
        raise
    except sqlite3.DatabaseError as error:
        raise _explained(error, folder) from error
    except UnicodeDecodeError as error:  # a name, or SQLite's message that quotes it
        raise InputError(
            f"{folder / FACTS} is damaged (it holds a text that is not UTF-8)", REMEDY
        ) from error
    except OSError as error:
        if isinstance(error, IndexFull) or error.errno not in DISK_FULL:
            raise
        raise _full(folder, error) from error


def _explained(error: sqlite3.DatabaseError, folder: Path) -> Exception:
    code, name = getattr(error, "sqlite_errorcode", 0), getattr(error, "sqlite_errorname", "")
    if code == sqlite3.SQLITE_FULL or name in ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"):
        return _full(folder, error)
    if code == sqlite3.SQLITE_BUSY:
        return StoreInUse(f"another process has been writing to {folder} for {BUSY_SECONDS:.0f} s; try again")
    if code & 0xFF in _DAMAGED or str(error).startswith("Could not decode to UTF-8"):
        return InputError(f"{folder / FACTS} is damaged ({error})", REMEDY)
    return InputError(f"{folder / FACTS}: {error} ({name or type(error).__name__})")


def _full(folder: Path, error: Exception) -> IndexFull:
    return IndexFull(
        f"no space for the index in {folder} ({error}); all batches before are safe: "
        "make room and run the same command again",
    )


def clean(text: str) -> str:
    """Text that SQLite can store: no NUL, no half of a surrogate pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def shown(path: bytes) -> str:
    """A path as text; invalid bytes become the replacement character."""
    return path.decode("utf-8", "replace")


def below(folder: str | bytes) -> tuple[bytes, bytes]:
    """Bounds of the paths below a folder: from the first, before the second."""
    stem, separator = os.fsencode(folder).rstrip(SEPARATOR), SEPARATOR
    return stem + separator, stem + bytes([separator[0] + 1])


def below_condition(folders: Sequence[bytes]) -> tuple[str, list[bytes]]:
    """SQL condition for these paths and all below them, and its parameters."""
    bounds = [(folder, *below(folder)) for folder in folders]
    parts = ["0", *("path = ? OR (path >= ? AND path < ?)" for _ in bounds)]
    return " OR ".join(parts), [path for three in bounds for path in three]


def composed(path: bytes) -> bytes:
    """The path with composed accents (NFC); invalid UTF-8 stays as it is."""
    if path.isascii():
        return path
    try:
        return unicodedata.normalize("NFC", path.decode()).encode()
    except UnicodeDecodeError:
        return path
