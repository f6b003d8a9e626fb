"""Bytes -> a file that grows at its end, kept or dropped as a whole; and the lock of the folder it is in."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LOCK = "lock"


class StoreInUse(OSError):  # noqa: N818
    """Another process writes to the same folder."""


class AppendFile:
    """A file that grows at its end; what has been added is kept or dropped."""

    def __init__(self, path: Path, kept: int) -> None:
        self.file: BinaryIO = path.open("r+b" if path.is_file() else "w+b", buffering=0)
        self.kept = self.end = kept
        self.file.truncate(kept)

    def add(self, data: bytes) -> None:
        self.write(self.end, data)
        os.fsync(self.file.fileno())
        self.end += len(data)

    def keep(self) -> None:
        self.kept = self.end

    def drop(self) -> None:
        """Cut off what was not kept; this needs no space."""
        self.end = self.kept
        self.file.truncate(self.kept)

    def write(self, at: int, data: bytes) -> None:
        self.file.seek(at)
        rest = memoryview(data)
        while rest:  # an unbuffered write may stop half-way when the disk is nearly full
            rest = rest[self.file.write(rest) :]


def locked(folder: Path) -> BinaryIO:
    """The lock file, held until it is closed, by a kill too."""
    lock = (folder / LOCK).open("a+b", buffering=0)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().decode() or "unknown"
        lock.close()
        raise StoreInUse(
            f"another process (number {owner}) is writing to {folder}; "
            "wait until it ends, stop it, or choose another folder"
        ) from None
    lock.truncate(0)
    with suppress(OSError):  # on a full disk the lock holds all the same
        lock.write(str(os.getpid()).encode())
    return lock
