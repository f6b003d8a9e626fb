"""Files -> a hash of their content, and a cheap stamp that changes when a file does."""

import hashlib
from pathlib import Path

Stamp = tuple[int, int]  # size in bytes, time of the last change in nanoseconds


def content_of(path: Path) -> str:
    """A hash of the file's bytes: the same for a renamed or duplicated picture."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def stamp_of(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
