"""qdrant://HOST:PORT#NAME or qdrant+file:///FOLDER#NAME -> the address of an index on Qdrant."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from wordsight.errors import InputError, MissingPackageError

SCHEMES = ("qdrant://", "qdrant+https://", "qdrant+file://")
DEFAULT_NAME = "wordsight"
DEFAULT_PORT = 6333
KEY = "QDRANT_API_KEY"
_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,99}")
_FORMS = "write qdrant://HOST:6333#photos, or qdrant+file:///FOLDER#photos"


@dataclass(frozen=True)
class QdrantUrl:
    """Address of one index; its text has no key."""

    text: str
    location: str  # the URL of the server, or a folder
    name: str = DEFAULT_NAME  # of the collections
    is_file: bool = False
    key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text


def qdrant_url(text: str) -> QdrantUrl:
    """Parse an address; the key comes from it or from QDRANT_API_KEY. Raises InputError."""
    bare, _, name = text.partition("#")
    scheme, _, rest = bare.partition("://")
    name = name or DEFAULT_NAME
    if not _NAME.fullmatch(name):
        raise InputError(f'"{name}" is no name of an index on Qdrant', "use a-z, 0-9, _ and -: #photos-2024")
    shown = "" if name == DEFAULT_NAME else f"#{name}"
    if scheme == "qdrant+file":
        if not rest:
            raise InputError(f"{text} names no folder", _FORMS)
        folder = Path(rest).expanduser().absolute()
        return QdrantUrl(f"{scheme}://{folder}{shown}", str(folder), name, is_file=True)
    user, _, host = rest.rstrip("/").rpartition("@")
    if not host or "/" in host:
        raise InputError(f"{scheme}://{host}{shown} is no address of a Qdrant server", _FORMS)
    if not re.search(r":\d+$", host):
        host += f":{DEFAULT_PORT}"
    protocol = "https" if scheme.endswith("https") else "http"
    key = user.rpartition(":")[2] or os.environ.get(KEY) or None
    return QdrantUrl(f"{scheme}://{host}{shown}", f"{protocol}://{host}", name, key=key)


def need_client() -> None:
    """Raise MissingPackageError unless the client of Qdrant is installed."""
    try:
        import qdrant_client  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "an index on Qdrant needs the package qdrant-client", "pip install 'wordsight[qdrant]'"
        ) from error
