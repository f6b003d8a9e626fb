"""Rows of a batch that an update writes to a server, and the interface of what takes them."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index.vector_files import Packed


@dataclass(frozen=True)
class PictureRow:
    """A new content."""

    content: str
    slots: int
    width: int
    height: int
    checksum: int  # is made anew from what the server stores
    taken: int | None
    camera: str | None = None
    latitude: int | None = None
    longitude: int | None = None


@dataclass(frozen=True)
class ItemRow:
    """A file or text that is new or changed; ``id`` is None for a new one."""

    id: int | None
    content: str
    path: bytes
    part: str
    bytes: int
    changed: int
    sidecar_changed: int
    shown: str
    sidecar: str
    caption: str


def adopt_ids(
    items: Sequence[ItemRow], stored: Iterable[tuple[int, tuple[bytes, str]]], deleted: Sequence[int]
) -> list[ItemRow]:
    """Give new items the ids that another writer has stored at their paths; ``stored``: id, path and part.

    A reader that has found such an item still finds it.
    """
    taken = {item.id for item in items} | set(deleted)
    at = {where: id_ for id_, where in sorted(stored, reverse=True) if id_ not in taken}
    return [replace(item, id=at.get((item.path, item.part))) if item.id is None else item for item in items]


class ServerFacts(Protocol):
    """Facts of the items on a server; ``name`` is what messages call the index."""

    name: str

    def below(self, sources: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        """Facts of the items at and below these paths: id, path, part, content, bytes, changed,
        sidecar_changed, shown, sidecar, caption, slots, width, height, checksum, taken, camera,
        latitude, longitude."""

    def write(
        self,
        pictures: Sequence[PictureRow],
        packed: Sequence[Packed],
        items: Sequence[ItemRow],
        deleted: Sequence[int],
        facts: Sequence[tuple[str, PhotoFacts]] = (),
    ) -> list[int]:
        """Commit a batch; returns the id of each item. ``facts``: of pictures that were stored without."""


def checksum(vectors: np.ndarray, boxes: np.ndarray | None) -> int:
    """Checksum of a picture's vectors and boxes; -1 stands for a side that is not known."""
    known = np.full((len(vectors), 4), -1) if boxes is None else boxes
    return zlib.crc32(np.asarray(vectors, "<f2").tobytes() + np.asarray(known, "<f2").tobytes())
