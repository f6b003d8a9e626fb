"""The paths of an index -> its folders with their numbers of items."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Folder:
    """A folder that ``Filters.folder`` can name."""

    path: str  # absolute
    name: str  # below the root
    items: int


@dataclass(frozen=True)
class Folders:
    """All folders below the common root; those with the most items first."""

    root: str  # "" of an empty index
    below: tuple[Folder, ...]


def folders_of(items_in: Mapping[bytes, int]) -> Folders:
    """Folders with the numbers of items below them; ``items_in``: the number directly in each folder.

    Folders whose name is not valid UTF-8 are left out: no request could name them.
    """
    if not items_in:
        return Folders("", ())
    root = os.path.commonpath(items_in)
    counts: Counter[bytes] = Counter()
    for folder, items in items_in.items():
        while folder != root:
            counts[folder] += items
            folder = os.path.dirname(folder)
    folders = [
        Folder(path, os.path.relpath(path, os.fsdecode(root)), items) for path, items in _texts(counts)
    ]
    folders.sort(key=lambda one: (-one.items, one.name))
    return Folders(root.decode("utf-8", "replace"), tuple(folders))


def _texts(counts: Mapping[bytes, int]) -> list[tuple[str, int]]:
    named = []
    for folder, items in counts.items():
        try:
            named.append((folder.decode(), items))
        except UnicodeDecodeError:
            continue
    return named
