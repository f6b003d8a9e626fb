"""The paths of an index -> its folders with their numbers of items."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from wordsight.search.index.database import shown


@dataclass(frozen=True)
class Folder:
    """A folder that ``Filters.folder`` can name; bytes that are not UTF-8 are replacement characters."""

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

    Folders of one shown name count as one: a filter cannot tell them apart.
    """
    if not items_in:
        return Folders("", ())
    root = os.path.commonpath(items_in)
    counts: Counter[str] = Counter()
    for folder, items in items_in.items():
        while folder != root:
            counts[shown(folder)] += items
            folder = os.path.dirname(folder)
    top = shown(root)
    folders = [Folder(path, os.path.relpath(path, top), items) for path, items in counts.items()]
    folders.sort(key=lambda one: (-one.items, one.name))
    return Folders(top, tuple(folders))
