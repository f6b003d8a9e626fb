"""Append contents to an index: vectors to the files, then the commit in the database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wordsight.files.atomic import remove_unless_open, sync_folder
from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index import database
from wordsight.search.index.manifest import Meta
from wordsight.search.index.photo_columns import update_photo_facts
from wordsight.search.index.vector_files import Extent, Packed, Place, SegmentWriter, numbered


class Writer:
    """Database and open segment of an index; the caller holds the lock."""

    def __init__(self, folder: Path, meta: Meta) -> None:
        self.folder, self.meta = folder, meta
        self.facts = database.connect(folder, write=True)
        self._segment: SegmentWriter | None = None
        self._reopen = True  # whether to append to the last segment

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
        self.facts.close()

    def append(self, packed: Packed) -> list[Place]:
        """Write vectors to disk, inside a transaction whose commit makes them count."""
        segment = self._open(packed.placed)
        places = segment.add(packed)
        extent = segment.extent
        self.facts.execute(
            "UPDATE segments SET vectors = ?, contents = ? WHERE number = ?",
            (extent.vectors, extent.contents, extent.number),
        )
        return places

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit everything appended and changed inside if the block succeeds."""
        try:
            with database.transaction(self.facts):
                yield
        except BaseException:
            self._drop()
            raise
        if self._segment is not None:
            self._segment.keep()

    def store_photo_facts(self, facts: Sequence[tuple[str, PhotoFacts]]) -> None:
        """Write what the EXIF of stored contents says, by their hashes, inside a transaction."""
        update_photo_facts(self.facts, facts)

    def begin_segment(self) -> None:
        """Append to new files from now on."""
        if self._segment is not None:
            self._segment.close()
        self._segment = None
        self._reopen = False

    def drop_content(self, content: str) -> int:
        """Delete a content and its items; returns the number of items."""
        of_it = "content = (SELECT key FROM contents WHERE content = ?)"
        dropped = self.facts.execute(f"DELETE FROM items WHERE {of_it}", (content,)).rowcount
        self.facts.execute("DELETE FROM contents WHERE content = ?", (content,))
        return dropped

    def tidy(self) -> None:
        """Remove files without a row in the database: of a dead process or a compaction.

        One that a reader has open stays on Windows, for the next writer.
        """
        known = {number for (number,) in self.facts.execute("SELECT number FROM segments")}
        for number, path in list(numbered(self.folder)):
            if number not in known:
                remove_unless_open(path)

    def _drop(self) -> None:
        """Drop the additions of a failed transaction."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.drop()
            segment.close()

    def _open(self, placed: int) -> SegmentWriter:
        if self._segment is None:
            self._segment = self._last(placed) if self._reopen else None
        elif self._segment.full or self._segment.extent.placed != placed:
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = self._begin(placed)
        return self._segment

    def _last(self, placed: int) -> SegmentWriter | None:
        query = "SELECT number, vectors, contents, boxes FROM segments ORDER BY number DESC LIMIT 1"
        row = self.facts.execute(query).fetchone()
        if row is None or row[3] != placed:
            return None
        segment = SegmentWriter(self.folder, self.meta.layout, Extent(*row))
        if not segment.full:
            return segment
        segment.close()
        return None

    def _begin(self, placed: int) -> SegmentWriter:
        number = self.facts.execute("INSERT INTO segments VALUES (NULL, 0, 0, ?)", (placed,)).lastrowid
        segment = SegmentWriter(self.folder, self.meta.layout, Extent(int(number or 0), placed=placed))
        sync_folder(self.folder)
        self._reopen = True
        return segment
