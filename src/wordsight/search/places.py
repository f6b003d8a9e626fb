"""The name of an index -> a folder, or an address on a server and the kind of index that it stands for."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from wordsight.errors import InputError
from wordsight.search.index.interface import SearchableIndex
from wordsight.search.postgres import address as postgres
from wordsight.search.qdrant import address as qdrant

if TYPE_CHECKING:
    from wordsight.search.remote.server_index import ServerIndex

ServerAddress: TypeAlias = postgres.IndexUrl | qdrant.QdrantUrl
Place: TypeAlias = Path | ServerAddress


def index_place(text: str) -> Place:
    """A folder, or an index on a server. Raises InputError for an address that cannot be one."""
    if text.startswith(postgres.SCHEMES):
        return postgres.index_url(text)
    if text.startswith(qdrant.SCHEMES):
        return qdrant.qdrant_url(text)
    if text.startswith("qdrant"):
        known = ", ".join(f"{one}..." for one in (*postgres.SCHEMES, *qdrant.SCHEMES))
        raise InputError(f"{text.partition('://')[0]}:// is no kind of index", f"known: {known}")
    return Path(text)


def server_index(address: ServerAddress) -> "type[ServerIndex]":
    """The class of indexes at such addresses."""
    if isinstance(address, qdrant.QdrantUrl):
        from wordsight.search.qdrant.index import QdrantIndex

        return QdrantIndex
    from wordsight.search.postgres.index import PostgresIndex

    return PostgresIndex


def open_index(place: Place, trust_remote_code: bool = False, device: str = "auto") -> SearchableIndex:
    """Open the index at a place. Raises MissingFileError or InputError if there is none, UnavailableError."""
    if isinstance(place, Path):
        from wordsight.search.index.index import Index

        return Index.open(place, trust_remote_code, device)
    return server_index(place).open(place, trust_remote_code, device)
