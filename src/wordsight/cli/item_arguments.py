"""PICTURE and ITEM on the command line -> a file, or the id of an item in the index."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from wordsight.search.searcher import Searcher


def picture_or_id(picture: str) -> str | int:
    """The number of an item, or the path of a file that exists."""
    return int(picture) if _is_id(picture) else picture_file(picture)


def picture_file(picture: str) -> str:
    """The path of a file that exists."""
    if not Path(picture).is_file():
        raise MissingFileError(f"there is no picture {picture}", "give the file of one, or an item's number")
    return picture


def item_id(searcher: "Searcher", item: str) -> int:
    """An id, or the id of a path."""
    if _is_id(item):
        return int(item)
    with searcher.index.snapshot() as snapshot:
        found: int | None = snapshot.id_of(item)
    if found is None:
        raise InputError(f"{item} is neither an id nor the path of a file in this index")
    return found


def _is_id(given: str) -> bool:
    return given.isascii() and given.isdigit() and not os.path.exists(given)
