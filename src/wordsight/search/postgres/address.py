"""postgresql://USER@HOST/DATABASE#NAME -> the address of an index on a server; its text has no password."""

import re
from dataclasses import dataclass
from functools import cached_property

from wordsight.errors import InputError, MissingPackageError

SCHEMES = ("postgresql://", "postgres://")
DEFAULT_NAME = "wordsight"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")


@dataclass(frozen=True)
class IndexUrl:
    """Address of one index; a database holds any number of them, each in a schema of its own.

    libpq completes what the URL leaves out: from the variables PGHOST, PGUSER, PGPASSWORD ..., ``.pgpass``
    and service files.
    """

    conninfo: str
    name: str = DEFAULT_NAME  # of the schema

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"IndexUrl({self.text})"

    @cached_property
    def text(self) -> str:
        """The address without its password."""
        bare = re.sub(r"(?i)([?&]password=)[^&]*", r"\1...", self.conninfo)
        scheme, _, rest = bare.partition("://")
        authority, slash, path = rest.partition("/")
        user, at, host = authority.rpartition("@")
        user = user.split(":")[0]
        name = "" if self.name == DEFAULT_NAME else f"#{self.name}"
        return f"{scheme}://{user}{at}{host}{slash}{path}{name}"


def index_url(text: str) -> IndexUrl:
    """Parse an address. Raises InputError for a name that is no schema."""
    conninfo, _, name = text.partition("#")
    name = name or DEFAULT_NAME
    if not _NAME.fullmatch(name):
        raise InputError(f'"{name}" is no name of an index on a server', "use a-z, 0-9 and _: #photos_2024")
    return IndexUrl(conninfo, name)


def need_driver() -> None:
    """Raise MissingPackageError unless the PostgreSQL driver is installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "an index on PostgreSQL needs the driver psycopg", "pip install 'wordsight[postgres]'"
        ) from error
