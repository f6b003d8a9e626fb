"""Bytes -> a file that grows at its end, kept or dropped as a whole."""

import os
from pathlib import Path
from typing import BinaryIO

from wordsight.files.contained import inside


class AppendFile:
    """A file that grows at its end; what has been added is kept or dropped."""

    def __init__(self, path: Path, size: int) -> None:
        inside(path.parent, path.name)  # or a link in a folder of others would be written through
        self.file: BinaryIO = path.open("r+b" if path.is_file() else "w+b", buffering=0)
        self.size = self.end = size
        self._cut(size)

    def add(self, data: bytes) -> None:
        self.write(self.end, data)
        os.fsync(self.file.fileno())
        self.end += len(data)

    def keep(self) -> None:
        self.size = self.end

    def drop(self) -> None:
        """Cut off what was not kept; this needs no space."""
        self.end = self.size
        self._cut(self.size)

    def _cut(self, size: int) -> None:
        """Shorten the file. Windows refuses while it is mapped: what is beyond stays, and does not count."""
        try:
            self.file.truncate(size)
        except OSError:
            if os.fstat(self.file.fileno()).st_size < size:
                raise

    def write(self, at: int, data: bytes) -> None:
        self.file.seek(at)
        rest = memoryview(data)
        while rest:  # an unbuffered write may stop half-way when the disk is nearly full
            rest = rest[self.file.write(rest) :]
