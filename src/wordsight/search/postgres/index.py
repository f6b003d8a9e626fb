"""The address of an index on PostgreSQL -> that index: created, updated, verified, searched by snapshots.

>>> index = PostgresIndex.create(index_url("postgresql://photos@db.example/photos"), "runs/chan/best")
>>> index.update([Path("photos")])
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.errors import AlreadyExistsError, InputError
from wordsight.read.pictures.walk import WalkRules
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import manifest
from wordsight.search.index.compact import Compaction
from wordsight.search.index.interface import BatchWriter, ServerIndex
from wordsight.search.index.manifest import Meta
from wordsight.search.index.replaced import IndexReplaced
from wordsight.search.postgres import ddl, notes, upkeep
from wordsight.search.postgres.address import IndexUrl
from wordsight.search.postgres.facts import PostgresFacts, PostgresFiles
from wordsight.search.postgres.server import Server
from wordsight.search.postgres.snapshot import PostgresSnapshot
from wordsight.search.remote import saved_model
from wordsight.search.remote.mirror import MirrorWriter

if TYPE_CHECKING:
    from wordsight.search.postgres.session import PostgresSession

_log = logging.getLogger("wordsight.search")
PRECISION = "float16"
CHUNK_BYTES = 32 << 20  # of a file of the model in one statement


class PostgresIndex(ServerIndex):
    """An index on a server, with the interface of the local ``Index``.

    ``folder`` is in the user's cache: it records which folders this user indexed, and holds an unpacked copy
    of the index's model.
    """

    def __init__(
        self, server: Server, meta: Meta, made: str, trust_remote_code: bool = False, device: str = "auto"
    ) -> None:
        self.server, self.meta, self.made, self.trust_remote_code = server, meta, made, trust_remote_code
        self.device = device
        self.kind = meta.kind
        self.folder = saved_model.home(server.url, f"{meta.model} {made}")

    @property
    def name(self) -> str:
        """The address, as messages show it."""
        return self.server.url.text

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
            with server.transaction() as connection:
                ddl.migrate(connection, version)
        return cls(server, Meta(**meta), made, trust_remote_code, device)

    def reopen(self) -> "PostgresIndex":
        """The index that is now at this address."""
        return PostgresIndex.open(self.server.url, self.trust_remote_code, self.device)

    @property
    def facts(self) -> PostgresFacts:
        return PostgresFacts(self.server)

    @property
    def model_folder(self) -> Path:
        return saved_model.unpacked(PostgresFiles(self.server), self.folder, self.meta.model)

    def check_there(self) -> None:
        """Raise IndexReplaced if another index, or none, is now at this address."""
        self.generation()

    def adopt_presence(self, model: Path) -> None:
        saved_model.adopt_presence(PostgresFiles(self.server), model, CHUNK_BYTES)

    @contextmanager
    def updating(self, sources: Sequence[Path], progress: Progress) -> Iterator[BatchWriter]:  # noqa: ARG002
        """A copy of the facts below these sources to write in; several processes may update at once."""
        roots = [os.fsencode(os.path.abspath(source)) for source in sources]
        self.check_there()
        writer = MirrorWriter(self.facts, self.meta, self.model_folder, roots)
        try:
            yield writer
        finally:
            writer.close()

    def remember_rules(self, writer: BatchWriter, rules: WalkRules | None) -> WalkRules:  # noqa: ARG002
        if rules is None:
            return self.walk_rules()
        notes.write(self.server, notes.WALK, 0, 0, asdict(rules))
        return rules

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

    def walk_rules(self) -> WalkRules:
        """The rules for pictures that an update leaves out."""
        settings = notes.read(self.server, notes.WALK)
        if settings is None:
            return WalkRules()
        return WalkRules(tuple(settings.value["exclude"]), bool(settings.value["follow_links"]))

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
