"""Compaction: rows without an item are dropped from the files; ids stay."""

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wordsight.errors import InputError
from wordsight.runtime.progress import Progress
from wordsight.search.index import database
from wordsight.search.index.vector_files import KINDS, Extent, Packed, Place, Segment
from wordsight.search.index.writer import Writer

CONTENTS_PER_COPY = 256  # contents that are copied together


@dataclass(frozen=True)
class Compaction:
    """Result of a compaction."""

    dropped: int  # contents without an item
    freed: int  # bytes


@dataclass(frozen=True)
class _Needed:
    key: int
    checksum: int
    place: Place


def compact(writer: Writer, progress: Progress) -> Compaction:
    """Rewrite one segment after another; a kill leaves each in its old or its new form.

    Raises InputError for a damaged content.
    """
    before = _bytes(writer)
    sparse = writer.facts.execute(_SPARSE).fetchall()
    dropped = 0
    writer.begin_segment()
    for done, row in enumerate(sparse, 1):
        dropped += _rewrite(writer, Extent(*row))
        writer.tidy()  # readers of the old files have them open
        progress("segments", done, len(sparse))
    writer.facts.execute("INSERT INTO words (words) VALUES ('optimize')")
    writer.facts.execute("VACUUM")
    writer.facts.execute("PRAGMA busy_timeout = 200")  # a snapshot may need the log for longer
    writer.facts.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Compaction(dropped, max(0, before - _bytes(writer)))


_SPARSE = """
SELECT s.number, s.vectors, s.contents, s.boxes FROM segments s
LEFT JOIN contents c ON c.segment = s.number AND EXISTS (SELECT 1 FROM items i WHERE i.content = c.key)
GROUP BY s.number HAVING count(c.key) < s.contents ORDER BY s.number
"""
_NEEDED = """
SELECT key, checksum, segment, place, start, count FROM contents c
WHERE segment = ? AND place >= ? AND EXISTS (SELECT 1 FROM items i WHERE i.content = c.key)
ORDER BY place LIMIT ?
"""


def _rewrite(writer: Writer, extent: Extent) -> int:
    segment = Segment(writer.folder, writer.meta.layout, extent)
    with writer.batch():
        for needed in _needed(writer.facts, extent.number):
            places = writer.append(_joined([_whole(writer, segment, one) for one in needed]))
            writer.facts.executemany(
                "UPDATE contents SET segment = ?, place = ?, start = ? WHERE key = ?",
                [(p.segment, p.place, p.start, one.key) for one, p in zip(needed, places, strict=True)],
            )
        gone = writer.facts.execute("DELETE FROM contents WHERE segment = ?", (extent.number,)).rowcount
        writer.facts.execute("DELETE FROM segments WHERE number = ?", (extent.number,))
    return gone


def _needed(connection: sqlite3.Connection, number: int) -> Iterator[list[_Needed]]:
    after = 0
    while rows := connection.execute(_NEEDED, (number, after, CONTENTS_PER_COPY)).fetchall():
        yield [_Needed(key, checksum, Place(*place)) for key, checksum, *place in rows]
        after = rows[-1][3] + 1


def _whole(writer: Writer, segment: Segment, needed: _Needed) -> Packed:
    packed = segment.content(needed.place)
    if zlib.crc32(packed.bytes_of(0, 0)) != needed.checksum:
        raise InputError(
            f"{writer.folder}: vectors in segment {needed.place.segment} are damaged; "
            f"see which: wordsight index --out {writer.folder} --verify"
        )
    return packed


def _joined(contents: list[Packed]) -> Packed:
    kinds = [kind for kind in KINDS if kind in contents[0].rows]
    rows = {kind: np.concatenate([packed.rows[kind] for packed in contents]) for kind in kinds}
    return Packed(rows, [count for packed in contents for count in packed.counts])


def _bytes(writer: Writer) -> int:
    """Size without SQLite's log, which grows during a compaction and is emptied without readers."""
    files = [path for path in writer.folder.iterdir() if path.is_file()]
    return sum(path.stat().st_size for path in files if not path.name.startswith(f"{database.FACTS}-"))
