"""Facts of a server's index below some sources -> a temporary local copy that an update works on.

An update compares folders with an index by SQL on local tables (search/index/sync.py). This writer gives it a
temporary SQLite file with the server's facts below the sources. Each batch is written to the server in one
transaction first, so a killed client loses the current batch at most and the next run goes on from there.
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.atomic import link_folder
from wordsight.files.index_folder import MODEL
from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index import database
from wordsight.search.index.manifest import Meta
from wordsight.search.index.photo_columns import update_photo_facts
from wordsight.search.index.vector_files import Packed, Place
from wordsight.search.remote.batch_rows import ItemRow, PictureRow, ServerFacts

SEGMENT = 1  # of the local places, which only count
_CHANGES = """
CREATE TEMP TABLE changed (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE remote (id INTEGER PRIMARY KEY, remote INTEGER NOT NULL);
CREATE TEMP TRIGGER added AFTER INSERT ON main.items
BEGIN INSERT OR IGNORE INTO changed VALUES (new.id); END;
CREATE TEMP TRIGGER updated AFTER UPDATE ON main.items
BEGIN INSERT OR IGNORE INTO changed VALUES (new.id); END;
CREATE TEMP TRIGGER dropped AFTER DELETE ON main.items
BEGIN INSERT OR IGNORE INTO changed VALUES (old.id); END;
"""
_CHANGED = """
SELECT n.id, r.remote, c.content, i.path, i.part, i.bytes, i.changed, i.beside_changed, i.shown, i.beside,
  i.told
FROM changed n LEFT JOIN items i ON i.id = n.id LEFT JOIN contents c ON c.key = i.content
LEFT JOIN remote r ON r.id = n.id ORDER BY n.id"""
_NEW = """SELECT content, count, width, height, checksum, taken, camera, latitude, longitude
FROM contents WHERE place >= ? ORDER BY place"""


class MirrorWriter:
    """Writer of an update (search/index/writer.py) whose batches go to a server."""

    def __init__(self, server: ServerFacts, meta: Meta, model_folder: Path, sources: Sequence[bytes]) -> None:
        self.server, self.meta = server, meta
        self._temporary = tempfile.TemporaryDirectory(prefix="wordsight-")
        self.folder = Path(self._temporary.name)
        try:
            link_folder(model_folder, self.folder / MODEL)
            database.create(self.folder)
            self.facts = database.connect(self.folder, write=True)
            self.facts.execute("PRAGMA synchronous = OFF")  # it is thrown away
            self.facts.execute(
                "PRAGMA temp_store = FILE"
            )  # as the scan sets it: a change drops temporary tables
            self._places = self._vectors = 0
            self._load(sources)
            self.facts.executescript(_CHANGES)
            self.facts.execute("INSERT INTO remote SELECT id, id FROM items")
        except BaseException:
            self._temporary.cleanup()
            raise
        self._appended: list[Packed] = []
        self._read_facts: list[tuple[str, PhotoFacts]] = []
        self._stored = self._places

    def close(self) -> None:
        self.facts.close()
        self._temporary.cleanup()

    def append(self, packed: Packed) -> list[Place]:
        """Take vectors, to be written with their batch."""
        self._appended.append(packed)
        places = []
        for count in packed.counts:
            places.append(Place(SEGMENT, self._places, self._vectors, count))
            self._places, self._vectors = self._places + 1, self._vectors + count
        return places

    def store_photo_facts(self, facts: Sequence[tuple[str, PhotoFacts]]) -> None:
        """Take what the EXIF of stored contents says, to be written with their batch."""
        update_photo_facts(self.facts, facts)
        self._read_facts += facts

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit everything appended and changed inside, on the server and then in the local copy."""
        try:
            with database.transaction(self.facts):
                yield
                self._push()
        except BaseException:
            self._places, self._appended, self._read_facts = self._stored, [], []
            raise
        self._stored, self._appended, self._read_facts = self._places, [], []

    def _push(self) -> None:
        rows = self.facts.execute(_NEW, (self._stored,)).fetchall() if self._appended else []
        pictures = [PictureRow(*row) for row in rows]
        deleted, items, locals_ = [], [], []
        for id_, remote, content, *fields in self.facts.execute(_CHANGED).fetchall():
            if content is None:
                deleted += [remote] if remote is not None else []
            else:
                items.append(ItemRow(remote, content, *fields))
                locals_.append(id_)
        ids = self.server.write(pictures, self._appended, items, deleted, self._read_facts)
        self.facts.executemany("INSERT OR REPLACE INTO remote VALUES (?, ?)", zip(locals_, ids, strict=True))
        self.facts.execute("DELETE FROM changed")

    def _load(self, sources: Sequence[bytes]) -> None:
        """Copy the server's facts below the sources."""
        self.facts.execute("BEGIN")
        self.facts.execute("INSERT INTO segments VALUES (?, 0, 0, 1)", (SEGMENT,))
        for record in self.server.below(sources):
            self._load_item(*record)
        self.facts.execute("COMMIT")

    def _load_item(self, id_: int, path: bytes, part: str, content: str, *fields: Any) -> None:
        self._load_content(content, *fields[6:])
        key = database.value(self.facts, "SELECT key FROM contents WHERE content = ?", (content,))
        bytes_, changed, sidecar_changed, shown, sidecar, caption = fields[:6]
        values = (id_, bytes(path), part, key, bytes_, changed, sidecar_changed, shown, sidecar, caption)
        with suppress(sqlite3.IntegrityError):  # two writers of one path on Citus: the first counts
            self.facts.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def _load_content(self, content: str, slots: int, *more: Any) -> None:
        values = (content, SEGMENT, self._places, self._vectors, slots, *more)
        added = self.facts.execute(
            "INSERT OR IGNORE INTO contents VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        ).rowcount
        if added:
            self._places, self._vectors = self._places + 1, self._vectors + slots
        if slots < 1:
            raise InputError(f"{self.server.name} is damaged: picture {content} has {slots} vectors")
