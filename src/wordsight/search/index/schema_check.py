"""Schema check of an index's database, which may come from somebody else.

A trigger, a view, a generated column or an index over an expression is code that SQLite runs by itself. So
the schema must equal one of those in database.py, except for comments and spaces.
"""

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from wordsight.errors import InputError

_OWN = "SELECT type, name, sql FROM sqlite_master"
_BY_SQLITE = ("words_", "sqlite_")  # tables that SQLite makes for others, in words of its version
REMEDY = "restore a copy of the folder, or move it away and index again"


def check_schema(connection: sqlite3.Connection, schemas: tuple[str, ...], path: Path) -> None:
    """Raise InputError for the first object that is in none of the schemas."""
    expected = _normalized(schemas)
    for kind, name, sql in connection.execute(_OWN):
        known = expected.get((kind, name), set())
        if not known or (_plain(sql) not in known and not str(name).startswith(_BY_SQLITE)):
            raise InputError(f"{path} has a {kind} {str(name)[:60]!r}, which no index has", REMEDY)


@cache
def _normalized(schemas: tuple[str, ...]) -> dict[tuple[str, str], set[str]]:
    """Accepted definitions of each object, by its type and name."""
    known: dict[tuple[str, str], set[str]] = {}
    for schema in schemas:
        connection = sqlite3.connect(":memory:")
        try:
            connection.executescript(schema)
            for kind, name, sql in connection.execute(_OWN):
                known.setdefault((kind, name), set()).add(_plain(sql))
        finally:
            connection.close()
    return known


def _plain(sql: Any) -> str:
    return " ".join(re.sub(r"--[^\n]*", "", str(sql)).split())


def whole_numbers(rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """The rows of a query as an integer array; SQLite accepts any value in any column."""
    numbers = np.array(rows)
    if numbers.dtype != np.int64:
        raise InputError("the index is damaged: a value is not a whole number", REMEDY)
    return numbers


def check_places(table: np.ndarray, extents: dict[int, tuple[int, int]]) -> None:
    """Raise InputError for a content outside its segment.

    ``table``: columns segment, place, start, count. ``extents``: vectors and contents of every segment.
    """
    known = np.array(sorted(extents), dtype=np.int64)
    limits = np.array([extents[number] for number in known.tolist()], dtype=np.int64).reshape(-1, 2)
    at = np.searchsorted(known, table[:, 0])
    right = at < len(known)
    right[right] = known[at[right]] == table[right, 0]
    vectors, contents = limits[at[right]].T
    _, place, start, count = table[right].T
    right[right] = (
        (place >= 0) & (place < contents) & (start >= 0) & (count >= 0) & (count <= vectors - start)
    )
    if not right.all():
        segment, place, start, count = table[int(np.argmin(right))].tolist()
        raise InputError(
            f"the index is damaged: segment {segment} has no content {place} of {count} vectors at {start}",
            REMEDY,
        )
