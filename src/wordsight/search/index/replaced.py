"""A reading of an index folder -> its result, certainly of one index, although others may take its place."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.index_folder import META
from wordsight.search.index import database

MAX_READINGS = 10
PAUSE_SECONDS = 0.01  # before the second reading; the next pauses are longer
Fingerprint = tuple[int, ...]


class IndexReplaced(InputError):  # noqa: N818
    """Another index, or none, is now in the folder of an opened one."""


def index_fingerprint(folder: Path) -> Fingerprint | None:
    """Fingerprint of an index, by which a replaced one is detected; None without an index.

    Time of ``index.json`` and file number of the facts. While a file is open, no other file gets its number.
    """
    try:
        meta, data = os.stat(folder / META), os.stat(folder / database.FACTS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return meta.st_mtime_ns, data.st_dev, data.st_ino


def check_same(folder: Path, fingerprint: Fingerprint | None) -> None:
    """Raise IndexReplaced if the folder holds another index than that of the fingerprint."""
    if index_fingerprint(folder) != fingerprint:
        raise IndexReplaced(f"{folder} was deleted or made anew since it was opened; open it again")


def read_one_index(folder: Path, read: Callable[[], Any], check: Callable[[], None] = lambda: None) -> Any:
    """The result of ``read``, which reads files of the folder while one and the same index is there.

    An index that is swapped for another one and back has its old fingerprint, but the renaming has changed
    the times of its folder: then the result may mix both, and ``read`` is called again.
    ``check`` raises IndexReplaced if the folder holds another index than the expected one.
    """
    for reading in range(MAX_READINGS):
        time.sleep(reading * PAUSE_SECONDS)
        before = _state(folder)
        try:
            result = read()
        except (OSError, ValueError):
            check()  # the reason, if the index was replaced
            if not _renamed(before, _state(folder)):
                raise
            continue
        check()
        if not _renamed(before, _state(folder)):
            return result
        if hasattr(result, "close"):
            result.close()
    raise IndexReplaced(f"{folder} changed {MAX_READINGS} times while it was read; try again")


@dataclass(frozen=True)
class _Place:
    """A folder, or a link to one, and when its entry and the folder that holds it changed."""

    number: int  # inode
    entry_changed: int  # by a renaming; also when a file in the folder is made or deleted
    parent_changed: int  # by a renaming of this or of anything beside it

    @classmethod
    def of(cls, path: Path, status: os.stat_result) -> "_Place":
        return cls(status.st_ino, status.st_ctime_ns, os.stat(path.parent).st_mtime_ns)

    def was_renamed(self, before: "_Place") -> bool:
        """A renaming changes both times; a search that makes files in the index changes one of them."""
        moved = self.entry_changed != before.entry_changed and self.parent_changed != before.parent_changed
        return moved or self.number != before.number


def _renamed(before: tuple[_Place, ...] | None, after: tuple[_Place, ...] | None) -> bool:
    """Whether the folder, or a link to it, was renamed, made anew, or taken away."""
    if before is None or after is None:
        return before is not after
    return any(new.was_renamed(old) for old, new in zip(before, after, strict=True))


def _state(folder: Path) -> tuple[_Place, ...] | None:
    """The folder as it is named, and what a link of that name leads to; None where nothing is."""
    try:
        target = folder.resolve(strict=True)
        return _Place.of(folder.absolute(), os.lstat(folder)), _Place.of(target, os.stat(target))
    except (FileNotFoundError, NotADirectoryError):
        return None
