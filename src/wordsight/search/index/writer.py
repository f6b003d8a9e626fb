"""Packed contents -> the end of an index: vectors to the files, then the facts that make them count."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wordsight.files.atomic import sync_folder
from wordsight.search.index import database
from wordsight.search.index.manifest import Meta
from wordsight.search.index.vector_files import Extent, Packed, Place, SegmentWriter, numbered


class Writer:
    """The facts and the open segment of an index; its user holds the lock."""

    def __init__(self, folder: Path, meta: Meta) -> None:
        self.folder, self.meta = folder, meta
        self.facts = database.connect(folder, write=True)
        self._segment: SegmentWriter | None = None
        self._reopen = True  # whether the last segment goes on

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
        self.facts.close()

    def append(self, packed: Packed) -> list[Place]:
        """Vectors to the disk; inside a transaction, which makes them count."""
        segment = self._open(packed.boxes)
        places = segment.add(packed)
        extent = segment.extent
        self.facts.execute(
            "UPDATE segments SET vectors = ?, contents = ? WHERE number = ?",
            (extent.vectors, extent.contents, extent.number),
        )
        return places

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit everything appended and changed inside when the block ends without an error."""
        try:
            with database.transaction(self.facts):
                yield
        except BaseException:
            self._drop()
            raise
        if self._segment is not None:
            self._segment.keep()

    def begin_segment(self) -> None:
        """Append to new files from here on."""
        if self._segment is not None:
            self._segment.close()
        self._segment = None
        self._reopen = False

    def drop_content(self, content: str) -> int:
        """Forget a content and its items; returns how many there were."""
        of_it = "content = (SELECT key FROM contents WHERE content = ?)"
        dropped = self.facts.execute(f"DELETE FROM items WHERE {of_it}", (content,)).rowcount
        self.facts.execute("DELETE FROM contents WHERE content = ?", (content,))
        return dropped

    def tidy(self) -> None:
        """Remove files that no fact names: of a process that died, or of a compaction."""
        known = {number for (number,) in self.facts.execute("SELECT number FROM segments")}
        for number, path in list(numbered(self.folder)):
            if number not in known:
                path.unlink()

    def _drop(self) -> None:
        """A segment begun in a transaction that failed is forgotten."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.drop()
            segment.close()

    def _open(self, boxes: bool) -> SegmentWriter:
        if self._segment is None:
            self._segment = self._last(boxes) if self._reopen else None
        elif self._segment.full or self._segment.extent.boxes != boxes:
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = self._begin(boxes)
        return self._segment

    def _last(self, boxes: bool) -> SegmentWriter | None:
        query = "SELECT number, vectors, contents, boxes FROM segments ORDER BY number DESC LIMIT 1"
        row = self.facts.execute(query).fetchone()
        if row is None or bool(row[3]) != boxes:
            return None
        segment = SegmentWriter(self.folder, self.meta.layout, Extent(row[0], row[1], row[2], bool(row[3])))
        if not segment.full:
            return segment
        segment.close()
        return None

    def _begin(self, boxes: bool) -> SegmentWriter:
        number = self.facts.execute("INSERT INTO segments VALUES (NULL, 0, 0, ?)", (int(boxes),)).lastrowid
        segment = SegmentWriter(self.folder, self.meta.layout, Extent(int(number or 0), boxes=boxes))
        sync_folder(self.folder)
        self._reopen = True
        return segment
