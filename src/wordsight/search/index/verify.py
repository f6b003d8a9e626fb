"""Integrity check of an index: every relation between its files."""

import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from wordsight.files.index_folder import MODEL
from wordsight.runtime.progress import Progress
from wordsight.search.index import database, manifest
from wordsight.search.index.manifest import Meta
from wordsight.search.index.region_build import region_problems
from wordsight.search.index.region_lists import RegionLists
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.index.vector_files import Place

MAX_NAMED = 10  # damaged contents that are listed


def problems(folder: Path, meta: Meta, progress: Progress) -> Iterator[str]:
    """One sentence per problem, on one snapshot; writing in between is allowed."""
    yield from _of_model(folder, meta)
    try:
        with database.wrap_errors(folder), Snapshot(folder, meta.layout) as snapshot:
            yield from _of_facts(snapshot.connection)
            yield from _of_items(snapshot)
            yield from _of_segments(snapshot.connection)
            yield from _of_contents(snapshot, progress)
            yield from _of_regions(snapshot)
        with database.wrap_errors(folder):
            yield from _of_words(folder)
    except (ValueError, OSError) as error:
        yield str(error)


def _of_model(folder: Path, meta: Meta) -> Iterator[str]:
    try:
        found = manifest.identity(folder / MODEL)
    except OSError as error:
        yield f"{folder / MODEL} cannot be read ({error})"
        return
    if found != meta.model:
        yield f"{folder / MODEL} is not the model that made the vectors: {found}, expected {meta.model}"


def _of_facts(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"{database.FACTS}: {line}"
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"{database.FACTS}: row {row} of {table} names a missing row of {parent}"


def _of_items(snapshot: Snapshot) -> Iterator[str]:
    counted = database.value(snapshot.connection, "SELECT count(*) FROM items")
    if counted != len(snapshot):
        yield f"{counted} items, but {len(snapshot)} of them have vectors"
    highest = database.value(snapshot.connection, "SELECT seq FROM sqlite_sequence WHERE name = 'items'") or 0
    beyond = database.value(snapshot.connection, "SELECT count(*) FROM items WHERE id > ?", (highest,))
    if beyond:
        yield f"{beyond} items have ids above {highest}, the last assigned id: ids may be assigned twice"


def _of_segments(connection: sqlite3.Connection) -> Iterator[str]:
    """Contents are adjacent, from the first row of a segment to the last committed one."""
    query = "SELECT segment, place, start, count FROM contents ORDER BY segment, place"
    ends: dict[int, tuple[int, int]] = {}
    for segment, place, start, count in connection.execute(query):
        places, vectors = ends.get(segment, (0, 0))
        if place < places or start < vectors:
            yield f"segment {segment}: the content at place {place} overlaps the one before it"
        ends[segment] = (place + 1, start + count)
    for number, vectors, contents in connection.execute("SELECT number, vectors, contents FROM segments"):
        places, end = ends.get(number, (0, 0))
        if places > contents or end > vectors:
            yield f"segment {number} has {contents} contents, but one lies at place {places - 1}"


def _of_contents(snapshot: Snapshot, progress: Progress) -> Iterator[str]:
    """The bytes of every content have their checksum."""
    total = database.value(snapshot.connection, "SELECT count(*) FROM contents")
    damaged = 0
    for done, (content, checksum, place) in enumerate(snapshot.contents(), 1):
        if not _is_whole(snapshot, place, checksum):
            damaged += 1
            if damaged <= MAX_NAMED:
                yield f"the vectors of {_named(snapshot, content)} are damaged (segment {place.segment})"
        progress("checking", done, total)
    if damaged > MAX_NAMED:
        yield f"and those of {damaged - MAX_NAMED} more"


def _of_regions(snapshot: Snapshot) -> Iterator[str]:
    try:
        lists = RegionLists.open(snapshot.folder)
        if lists is not None:
            yield from region_problems(snapshot, lists)
    except (ValueError, OSError) as error:
        yield str(error)


def _is_whole(snapshot: Snapshot, place: Place, checksum: int) -> bool:
    segment = snapshot.segment(place.segment)
    if place.start + place.count > segment.extent.vectors or place.place >= segment.extent.contents:
        return False
    return zlib.crc32(segment.content(place).bytes_of(0, 0)) == checksum


def damaged(snapshot: Snapshot) -> Iterator[str]:
    """Hashes of contents with a wrong checksum."""
    for content, checksum, place in snapshot.contents():
        if not _is_whole(snapshot, place, checksum):
            yield content


def _named(snapshot: Snapshot, content: str) -> str:
    query = "SELECT shown FROM items WHERE content = (SELECT key FROM contents WHERE content = ?)"
    return str(
        database.value(snapshot.connection, query, (content,)) or f"content {content}, which has no item"
    )


def _of_words(folder: Path) -> Iterator[str]:
    """The full-text index agrees with the items."""
    if not os.access(folder, os.W_OK):
        return  # SQLite needs write access for this check
    connection = database.connect(folder, write=True)
    try:
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        yield f"{database.FACTS}: the words of captions and paths are out of step with the items ({error})"
    finally:
        connection.close()
