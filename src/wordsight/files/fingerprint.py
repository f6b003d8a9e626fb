"""Files -> a hash of their content, and a cheap stamp that changes when a file does."""

import errno
import hashlib
import os
import stat
from pathlib import Path

Stamp = tuple[int, int]  # size in bytes, time of the last change in nanoseconds
_SPECIAL = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))


def content_of(path: Path) -> str:
    """A hash of the file's bytes: the same for a renamed or duplicated picture."""
    stat_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def content_of_bytes(data: bytes) -> str:
    """Hash of a file's bytes that are in memory already."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def stamp_of(path: Path) -> Stamp:
    status = stat_regular(path)
    return status.st_size, status.st_mtime_ns


def stat_regular(path: str | Path | bytes) -> os.stat_result:
    """The status of a regular file; OSError for a pipe, a socket or a device, which nobody should open."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(path))
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for is_it, words in _SPECIAL if is_it(status.st_mode)), "a device")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fsdecode(path))
    return status
