"""The rules of Windows for open files: what this process has open or mapped is neither deleted nor replaced.

Linux knows which files those are (/proc/self/fd, /proc/self/maps), so real files, maps and SQLite are used.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REFUSED = "The process cannot access the file because it is being used by another process"


def open_files() -> set[str]:
    """Real paths of the files that this process has open or mapped."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(descriptor))
        except OSError:
            continue
    for line in Path("/proc/self/maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        found |= {parts[5]} if len(parts) == 6 and parts[5].startswith("/") else set()
    return found


def refuse_if_open(path: Any) -> None:
    """Raise PermissionError if a file, or a file anywhere in a folder, is open."""
    real = os.path.realpath(os.fsdecode(path))
    taken = [one for one in open_files() if one == real or one.startswith(real + os.sep)]
    if taken:
        raise PermissionError(errno.EACCES, REFUSED, taken[0])


@contextmanager
def rules_of_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Refuse as Windows does; yields the names of the refused files."""
    refused: list[str] = []
    from wordsight.files import append, atomic

    def guarded(name: str, paths: int) -> None:
        real = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:
            try:
                for path in arguments[:paths]:
                    if "dir_fd" not in more or more["dir_fd"] is None:
                        refuse_if_open(path)
            except PermissionError as error:
                refused.append(os.path.basename(str(error.filename)))
                raise
            return real(*arguments, **more)

        monkeypatch.setattr(os, name, call)

    for name, paths in [("unlink", 1), ("remove", 1), ("replace", 2), ("rename", 2)]:
        guarded(name, paths)
    truncate = append.AppendFile._cut

    class Cut:
        """A file whose shortening is refused while it is mapped."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def truncate(self, size: int) -> None:
            maps = Path("/proc/self/maps").read_text()
            if os.fstat(self.file.fileno()).st_size > size and os.path.realpath(self.file.name) in maps:
                refused.append(os.path.basename(self.file.name))
                raise OSError(errno.EINVAL, REFUSED)
            self.file.truncate(size)

    def cut(self: append.AppendFile, size: int) -> None:
        file, self.file = self.file, Cut(self.file)  # type: ignore[assignment]
        try:
            truncate(self, size)
        finally:
            self.file = file

    monkeypatch.setattr(append.AppendFile, "_cut", cut)
    monkeypatch.setattr(atomic, "sys", SimpleNamespace(platform="win32"))
    assert sys.platform != "win32"
    yield refused
