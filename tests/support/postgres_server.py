"""One PostgreSQL server with pgvector for all tests of a process, and a new index on it for each."""

import atexit
import os
import re
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from wordsight.search.postgres import local_server
from wordsight.search.postgres.address import IndexUrl, index_url

_numbers = count()


@cache
def url() -> str:
    """The URL of the running server."""
    folder = Path(mkdtemp(prefix="wordsight-server-", dir=os.environ.get("WORDSIGHT_CACHE"))) / "data"
    atexit.register(local_server.stop, folder)
    started = local_server.start(folder)
    _quick(started)
    return started


def _quick(started: str) -> None:
    """Do not wait for the disk: these tests kill processes, not machines."""
    import psycopg

    with psycopg.connect(started, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = off")
        connection.execute("SELECT pg_reload_conf()")


def new_url(name: str = "t") -> IndexUrl:
    """The address of an index that is not there yet."""
    return index_url(f"{url()}#{new_name(name)}")


def new_name(name: str) -> str:
    """The name of a schema that is not there yet."""
    return f"{re.sub('[^a-z0-9_]', '_', name)}_{os.getpid()}_{next(_numbers)}"
