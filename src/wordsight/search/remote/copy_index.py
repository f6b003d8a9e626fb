"""A local index -> the same items, vectors and model in an index on a server, without reading a picture."""

import sqlite3
from collections.abc import Iterator

import numpy as np

from wordsight.errors import InputError
from wordsight.files.index_folder import MODEL
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import picture_roots
from wordsight.search.index.index import Index, Snapshot
from wordsight.search.index.vector_files import Packed, Place
from wordsight.search.places import ServerAddress, server_index
from wordsight.search.remote.batch_rows import ItemRow, PictureRow
from wordsight.search.remote.server_index import ServerIndex

CONTENTS_PER_BATCH = 500
_CONTENTS = """SELECT key, content, width, height, checksum, {photo}, segment, place, start, count
FROM contents c WHERE key > ? AND EXISTS (SELECT 1 FROM items i WHERE i.content = c.key)
ORDER BY key LIMIT ?"""
_ITEMS = """SELECT c.content, i.path, i.part, i.bytes, i.changed, i.beside_changed, i.shown, i.beside, i.told
FROM items i JOIN contents c ON c.key = i.content WHERE c.key BETWEEN ? AND ? ORDER BY i.id"""


def copy_index(
    local: Index,
    url: ServerAddress,
    shards: int = 0,
    progress: Progress = silent,
    trust_remote_code: bool = False,
) -> ServerIndex:
    """Copy an index to a server; may be repeated after an interruption, and goes on from there.

    Items get ids of the server. Raises InputError if the server's index has another model.
    """
    model = local.folder / MODEL
    kind = server_index(url)
    if kind.is_there(url):
        target = kind.open(url, trust_remote_code)
    else:
        target = kind.create(url, model, local.kind, shards, trust_remote_code)
    if target.kind != local.kind:
        raise InputError(f"{url} is an index of {target.kind}; {local.name} one of {local.kind}")
    target.check_model(model)
    with local.snapshot() as snapshot:
        total, done = len(snapshot), 0
        for pictures, packed, items in _batches(snapshot):
            target.facts.write(pictures, packed, items, [])
            done += len(items)
            progress("items", done, total)
    picture_roots.remember(target.folder, picture_roots.remembered(local.folder))
    return target


def _batches(snapshot: Snapshot) -> Iterator[tuple[list[PictureRow], list[Packed], list[ItemRow]]]:
    facts = snapshot.connection
    query, last = _CONTENTS.format(photo=snapshot.photo_columns), 0
    while rows := facts.execute(query, (last, CONTENTS_PER_BATCH)).fetchall():
        pictures, packed = [], []
        for _, content, width, height, checksum, taken, camera, north, east, *place in rows:
            where = Place(*place)
            said = (taken, camera, north, east)
            pictures.append(PictureRow(content, where.count, width, height, checksum, *said))
            packed.append(_packed(snapshot, where))
        yield pictures, packed, _items(facts, rows[0][0], rows[-1][0])
        last = rows[-1][0]


def _items(facts: sqlite3.Connection, first: int, last: int) -> list[ItemRow]:
    return [ItemRow(None, *row) for row in facts.execute(_ITEMS, (first, last))]


def _packed(snapshot: Snapshot, place: Place) -> Packed:
    """The vectors in float16, with their boxes."""
    segment, cut = snapshot.segment(place.segment), slice(place.start, place.start + place.count)
    unknown = np.full((place.count, 4), -1, "<f2")
    boxes = unknown if segment.boxes is None else np.asarray(segment.boxes[cut])
    return Packed({"vectors": segment.vectors(cut).numpy().astype("<f2"), "boxes": boxes}, [place.count])
