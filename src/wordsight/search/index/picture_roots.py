"""Folders whose pictures may be opened: those that this user indexed or named.

An index is data and may come from somebody else, with paths to any picture of this machine. So
``wordsight index`` records the folders that it read outside the index, in the user's cache; files elsewhere
are opened only after the user names their folder.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file
from wordsight.files.index_folder import META
from wordsight.files.user_cache import cache_folder


class OutsideRootsError(InputError):
    """A file of an index outside all folders that this user indexed or named."""


@dataclass(frozen=True)
class PictureRoots:
    """The folders below which the pictures of an index may be opened.

    ``named``: by the user, for this call. Indexed folders are read whenever a path is resolved, so that newly
    indexed ones count at once.
    """

    index_folder: Path
    named: tuple[Path, ...] = ()

    def all(self) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(root)) for root in self.named) + remembered(self.index_folder)

    def resolve(self, path: str) -> Path:
        """The file behind all links; it need not exist. Raises OutsideRootsError."""
        resolved = _real(path)
        if resolved is None or not any(_is_below(resolved, root) for root in self.all()):
            raise OutsideRootsError(
                f"{path} is in none of the folders that you indexed into {self.index_folder}",
                "if you trust this index, name the folder of its pictures: --root FOLDER",
            )
        return resolved


def remember(index_folder: Path, sources: Sequence[Path]) -> None:
    """Record that this user indexed these folders into this index.

    Raises OSError or RuntimeError if the user's cache folder cannot be written.
    """
    roots = {str(root) for root in remembered(index_folder)} | {os.path.realpath(one) for one in sources}
    record = {
        "index": os.path.realpath(index_folder),
        "stamp": _stamp(index_folder),
        "roots": sorted(roots),
    }
    with atomic_file(_record_file(index_folder)) as file:
        file.write(json.dumps(record, indent=1).encode("ascii"))  # invalid UTF-8 is escaped


def remembered(index_folder: Path) -> tuple[Path, ...]:
    """The recorded folders of this index; none if another index took its place."""
    try:
        record: Any = json.loads(_record_file(index_folder).read_bytes())
        if record["stamp"] != _stamp(index_folder):
            return ()
        return tuple(Path(root) for root in record["roots"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return ()


def _record_file(index_folder: Path) -> Path:
    name = hashlib.blake2b(os.fsencode(os.path.realpath(index_folder)), digest_size=10).hexdigest()
    return cache_folder() / "roots" / f"{name}.json"


def _stamp(index_folder: Path) -> str:
    """Identity of an index: its time of creation and its model.

    It survives restarts, other mounts and backups, unlike the number of a file or of its disk.
    """
    description = Path(index_folder) / META
    content = hashlib.blake2b(description.read_bytes(), digest_size=10).hexdigest()
    return f"{description.stat().st_mtime_ns}-{content}"


def _real(path: str) -> Path | None:
    """The real path; None for a relative path or one with a null character."""
    if not os.path.isabs(path) or "\0" in path:
        return None
    return Path(os.path.realpath(path))


def _is_below(path: Path, root: Path) -> bool:
    """Whether a path is the root (a single picture) or below it."""
    place, top = (Path(os.path.normcase(one)) for one in (path, root))
    return place.is_relative_to(top)
