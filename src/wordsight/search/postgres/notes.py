"""Small facts about an index on a server, as JSON: calibration, recall, walk rules."""

from dataclasses import dataclass
from typing import Any

from wordsight.search.postgres.server import Server

WALK = "walk"


@dataclass(frozen=True)
class Note:
    """A fact, and the state of the index that it was measured on."""

    generation: int
    items: int
    value: Any


def read(server: Server, name: str) -> Note | None:
    found = server.rows("SELECT generation, items, value FROM note WHERE name = %s", (name,))
    return Note(*found[0]) if found else None


def write(server: Server, name: str, generation: int, items: int, value: Any) -> None:
    from psycopg.types.json import Jsonb

    with server.connection() as connection:
        connection.execute(
            "INSERT INTO note VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE "
            "SET generation = excluded.generation, items = excluded.items, value = excluded.value",
            (name, generation, items, Jsonb(value)),
        )


def drop(server: Server, name: str) -> None:
    with server.connection() as connection:
        connection.execute("DELETE FROM note WHERE name = %s", (name,))
