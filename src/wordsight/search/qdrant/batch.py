"""One batch of an update -> points of Qdrant.

A point is an item with its vectors, written at once, so a batch that is interrupted leaves whole items, and
the next update goes on. Copies of one picture hold its vectors once each.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np

from wordsight.errors import InputError
from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index.vector_files import Packed
from wordsight.search.qdrant.conditions import equal, one_of
from wordsight.search.qdrant.points import (
    as_lists,
    boxes_text,
    path_key,
    payload_of,
    photo_payload,
    picture_of,
)
from wordsight.search.qdrant.store import GENERATION, Store
from wordsight.search.remote.batch_rows import ItemRow, PictureRow, adopt_ids, checksum

if TYPE_CHECKING:
    from qdrant_client import models

NUMBERS_PER_REQUEST = 500_000  # about 10 MB of JSON; a server takes 32
BEGAN = 1_700_000_000  # seconds since 1970; ids count from there
RANDOM_BITS = 23  # of an id, below its seconds; 53 in all, which JavaScript holds


@dataclass(frozen=True, eq=False)
class Content:
    """The vectors of a content, with its facts."""

    picture: PictureRow
    vectors: Any  # of Qdrant: lists of numbers
    boxes: str


def write_batch(
    store: Store,
    pictures: Sequence[PictureRow],
    packed: Sequence[Packed],
    items: Sequence[ItemRow],
    deleted: Sequence[int],
    facts: Sequence[tuple[str, PhotoFacts]] = (),
) -> list[int]:
    """Store a batch; returns the id of each item. ``facts``: of pictures that were stored without.

    Raises InputError if another writer removed a picture.
    """
    from qdrant_client import models

    contents = _contents(pictures, packed)
    at_paths = _at_paths(store, items)
    items = adopt_ids(items, at_paths.items(), deleted)
    with store.client() as client:
        before = {
            int(one.id): one.payload or {}
            for one in client.retrieve(store.items, [one.id for one in items if one.id is not None])
        }
        _add_stored(store, items, before, contents)
        ids = _ids(store, items)
        points = []
        for id_, item in zip(ids, items, strict=True):
            if item.content in contents:
                its = contents[item.content]
                payload = payload_of(item, its.picture, its.boxes)
                points.append(models.PointStruct(id=id_, vector=its.vectors, payload=payload))
            elif before.get(id_, {}).get("content") == item.content:
                payload = payload_of(item, picture_of(before[id_]), before[id_]["boxes"])
                client.overwrite_payload(store.items, payload, points=[id_], wait=True)
            else:
                raise InputError(
                    f"another process deleted pictures from {store.url} while copies of them were indexed",
                    "run the same command again",
                )
        for some in _requests(points):
            client.upsert(store.items, some, wait=True)
        gone = [*deleted, *(set(at_paths) - set(ids))]  # of a file that took their place
        if gone:
            client.delete(store.items, models.PointIdsList(points=list(gone)), wait=True)
        if facts:
            client.batch_update_points(store.items, list(map(_stored_facts, facts)), wait=True)
    store.write_note(GENERATION, random.getrandbits(53))
    return ids


def _stored_facts(facts: tuple[str, PhotoFacts]) -> "models.SetPayloadOperation":
    """The request that stores the EXIF of a content; a known date stays where none is given."""
    from qdrant_client import models

    content, said = facts
    payload = photo_payload(said)
    if said.taken is None:
        del payload["taken"]
    else:
        payload["date"] = said.taken / 1e9
    with_content = models.Filter(must=[equal("content", content)])
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, filter=with_content))


def _contents(pictures: Sequence[PictureRow], packed: Sequence[Packed]) -> dict[str, Content]:
    """New contents, by hash."""
    rows = (
        {kind: np.concatenate([one.rows[kind] for one in packed]) for kind in packed[0].rows}
        if packed
        else {}
    )
    found, start = {}, 0
    for picture in pictures:
        cut = slice(start, start + picture.slots)
        vectors, boxes = rows["vectors"][cut], rows["boxes"][cut] if "boxes" in rows else None
        stored = replace(picture, checksum=checksum(vectors, boxes))
        found[picture.content] = Content(stored, as_lists(vectors), boxes_text(boxes))
        start = cut.stop
    return found


def _add_stored(
    store: Store, items: Sequence[ItemRow], before: dict[int, dict[str, Any]], contents: dict[str, Content]
) -> None:
    """Add contents that other items have and these items need."""
    from qdrant_client import models

    needed = {
        item.content
        for item in items
        if item.content not in contents
        and (item.id is None or before.get(item.id, {}).get("content") != item.content)
    }
    if needed:
        condition = models.Filter(must=[one_of("content", sorted(needed))])
        for point in store.points(condition, payload=True, vectors=True):
            payload = point.payload or {}
            if payload["content"] in needed:
                needed.remove(payload["content"])
                its = Content(picture_of(payload), point.vector, payload["boxes"])
                contents[payload["content"]] = its
            if not needed:
                return


def _ids(store: Store, items: Sequence[ItemRow]) -> list[int]:
    """The id of each item; new ones ascend with time and differ from all that are stored."""
    count = sum(item.id is None for item in items)
    with store.client() as client:
        while True:
            first = int(time.time() - BEGAN) << RANDOM_BITS | random.getrandbits(RANDOM_BITS)
            fresh = range(first, first + count)
            if not client.retrieve(store.items, list(fresh), with_payload=False):
                break
    new = iter(fresh)
    return [next(new) if item.id is None else item.id for item in items]


def _requests(points: Sequence["models.PointStruct"]) -> Any:
    """Points in requests that a server accepts."""
    some: list[models.PointStruct] = []
    numbers = 0
    for point in points:
        size = sum(map(len, point.vector))
        if some and numbers + size > NUMBERS_PER_REQUEST:
            yield some
            some, numbers = [], 0
        some.append(point)
        numbers += size
    if some:
        yield some


def _at_paths(store: Store, items: Sequence[ItemRow]) -> dict[int, tuple[bytes, str]]:
    """The items that are stored at the paths of these: path and part by id."""
    from qdrant_client import models

    if not items:
        return {}
    where = {(item.path, item.part) for item in items}
    condition = models.Filter(must=[one_of("path", sorted({path_key(path) for path, _ in where}))])
    found = {
        int(point.id): (unquote_to_bytes(point.payload["path"]), point.payload["part"])
        for point in store.points(condition, payload=["path", "part"])
        if point.payload
    }
    return {id_: place for id_, place in found.items() if place in where}
