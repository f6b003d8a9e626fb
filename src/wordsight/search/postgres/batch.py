"""One batch of an update -> one transaction on the server.

The row of ``state`` is locked first: batches of several writers follow each other, readers wait for none.
What takes long, reading and encoding pictures, is done before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.errors import InputError
from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index.vector_files import Packed
from wordsight.search.postgres.halfvec import regions_to_copy
from wordsight.search.postgres.server import Server
from wordsight.search.remote.batch_rows import ItemRow, PictureRow, adopt_ids, checksum
from wordsight.search.remote.words import joined

if TYPE_CHECKING:
    from psycopg import Connection

_BEGIN = "UPDATE state SET generation = generation + 1"
_PICTURES = """INSERT INTO picture
SELECT * FROM unnest(%s::uuid[], %s::integer[], %s::integer[], %s::integer[], %s::bigint[], %s::bigint[],
  %s::text[], %s::integer[], %s::integer[])
ON CONFLICT DO NOTHING RETURNING picture"""
_REGIONS = "COPY region (picture, slot, vector, box) FROM STDIN (FORMAT BINARY)"
_STORED = """SELECT i.id, i.path, i.part FROM item i
JOIN unnest(%s::bytea[], %s::text[]) AS n(path, part) ON i.path = n.path AND i.part = n.part"""
_IDS = "SELECT nextval('item_id') FROM generate_series(1, %s)"
_FORGET = "DELETE FROM item WHERE id = ANY(%s::bigint[]) RETURNING picture"
_SAME_PATHS = """DELETE FROM item i USING unnest(%s::bytea[], %s::text[]) AS n(path, part)
WHERE i.path = n.path AND i.part = n.part RETURNING i.picture"""
_ITEMS = """INSERT INTO item
SELECT n.id, n.picture, n.path, n.part, n.bytes, n.changed, n.sidecar_changed, n.shown, n.sidecar, n.caption,
  coalesce(p.taken, n.changed), string_to_array(n.words, ' ')
FROM unnest(%s::bigint[], %s::uuid[], %s::bytea[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
  %s::text[], %s::text[], %s::text[], %s::text[])
  AS n(id, picture, path, part, bytes, changed, sidecar_changed, shown, sidecar, caption, words)
JOIN picture p USING (picture)"""
_FACTS = """UPDATE picture p
SET taken = coalesce(n.taken, p.taken), camera = n.camera, latitude = n.latitude, longitude = n.longitude
FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::integer[], %s::integer[])
  AS n(picture, taken, camera, latitude, longitude)
WHERE p.picture = n.picture"""
_DATES = """UPDATE item i SET date = coalesce(p.taken, i.changed) FROM picture p
WHERE p.picture = i.picture AND i.picture = ANY(%s::uuid[])"""
_ORPHANS = """DELETE FROM {table} t WHERE t.picture = ANY(%s::uuid[])
AND NOT EXISTS (SELECT 1 FROM item i WHERE i.picture = t.picture)"""


def write_batch(
    server: Server,
    pictures: Sequence[PictureRow],
    packed: Sequence[Packed],
    items: Sequence[ItemRow],
    deleted: Sequence[int],
    facts: Sequence[tuple[str, PhotoFacts]] = (),
) -> list[int]:
    """Commit a batch; returns the id of each item. ``facts``: of pictures that were stored without.

    Raises InputError if another writer removed a picture.
    """
    with server.transaction() as connection:
        connection.execute(_BEGIN)
        if pictures:
            _write_pictures(connection, pictures, packed)
        if facts:
            _write_facts(connection, facts)
        paths, parts = [item.path for item in items], [item.part for item in items]
        stored = connection.execute(_STORED, (paths, parts)).fetchall()
        items = adopt_ids(items, [(id_, (bytes(path), part)) for id_, path, part in stored], deleted)
        before = [item.id for item in items if item.id is not None]
        gone = connection.execute(_FORGET, ([*deleted, *before],)).fetchall()
        gone += connection.execute(_SAME_PATHS, (paths, parts)).fetchall()
        ids = _write_items(connection, items) if items else []
        if gone:
            orphans = ([str(picture) for (picture,) in gone],)
            for table in ("region", "picture"):  # no search shall retrieve them
                connection.execute(_ORPHANS.format(table=table), orphans)
        if len(ids) < len(items):
            raise InputError(
                f"another process deleted pictures from {server.url} while copies of them were indexed",
                "run the same command again",
            )
    return ids


def _write_facts(connection: "Connection[Any]", facts: Sequence[tuple[str, PhotoFacts]]) -> None:
    columns = list(zip(*((content, *astuple(one)) for content, one in facts), strict=True))
    connection.execute(_FACTS, [list(column) for column in columns])
    connection.execute(_DATES, (list(columns[0]),))


def _write_items(connection: "Connection[Any]", items: Sequence[ItemRow]) -> list[int]:
    """Insert items whose content is there; returns no id if one is missing."""
    fresh = sum(item.id is None for item in items)
    new = iter([id_ for (id_,) in connection.execute(_IDS, (fresh,)).fetchall()])
    ids = [next(new) if item.id is None else item.id for item in items]
    words = [joined((one.shown, one.sidecar, one.caption)) for one in items]
    columns = list(zip(*(astuple(item)[1:] for item in items), strict=True))
    inserted = connection.execute(_ITEMS, (ids, *map(list, columns), words)).rowcount
    return ids if inserted == len(items) else []


def _write_pictures(
    connection: "Connection[Any]", pictures: Sequence[PictureRow], packed: Sequence[Packed]
) -> None:
    """Insert contents that no other writer has stored meanwhile, with their regions."""
    pictures = [replace(one, checksum=its) for one, its in zip(pictures, _checksums(packed), strict=True)]
    columns = [list(column) for column in zip(*map(astuple, pictures), strict=True)]
    new = {picture.hex for (picture,) in connection.execute(_PICTURES, columns).fetchall()}
    keep = np.repeat([one.content in new for one in pictures], [one.slots for one in pictures])
    if not new:
        return
    rows = {
        kind: np.concatenate([one.rows[kind] for one in packed])[keep]
        for kind in ("vectors", "boxes") if kind in packed[0].rows
    }  # fmt: skip
    stored = [one for one in pictures if one.content in new]
    data = regions_to_copy(
        [one.content for one in stored], [one.slots for one in stored], rows["vectors"], rows.get("boxes")
    )
    with connection.cursor().copy(_REGIONS) as copy:
        copy.write(data)


def _checksums(packed: Sequence[Packed]) -> Iterator[int]:
    """Checksum of each content, from the numbers as they are read back."""
    for one in packed:
        start = 0
        for count in one.counts:
            cut = slice(start, start + count)
            yield checksum(one.rows["vectors"][cut], one.rows["boxes"][cut] if one.boxes else None)
            start += count
