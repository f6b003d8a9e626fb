"""Columns of later formats: when pictures were taken (format 2), with which camera and where (format 3).

An index of an older format is searched as it is; the next update migrates it and reads what is missing.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from wordsight.errors import InputError
from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index import database

PHOTO_COLUMNS = ("taken", "camera", "latitude", "longitude")  # in the order of the table


def add_taken(folder: Path) -> None:
    """Migrate the database from format 1 to 2; may be repeated after a kill."""
    _add_columns(folder, {"taken": "INTEGER"}, ["DROP INDEX IF EXISTS items_by_date"])


def add_camera_and_place(folder: Path) -> None:
    """Migrate the database from format 2 to 3; may be repeated after a kill."""
    _add_columns(folder, {"camera": "TEXT", "latitude": "INTEGER", "longitude": "INTEGER"})


def _add_columns(folder: Path, columns: dict[str, str], also: list[str] | None = None) -> None:
    connection = database.connect(folder, write=True)
    try:
        there = photo_columns(connection)
        with database.transaction(connection):
            for name, kind in columns.items():
                if name not in there:
                    connection.execute(f"ALTER TABLE contents ADD COLUMN {name} {kind}")
            for statement in also or ():
                connection.execute(statement)
    finally:
        connection.close()


def photo_columns(connection: sqlite3.Connection) -> list[str]:
    """Those of the columns that this index has."""
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('contents')")}
    return [name for name in PHOTO_COLUMNS if name in columns]


def selected(connection: sqlite3.Connection) -> str:
    """SQL list of the four columns of contents ``c``; NULL for those that this index does not have."""
    there = photo_columns(connection)
    return ", ".join(f"c.{name}" if name in there else "NULL" for name in PHOTO_COLUMNS)


def expression(connection: sqlite3.Connection) -> str:
    """SQL expression for the date of item ``i``: taken, or else the file changed; nanoseconds since 1970."""
    if "taken" not in photo_columns(connection):
        return "i.changed"
    return "coalesce((SELECT taken FROM contents WHERE key = i.content), i.changed)"


def not_stored(index: object) -> InputError:
    """The error for a filter by camera or place in an index that has none."""
    return InputError(
        f"{index} was made before cameras and places were stored, so it cannot filter by them",
        f"update it: wordsight index FOLDER --out {index}",
    )


def update_photo_facts(connection: sqlite3.Connection, facts: Sequence[tuple[str, PhotoFacts]]) -> None:
    """Store facts of contents, by their hashes; a date that is known stays where none is given."""
    update = "taken = coalesce(?, taken), camera = ?, latitude = ?, longitude = ?"
    rows = [(*astuple(one), content) for content, one in facts]
    connection.executemany(f"UPDATE contents SET {update} WHERE content = ?", rows)
