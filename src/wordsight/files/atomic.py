"""Files and folders that appear under their names whole, or not at all."""

import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from wordsight.files.lock import StoreInUse

_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_REPLACE_SECONDS = 2.0  # how long Windows may refuse to replace a file that somebody is reading
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends well, and leaves nothing behind otherwise.

    A full disk is an OSError that names the file: those of a write alone do not.
    """
    with removed_on_failure(path.parent, keep=lambda: True):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.chmod(temporary, 0o644)
            _replace(Path(temporary), path)
        except BaseException as error:
            Path(temporary).unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
                reason = (
                    f"{error.strerror} while it was written; it was left as before: make room, run it again"
                )
                raise OSError(error.errno, reason, str(path)) from error
            raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``folder`` when the block ends without an error.

    At every moment one whole folder exists: the old one is moved aside before the new one takes its name,
    and ``recover`` puts it back if the process died in between.
    """
    folder = Path(folder)
    with removed_on_failure(folder.parent, keep=lambda: True):
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield fresh
            _to_disk(fresh)
            fresh.chmod(0o755)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    old = _aside(folder)
    try:
        if folder.exists():
            _replace(folder, old)
        _replace(fresh, folder)
    except BaseException:
        recover(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def removed_on_failure(folder: Path, keep: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """If the block fails, the folder that it made goes again, and the empty ones that it made above it.

    A folder that was there before the block stays, and so does one that another process writes to, or that
    holds work worth going on with, as ``keep`` says.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except StoreInUse:
        raise
    except BaseException:
        if folder in new and not keep():
            shutil.rmtree(folder, ignore_errors=True)
        for path in new:
            with suppress(OSError):  # it holds something, or was never made
                path.rmdir()
        raise


def recover(folder: Path) -> None:
    """Undo a replacement that a dying process left half done, and clear its unfinished copies."""
    old = _aside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    for unfinished in folder.parent.glob(f".{folder.name}.????????"):
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_unless_open(path: Path) -> bool:
    """Delete a file that is no longer needed; False where Windows refuses, because a process has it open."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False
    return True


def _replace(source: Path, target: Path) -> None:
    """Rename, also over a file. Windows refuses while the target is open: there it is tried for a while."""
    stop = time.monotonic() + _REPLACE_SECONDS
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not _refuses_open_files() or time.monotonic() > stop:
                raise
        time.sleep(0.02)


def _refuses_open_files() -> bool:
    return sys.platform == "win32"


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """A hard link takes no space; another disk, or a system without links, gets a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_folder(source: Path, target: Path) -> None:
    """A symbolic link to a folder; where none may be made, as on Windows, a folder of links to its files."""
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        shutil.copytree(source, target, copy_function=link_or_copy)


def _aside(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.previous"


def sync_folder(folder: Path) -> None:
    """Flush the names of new files to the disk; Windows, and some network disks, cannot and need not."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def _to_disk(folder: Path) -> None:
    mode = "r+b" if sys.platform == "win32" else "rb"  # Windows flushes only files that are open for writing
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open(mode) as file:
                os.fsync(file.fileno())
    sync_folder(folder)
