"""When the pictures of an index were taken: a fact of the content, in a column that format 1 had not.

An index of format 1 is searched as it is, by the dates of files; the next update brings it to format 2.
"""

import sqlite3
from pathlib import Path

from wordsight.search.index import database

COMPLETE = (
    "dates"  # in the table of the index's state: 0 as long as some contents were not read for their dates
)


def add_column(folder: Path) -> None:
    """Bring the facts from format 1 to 2; done again after a kill, it changes nothing."""
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
    """SQL: when the item ``i`` was taken, else when its file was changed; nanoseconds since 1970."""
    if not has_dates(connection):
        return "i.changed"
    return "coalesce((SELECT taken FROM contents WHERE key = i.content), i.changed)"
