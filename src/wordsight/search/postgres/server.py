"""The address of an index -> pooled connections, and errors of the server in plain words.

A connection that failed is dropped and the next statement opens a new one, so a server that comes back is
used again without a restart.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError, StorageError, UnavailableError
from wordsight.search.postgres.address import IndexUrl, need_driver

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

CONNECT_SECONDS = 10
MAX_IDLE = 8  # connections that wait for the next statement
Parameters = Sequence[Any] | dict[str, Any] | None


class Server:
    """Connections to the server of one index, with its schema as search path; for any number of threads."""

    def __init__(self, url: IndexUrl) -> None:
        need_driver()
        self.url = url
        self._lock = threading.Lock()
        self._idle: list[Connection[Any]] = []

    @contextmanager
    def connection(self) -> "Iterator[Connection[Any]]":
        """A connection in autocommit mode for the block. Raises UnavailableError, InputError."""
        with self._explained():
            connection = self._take()
            try:
                yield connection
            except BaseException:
                connection.close()  # its state is unknown
                raise
            self._give_back(connection)

    @contextmanager
    def transaction(self) -> "Iterator[Connection[Any]]":
        """A connection whose statements are committed together."""
        with self.connection() as connection, connection.transaction():
            yield connection

    def rows(self, sql: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        with self.connection() as connection:
            return connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Parameters = None) -> Any:
        """The single value of one statement; None without a row."""
        found = self.rows(sql, parameters)
        return found[0][0] if found else None

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> "Connection[Any]":
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not connection.closed and not _is_broken(connection):
                    return connection
                connection.close()
        return self._opened()

    def _opened(self) -> "Connection[Any]":
        import psycopg

        options = f"-c search_path={self.url.name},public -c client_encoding=UTF8"
        connection = psycopg.connect(
            self.url.conninfo,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="wordsight",
            options=options,
        )
        connection.prepare_threshold = None  # a pooler in front need not keep prepared statements
        return connection

    def _give_back(self, connection: "Connection[Any]") -> None:
        with self._lock:
            if not connection.closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import psycopg
        from psycopg import errors

        try:
            yield
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise InputError(f"{self.url} holds no index", _make(self.url)) from error
        except errors.InsufficientPrivilege as error:
            raise InputError(
                f"{self.url}: {self._reason(error)}", "ask for the right, or name another user"
            ) from None
        except (errors.DiskFull, errors.OutOfMemory) as error:
            raise StorageError(
                f"{self.url} has no room: {self._reason(error)}", "all batches before are safe"
            ) from error
        except errors.ProgramLimitExceeded as error:
            raise StorageError(
                f"{self.url} has a limit: {self._reason(error)}", "raise it on the server"
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise UnavailableError(
                f"{self.url} does not answer: {self._reason(error)}",
                "check that the server runs, and the address, user and password (PGPASSWORD or ~/.pgpass)",
            ) from None

    def _reason(self, error: Exception) -> str:
        """The driver's message without any password."""
        text = " ".join(str(error).split())
        with suppress(Exception):
            from psycopg.conninfo import conninfo_to_dict

            secret = str(conninfo_to_dict(self.url.conninfo).get("password") or "")
            text = text.replace(secret, "...") if secret else text
        return re.sub(r"connection to server .* failed: |connection failed: ", "", text)[:300]


def _is_broken(connection: "Connection[Any]") -> bool:
    """Whether the server has ended this idle connection."""
    import select

    with suppress(Exception):
        readable, _, _ = select.select([connection.fileno()], [], [], 0)
        return bool(readable)
    return True


def _make(url: IndexUrl) -> str:
    return f"make one: wordsight index FOLDER --model MODEL --out '{url}'"


def copied(cursor: "Cursor[Any]", sql: str, parameters: Parameters = None) -> bytes:
    """The binary output of COPY (...) TO STDOUT."""
    with cursor.copy(sql, parameters) as copy:
        return b"".join(map(bytes, copy))
