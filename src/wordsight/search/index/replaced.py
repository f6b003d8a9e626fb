"""A reading of an index folder -> its result, certainly of one index, although others may take its place."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.search.index import database

META = "index.json"
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
            if _state(folder) == before:
                raise
            continue
        check()
        if _state(folder) == before:
            return result
        if hasattr(result, "close"):
            result.close()
    raise IndexReplaced(f"{folder} changed {MAX_READINGS} times while it was read; try again")


def _state(folder: Path) -> tuple[int, ...] | None:
    """Changes when the folder, or a link to it, is renamed; also when a file in it is made or deleted."""
    try:
        link, target = os.lstat(folder), os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return link.st_ino, link.st_ctime_ns, target.st_dev, target.st_ino, target.st_ctime_ns
