"""A folder -> its lock, so that one process writes at a time; and whether its file system has locks at all.

Network and cluster file systems are often mounted without locks. There a lock is refused with an error that
says so, and WORDSIGHT_NO_LOCK=1 (the option --no-lock) goes on without one.
"""

import errno
import logging
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from wordsight.errors import WordsightError
from wordsight.files.contained import inside

LOCK = "lock"
NO_LOCK = "WORDSIGHT_NO_LOCK"
BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}  # the last one: Windows only
UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
FAR = 1 << 30  # the byte that Windows locks: nobody could read a locked one


class StoreInUse(WordsightError, OSError):  # noqa: N818
    """Another process writes to the same folder."""


class CannotLock(WordsightError, OSError):  # noqa: N818
    """The file system refuses a lock for another reason than a process that holds it."""


def locked(folder: Path) -> BinaryIO:
    """The lock file, held until it is closed or the process ends.

    Raises StoreInUse if another process holds it, CannotLock if the file system cannot lock it.
    """
    lock = inside(folder, LOCK).open("a+b", buffering=0)
    try:
        _lock(lock)
    except OSError as error:
        if error.errno in BUSY:
            raise _in_use(folder, lock) from None
        if not os.environ.get(NO_LOCK):
            lock.close()
            raise _cannot_lock(folder, error) from error
        _warn(folder, (error.strerror or str(error)).lower())
    lock.truncate(0)
    with suppress(OSError):  # on a full disk the lock holds all the same
        lock.write(str(os.getpid()).encode())
    return lock


def has_locks(path: Path) -> bool:
    """Whether SQLite's kind of lock works on the file system of this file, which nobody else may lock."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)
    except OSError as error:
        return error.errno not in UNSUPPORTED
    return True


def _lock(lock: BinaryIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        lock.seek(FAR)
        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@cache
def _warn(folder: Path, reason: str) -> None:
    """Once for each folder."""
    log = logging.getLogger(__name__)
    log.warning("%s is not locked (%s): make sure that no other process writes there", folder, reason)


def _in_use(folder: Path, lock: BinaryIO) -> StoreInUse:
    with lock:
        lock.seek(0)
        owner = lock.read().decode(errors="replace") or "unknown"
    return StoreInUse(
        f"another process (number {owner}) is writing to {folder}",
        "wait until it ends, stop it, or choose another folder",
    )


def _cannot_lock(folder: Path, error: OSError) -> CannotLock:
    reason = (error.strerror or str(error)).lower()
    return CannotLock(
        f"{folder / LOCK} cannot be locked: {reason}",
        "choose a folder on a local disk; or, if no other process writes to this one, pass --no-lock "
        f"(or set {NO_LOCK}=1)",
    )
