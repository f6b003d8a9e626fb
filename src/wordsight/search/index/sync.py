"""Synchronize an index with the files on disk, in whole batches: added, changed, renamed, deleted."""

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from wordsight.files.fingerprint import content_of, stamp_of
from wordsight.matcher import Matcher
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.read.pictures.photo_facts import NO_FACTS, photo_facts
from wordsight.runtime.prefetch import prefetch
from wordsight.runtime.progress import Progress
from wordsight.search.index import database, scan_sources
from wordsight.search.index.candidate import CHANGED, Candidate
from wordsight.search.index.encoder import Batch, Encoder, LocalEncoder, Refusal
from wordsight.search.index.fill_photo_facts import fill_photo_facts
from wordsight.search.index.interface import BatchWriter
from wordsight.search.index.report import UpdateReport
from wordsight.search.index.scan_sources import Entry, SourceScan
from wordsight.search.index.vector_files import is_finite, pack
from wordsight.search.query.encoded import words_of
from wordsight.search.query.unread import unread_end
from wordsight.sets import EmbeddingSet

KNOWN_PER_WRITE = 1000  # files of known content per transaction
_COLUMNS = "content, bytes, changed, beside_changed, beside, told, path, part, shown"
MAX_RIVALS = 20  # items of one content whose files are checked for a rename


class Update:
    """One update from a scan; every method leaves the index consistent."""

    def __init__(
        self,
        writer: BatchWriter,
        matcher: Matcher,
        found: SourceScan,
        batch_size: int,
        workers: int,
        progress: Progress,
        encoder: Encoder | None = None,
    ) -> None:
        self.writer, self.matcher, self.found = writer, matcher, found
        self.batch_size, self.workers, self.progress = batch_size, workers, progress
        self.is_texts = writer.meta.kind == "texts"
        self.report = UpdateReport(
            unchanged=found.found - found.todo,
            skipped=[*found.closed, *found.skipped],
            left_out=found.left_out,
            captions=found.captions,
        )
        shared = database.can_share(writer.folder)  # otherwise only the writer's connection sees its commits
        self._reader = database.connect(writer.folder) if shared else writer.facts  # of the threads
        self._lock = threading.Lock()
        self.encoder = encoder or LocalEncoder(matcher)
        self._new: dict[str, Candidate] = {}  # by content, to be encoded together
        self._waiting: list[Candidate] = []  # files of those contents
        self._ahead: deque[Batch] = deque()  # batches that are being encoded
        self._known: list[Candidate] = []  # files of contents that are stored

    def run(self) -> UpdateReport:
        try:
            entries = scan_sources.todo(self.writer.facts)
            for done, candidate in enumerate(
                prefetch(self._read_entry, entries, self.workers, 2 * self.batch_size), 1
            ):
                self._take(candidate)
                self.progress(self._noun, done, self.found.todo)
            self._write()
            while self._ahead:
                self._commit(self._ahead.popleft())
            self._delete()
            self._caption()
            if not self.is_texts:
                fill_photo_facts(self.writer, self.workers, self.progress)
        finally:
            if self._reader is not self.writer.facts:
                self._reader.close()
        return self.report

    @property
    def _noun(self) -> str:
        return "texts" if self.is_texts else "pictures"

    def _read_entry(self, entry: Entry) -> Candidate:
        """Read one entry; runs in worker threads."""
        if entry.text is not None:
            return self._read_text(entry, entry.text)
        path = os.fsdecode(entry.path)
        try:
            before, content = stamp_of(Path(path)), content_of(Path(path))
            frame = None if self._has(content) else self.encoder.prepare(Path(path))
            facts = NO_FACTS if frame is None else photo_facts(path)
            if stamp_of(Path(path)) != before:  # its vectors would be stored under another hash
                return Candidate(entry, reason=CHANGED)
            sidecar = scan_sources.sidecar(path) if entry.sidecar_changed else ""
            return Candidate(entry, content, sidecar, frame, facts)
        except UnreadablePicture as error:
            return Candidate(entry, reason=error.reason, is_unreadable=True)
        except OSError as error:
            return Candidate(entry, reason=(error.strerror or str(error)).lower())

    def _read_text(self, entry: Entry, text: str) -> Candidate:
        if self._has(entry.part):
            return Candidate(entry, entry.part)
        try:
            length = int(self.matcher.tokenizer([text]).lengths[0])
        except ValueError as error:  # too long for this model, or without a word
            return Candidate(entry, reason=str(error), is_unreadable=True)
        is_full = length >= self.matcher.tokenizer.max_length
        is_cut = is_full and unread_end(self.matcher.tokenizer, text, words_of(self.matcher.tokenizer, text))
        return Candidate(entry, entry.part, made=text, is_cut=bool(is_cut))

    def _has(self, content: str) -> bool:
        query = "SELECT 1 FROM contents WHERE content = ?"
        with self._lock:
            return database.value(self._reader, query, (content,)) is not None

    def _take(self, candidate: Candidate) -> None:
        """Add an entry to its batch; full batches are written.

        Files of known contents have transactions of their own, so that the batches of new contents are the
        same after a kill.
        """
        if candidate.is_cut:
            self.report.cut += 1
            self.report.first_cut = self.report.first_cut or str(candidate.made)
        if candidate.reason:
            self._skip(candidate)
        elif candidate.content in self._new:
            self._waiting.append(replace(candidate, made=None))
        elif batch := next((one for one in self._ahead if candidate.content in one.contents), None):
            batch.waiting.append(replace(candidate, made=None))
        elif candidate.made is None or self._has(candidate.content):  # perhaps stored since it was read
            self._known.append(replace(candidate, made=None))
        else:
            self._new[candidate.content] = candidate
            self._waiting.append(candidate)
        if len(self._new) == self.batch_size or len(self._waiting) == self.batch_size + KNOWN_PER_WRITE:
            self._write()
        elif len(self._known) == KNOWN_PER_WRITE:
            self._write_known()

    def _skip(self, candidate: Candidate) -> None:
        entry = candidate.entry
        name = os.fsdecode(entry.path) + ("" if entry.text is None else f': "{entry.text[:40]}"')
        self.report.skipped.append((name, candidate.reason))
        where = (entry.path, entry.part)
        query = "SELECT 1 FROM items WHERE path = ? AND part = ?"
        if candidate.is_unreadable and database.value(self.writer.facts, query, where):
            with self.writer.batch():
                self._forget([where])

    def _write_known(self) -> None:
        known, self._known = self._known, []
        with self.writer.batch():
            for candidate in known:
                self._put(candidate)

    def _write(self) -> None:
        """Begin to encode a batch; commit the oldest one if enough are under way."""
        if not (self._new or self._known):
            return
        new, waiting = list(self._new.values()), self._waiting
        self._new, self._waiting = {}, []
        contents = {candidate.content for candidate in new}
        self._ahead.append(Batch(new, contents, waiting, self.encoder.submit(new)))
        while len(self._ahead) > self.encoder.ahead:
            self._commit(self._ahead.popleft())

    def _commit(self, batch: Batch) -> None:
        """Write a batch, with the files of known contents so far."""
        encoded = batch.encoded()
        refused = {batch.new[place].content: why for place, why in encoded.refused.items()}
        read = [candidate for candidate in batch.new if candidate.content not in refused]
        storable = []
        if encoded.embeddings is not None:
            good = is_finite(encoded.embeddings, self.writer.meta.unit)
            storable = [row for row, fine in enumerate(good) if fine]
            not_finite = Refusal("the model's vectors for it are not finite", True)
            refused |= {one.content: not_finite for one, fine in zip(read, good, strict=True) if not fine}
        with self.writer.batch():
            if encoded.embeddings is not None and storable:
                sizes = [encoded.sizes[row] for row in storable]
                self._store(encoded.embeddings[storable], [read[row] for row in storable], sizes)
            for candidate in [*self._known, *(one for one in batch.waiting if one.content not in refused)]:
                self._put(candidate)
        self._known = []
        for candidate in (one for one in batch.waiting if one.content in refused):
            why = refused[candidate.content]
            self._skip(Candidate(candidate.entry, reason=why.reason, is_unreadable=why.is_unreadable))

    def _store(
        self, embeddings: EmbeddingSet, new: Sequence[Candidate], sizes: Sequence[tuple[int, int]]
    ) -> None:
        packed = pack(embeddings, self.writer.meta.layout, self.writer.meta.unit)
        places, checksums = self.writer.append(packed), packed.checksums()
        self.writer.facts.executemany(
            "INSERT INTO contents VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (one.content, at.segment, at.place, at.start, at.count, *size, checksum, *astuple(one.facts))
                for one, at, size, checksum in zip(new, places, sizes, checksums, strict=True)
            ],
        )

    def _put(self, candidate: Candidate) -> None:
        """Write the item of an entry with stored content: changed, renamed or new."""
        entry, facts = candidate.entry, self.writer.facts
        key = database.value(facts, "SELECT key FROM contents WHERE content = ?", (candidate.content,))
        query = "SELECT id, content, beside, told FROM items WHERE"
        before = facts.execute(f"{query} path = ? AND part = ?", (entry.path, entry.part)).fetchone()
        moved = None if before else self._gone(key, entry)
        known = before or moved
        caption = self._text_of(entry, known[3] if known else "")
        stamps = (entry.bytes, entry.changed, entry.sidecar_changed)
        row = (key, *stamps, candidate.sidecar, caption, entry.path, entry.part, database.shown(entry.path))
        if known:
            facts.execute(
                f"UPDATE items SET ({_COLUMNS}) = (?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?", (*row, known[0])
            )
        else:
            facts.execute(f"INSERT INTO items ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self.report.renamed += moved is not None
        self.report.added += not known
        if before:
            same = tuple(before[1:]) == (key, candidate.sidecar, caption)
            self.report.unchanged += same
            self.report.updated += not same

    def _text_of(self, entry: Entry, before: str) -> str:
        """The text of an item: the entry's own, or the picture's captions, new or as before."""
        if entry.text is not None:
            return entry.text
        query = "SELECT caption FROM temp.found WHERE path = ? AND part = ''"
        text = database.value(self.writer.facts, query, (entry.path,))
        return before if text is None else str(text)

    def _gone(self, key: int, entry: Entry) -> Sequence[Any] | None:
        """An item of this content whose file is gone: the entry is its new name."""
        rivals = self.writer.facts.execute(
            "SELECT path, id, content, beside, told FROM items "
            "WHERE content = ? AND part = ? ORDER BY id LIMIT ?",
            (key, entry.part, MAX_RIVALS),
        )
        return next((row for path, *row in rivals.fetchall() if _is_gone(path)), None)

    def _delete(self) -> None:
        """Delete items below the sources that were not found, except in folders that could not be read."""
        where, parameters = database.below_condition(self.found.roots)
        closed, of_closed = database.below_condition([os.fsencode(folder) for folder, _ in self.found.closed])
        query = (
            f"SELECT path, part FROM items i WHERE ({where}) AND NOT ({closed}) AND NOT EXISTS "
            "(SELECT 1 FROM temp.found f WHERE f.path = i.path AND f.part = i.part) LIMIT ?"
        )
        while rows := self.writer.facts.execute(
            query, (*parameters, *of_closed, scan_sources.PAGE_ROWS)
        ).fetchall():
            with self.writer.batch():
                self.report.deleted += self._forget(rows)

    def _forget(self, rows: Sequence[tuple[bytes, str]]) -> int:
        delete = "DELETE FROM items WHERE path = ? AND part = ?"
        return sum(self.writer.facts.execute(delete, row).rowcount for row in rows)

    def _caption(self) -> None:
        """Update captions that changed in their files."""
        if self.is_texts:
            return
        query = (
            "SELECT f.caption, i.id FROM items i JOIN temp.found f ON f.path = i.path AND f.part = i.part "
            "WHERE i.told != f.caption LIMIT ?"
        )
        while rows := self.writer.facts.execute(query, (scan_sources.PAGE_ROWS,)).fetchall():
            with self.writer.batch():
                self.writer.facts.executemany("UPDATE items SET told = ? WHERE id = ?", rows)
            self.report.updated += len(rows)
            self.report.unchanged -= len(rows)


def _is_gone(path: bytes) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
