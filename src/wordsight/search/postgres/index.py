"""The address of an index on PostgreSQL -> that index: created, updated, verified, searched by snapshots.

>>> index = PostgresIndex.create(index_url("postgresql://photos@db.example/photos"), "runs/chan/best")
>>> index.update([Path("photos")])
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordsight.errors import AlreadyExistsError, InputError
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import manifest
from wordsight.search.index.compact import Compaction
from wordsight.search.index.manifest import Meta
from wordsight.search.index.replaced import IndexReplaced
from wordsight.search.postgres import ddl, notes, upkeep
from wordsight.search.postgres.address import IndexUrl
from wordsight.search.postgres.facts import PostgresFacts, PostgresFiles
from wordsight.search.postgres.server import Server
from wordsight.search.postgres.snapshot import PostgresSnapshot
from wordsight.search.remote import saved_model
from wordsight.search.remote.server_index import ServerIndex

if TYPE_CHECKING:
    from wordsight.search.postgres.session import PostgresSession

PRECISION = "float16"
CHUNK_BYTES = 32 << 20  # of a file of the model in one statement
_log = logging.getLogger("wordsight.search")


class PostgresIndex(ServerIndex):
    """An index on PostgreSQL, with the interface of the local ``Index``."""

    chunk_bytes = CHUNK_BYTES

    @cached_property
    def server(self) -> Server:
        return Server(self.url)

    @classmethod
    def create(
        cls,
        url: IndexUrl,
        matcher_folder: str | Path,
        kind: str = "images",
        shards: int = 0,
        trust_remote_code: bool = False,
    ) -> "PostgresIndex":
        """Create an empty index with a copy of the model; ``shards`` > 0 distributes it over Citus workers.

        Raises AlreadyExistsError if there is one of this name.
        """
        model = Path(matcher_folder)
        meta = manifest.meta_of(model, kind, PRECISION, trust_remote_code)
        server = Server(url)
        if _exists(server):
            raise AlreadyExistsError(f"{url} holds an index already", "open it, or choose another #name")
        _create_tables(server, meta, shards)
        PostgresFiles(server).write_files(saved_model.pieces(model, CHUNK_BYTES))
        return cls.open(url, trust_remote_code)

    @classmethod
    def is_there(cls, url: IndexUrl) -> bool:
        return _exists(Server(url))

    @classmethod
    def open(cls, url: IndexUrl, trust_remote_code: bool = False, device: str = "auto") -> "PostgresIndex":
        """Open an index; older tables are migrated. Raises InputError if there is none, UnavailableError."""
        server = Server(url)
        (version, meta, made), *_ = server.rows("SELECT version, meta, made::text FROM state")
        if version > ddl.VERSION:
            raise InputError(
                f"{url} has tables of version {version}, newer than {ddl.VERSION}", "update wordsight"
            )
        if version < ddl.VERSION:
            _log.info("%s: its tables are brought from version %d to %d", url, version, ddl.VERSION)
            with server.transaction() as connection:
                ddl.migrate(connection)
        index = cls(url, Meta(**meta), made, trust_remote_code, device)
        index.server = server  # with its connection
        return index

    @property
    def facts(self) -> PostgresFacts:
        return PostgresFacts(self.server)

    @property
    def files(self) -> PostgresFiles:
        return PostgresFiles(self.server)

    def read_walk(self) -> Mapping[str, Any] | None:
        note = notes.read(self.server, notes.WALK)
        return None if note is None else dict(note.value)

    def write_walk(self, settings: Mapping[str, Any]) -> None:
        notes.write(self.server, notes.WALK, 0, 0, dict(settings))

    def verify(self, progress: Progress = silent) -> list[str]:
        """Check the integrity of the index; one sentence per problem."""
        return list(upkeep.problems(self, progress))

    def repair(self) -> int:
        """Delete items with damaged vectors, so that the next update encodes them again; returns how many."""
        return upkeep.repair(self, silent)

    def compact(self, progress: Progress = silent) -> Compaction:  # noqa: ARG002
        """Drop what no item needs, and build the approximate index anew."""
        return upkeep.compact(self)

    def stats(self) -> upkeep.ServerStats:
        return upkeep.stats(self)

    def health(self) -> list[tuple[str, str]]:
        return upkeep.health(self)

    def snapshot(self) -> PostgresSnapshot:
        return PostgresSnapshot(self.server, self.meta.layout)

    @property
    def session_type(self) -> "type[PostgresSession]":
        from wordsight.search.postgres.session import PostgresSession

        return PostgresSession

    def generation(self) -> int:
        """Number of commits so far. Raises IndexReplaced."""
        (generation, made), *_ = self.server.rows("SELECT generation, made::text FROM state")
        if made != self.made:
            raise IndexReplaced(f"{self.name} was made anew since it was opened; open it again")
        return int(generation)

    def delete(self) -> None:
        from psycopg.sql import SQL, Identifier

        with self.server.connection() as connection:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(self.server.url.name)))


def _exists(server: Server) -> bool:
    return bool(server.value("SELECT to_regclass(%s) IS NOT NULL", (f"{server.url.name}.state",)))


def _create_tables(server: Server, meta: Meta, shards: int) -> None:
    from psycopg import errors
    from psycopg.types.json import Jsonb

    try:
        with server.transaction() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute(ddl.create_sql(server.url.name, meta.dim, shards).encode())
            values = (ddl.VERSION, Jsonb(asdict(meta)))
            connection.execute("INSERT INTO state (version, meta) VALUES (%s, %s)", values)
    except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
        raise InputError(
            f"the server of {server.url} has no pgvector",
            "install the extension: github.com/pgvector/pgvector",
        ) from error
    except errors.UndefinedFunction as error:
        raise InputError(f"the server of {server.url} has no Citus", "leave --shards out") from error
