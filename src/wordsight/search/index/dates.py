"""Dates when pictures were taken: a column of the contents since format 2.

An index of format 1 is searched by the dates of files; the next update migrates it to format 2.
"""

import sqlite3
from pathlib import Path

from wordsight.search.index import database

COMPLETE = "dates"  # in the table state: 0 until all contents were read for their dates


def add_column(folder: Path) -> None:
    """Migrate the database from format 1 to 2; may be repeated after a kill."""
    connection = database.connect(folder, write=True)
    try:
        with database.transaction(connection):
            if not has_dates(connection):
                connection.execute("ALTER TABLE contents ADD COLUMN taken INTEGER")
                connection.execute("INSERT INTO state VALUES (?, 0)", (COMPLETE,))
                connection.execute("DROP INDEX IF EXISTS items_by_date")
    finally:
        connection.close()


def has_dates(connection: sqlite3.Connection) -> bool:
    columns = connection.execute("SELECT name FROM pragma_table_info('contents')").fetchall()
    return ("taken",) in columns


def expression(connection: sqlite3.Connection) -> str:
    """SQL expression for the date of item ``i``: taken, or else the file changed; nanoseconds since 1970."""
    if not has_dates(connection):
        return "i.changed"
    return "coalesce((SELECT taken FROM contents WHERE key = i.content), i.changed)"
