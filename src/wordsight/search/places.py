"""The name of an index -> a folder, or an address on a server and the kind of index that it stands for."""

from pathlib import Path
from typing import TypeAlias

from wordsight.search.index.interface import SearchableIndex, ServerIndex
from wordsight.search.postgres.address import SCHEMES, IndexUrl, index_url

ServerAddress: TypeAlias = IndexUrl
Place: TypeAlias = Path | ServerAddress


def index_place(text: str) -> Place:
    """A folder, or an index on a server. Raises InputError for an address that cannot be one."""
    return index_url(text) if text.startswith(SCHEMES) else Path(text)


def server_index(address: ServerAddress) -> type[ServerIndex]:  # noqa: ARG001
    """The class of indexes at such addresses."""
    from wordsight.search.postgres.index import PostgresIndex

    return PostgresIndex


def open_index(place: Place, trust_remote_code: bool = False, device: str = "auto") -> SearchableIndex:
    """Open the index at a place. Raises MissingFileError or InputError if there is none, UnavailableError."""
    if isinstance(place, Path):
        from wordsight.search.index.index import Index

        return Index.open(place, trust_remote_code, device)
    return server_index(place).open(place, trust_remote_code, device)
