"""Facts of items <-> payloads of points, and vectors with their boxes."""

import base64
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np

from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index.database import Item
from wordsight.search.index.near import place_of
from wordsight.search.remote.batch_rows import ItemRow, PictureRow
from wordsight.search.remote.rows import Vectors
from wordsight.search.remote.words import words_in

FACTS = [
    "path", "part", "content", "bytes", "changed", "sidecar_changed", "shown", "sidecar", "caption", "slots",
    "width", "height", "checksum", "taken", "camera", "latitude", "longitude",
]  # fmt: skip
INDEXED = {
    "path": "keyword", "name": "keyword", "folder": "keyword", "content": "keyword", "words": "keyword",
    "date": "float", "bytes": "integer", "camera": "keyword", "place": "geo",
}  # fmt: skip


def path_key(path: bytes) -> str:
    """A path as text; its bytes need not be text."""
    return quote_from_bytes(path, safe="/ .,-_()")


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def payload_of(item: ItemRow, picture: PictureRow, boxes: str) -> dict[str, Any]:
    """Everything that a point says but its vectors."""
    date = item.changed if picture.taken is None else picture.taken
    return {
        "path": path_key(item.path),
        "part": item.part,
        "content": item.content,
        "bytes": item.bytes,
        "changed": item.changed,
        "sidecar_changed": item.sidecar_changed,
        "shown": item.shown,
        "sidecar": item.sidecar,
        "caption": item.caption,
        "slots": picture.slots,
        "width": picture.width,
        "height": picture.height,
        "checksum": picture.checksum,
        **photo_payload(picture),
        "name": composed(item.shown),
        "folder": os.path.dirname(item.shown),
        "words": words_in(f"{item.shown} {item.sidecar} {item.caption}"),
        "date": date / 1e9,
        "boxes": boxes,
    }


def photo_payload(picture: PictureRow | PhotoFacts) -> dict[str, Any]:
    """The EXIF of a picture; ``place`` is in Qdrant's own form, for its filter."""
    place = place_of(picture.latitude, picture.longitude)
    return {
        "taken": picture.taken,
        "camera": picture.camera,
        "latitude": picture.latitude,
        "longitude": picture.longitude,
        "place": None if place is None else {"lat": place[0], "lon": place[1]},
    }


def picture_of(payload: dict[str, Any]) -> PictureRow:
    facts: dict[str, Any] = {field.name: payload.get(field.name) for field in fields(PictureRow)}
    return PictureRow(**facts)  # an older index has no cameras


def record_of(id_: int, payload: dict[str, Any]) -> tuple[Any, ...]:
    """Facts of an item as an update wants them."""
    path, *others = FACTS
    return (id_, unquote_to_bytes(payload[path]), *(payload.get(field) for field in others))


def item_of(id_: int, payload: dict[str, Any]) -> Item:
    text = "\n".join(text for text in (payload["sidecar"], payload["caption"]) if text)
    taken = payload["taken"]
    return Item(
        id_,
        os.fsdecode(unquote_to_bytes(payload["path"])),
        payload["content"],
        payload["bytes"],
        payload["changed"] / 1e9,
        payload["width"],
        payload["height"],
        text,
        None if taken is None else taken / 1e9,
        payload.get("camera") or "",
        place_of(payload.get("latitude"), payload.get("longitude")),
    )


def boxes_text(boxes: np.ndarray | None) -> str:
    return "" if boxes is None else base64.b64encode(np.asarray(boxes, "<f2").tobytes()).decode()


def vectors_of(vector: Any, boxes: str) -> Vectors:
    """Vectors and boxes of a point in float16; -1 where a box is not known."""
    vectors = np.asarray(vector, np.float32).astype("<f2")
    if not boxes:
        return vectors, np.full((len(vectors), 4), -1, "<f2")
    return vectors, np.frombuffer(base64.b64decode(boxes), "<f2").reshape(-1, 4)


def as_lists(vectors: np.ndarray) -> Sequence[Sequence[float]]:
    found: list[list[float]] = vectors.astype(np.float32).tolist()
    return found
