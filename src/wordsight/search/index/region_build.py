"""Vectors of an index -> its region index: trained on a sample, extended by what is new, whole at once.

A build is stored under a new number and named by ``regions.json`` last. What a killed build left behind is
removed by the next one.
"""

import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from wordsight.files.atomic import sync_folder
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import region_meta
from wordsight.search.index.region_lists import (
    RegionLists,
    Tables,
    import_faiss,
    mean_quantizer,
    new_faiss_index,
)
from wordsight.search.index.region_meta import Covered, RegionMeta, SearchSettings
from wordsight.search.index.region_training import QUANTIZER_SAMPLE, assign, quantizer, sample_size, train
from wordsight.search.index.snapshot import Snapshot
from wordsight.similarity.kernels.packed import unit

VECTORS_AT_ONCE = 1 << 17
RETRAIN_GROWTH = 4  # the lists are trained anew when the index has this many times the vectors
MAX_OUTSIDE_SHARE = 0.02  # of the pictures; a search scores those outside the lists one and all
MAX_STALE_SHARE = 0.3  # of the entries, whose contents are gone; with more the lists are made anew
FEW = 256  # pictures outside the lists, or entries without a content, that are never worth a build


@dataclass(frozen=True, eq=False)
class _Contents:
    """Contents of an index: the places of their vectors, and their numbers in the lists."""

    segment: Int[np.ndarray, " content"]
    start: Int[np.ndarray, " content"]
    count: Int[np.ndarray, " content"]
    number: Int[np.ndarray, " content"]

    def __len__(self) -> int:
        return len(self.number)

    @property
    def vectors(self) -> int:
        return int(self.count.sum())

    def some(self, chosen: Any) -> "_Contents":
        return _Contents(self.segment[chosen], self.start[chosen], self.count[chosen], self.number[chosen])

    def blocks(
        self, snapshot: Snapshot
    ) -> Iterator[tuple[Float[np.ndarray, "vector dim"], Int[np.ndarray, " vector"]]]:
        """Vectors of length 1 in blocks, and the number of each one's content."""
        ends, first = np.cumsum(self.count), 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + VECTORS_AT_ONCE, "right")))
            some = self.some(slice(first, last))
            stored = snapshot.vectors_at(some.segment, some.start, some.count)
            yield unit(stored).numpy(), np.repeat(some.number, some.count)
            first = last


class RegionBuild:
    """The region index of a snapshot, made or extended; the caller holds the write lock.

    ``lists``       the region index that is there
    ``first_only``  only the first vector of each content is entered
    """

    def __init__(self, snapshot: Snapshot, lists: RegionLists | None, first_only: bool) -> None:
        self.snapshot, self.folder = snapshot, snapshot.folder
        self.table = snapshot.contents_table()
        self.there, self.first_only = lists, first_only

    @cached_property
    def old(self) -> RegionLists | None:
        """The lists that are there, if they can be extended."""
        lists = self.there
        if lists is None or lists.meta.first_only != self.first_only or not fits(lists, self.snapshot):
            return None
        stale = lists.meta.contents - int((self._numbers(lists.meta) >= 0).sum())
        grown = self._vectors > RETRAIN_GROWTH * lists.meta.trained_on
        if grown or stale > max(FEW, MAX_STALE_SHARE * lists.meta.contents):
            return None
        return lists

    @property
    def is_needed(self) -> bool:
        """Whether there are no lists, or lists that miss too much."""
        if self.old is None:
            return True
        outside = int((self._numbers(self.old.meta) < 0).sum())
        return outside > max(FEW, MAX_OUTSIDE_SHARE * len(self.table))

    def run(self, progress: Progress = silent) -> RegionMeta:
        """Write the files. Raises MissingPackageError without faiss, OSError for a full disk."""
        import_faiss()
        region_meta.remove_unnamed(self.folder, None if self.there is None else self.there.meta.number)
        numbers = RegionMeta(0, self._covered(), 0, 0, 0, False, 0, ())
        every = self._contents(numbers)
        new = every if self.old is None else every.some(self._numbers(self.old.meta) < 0)
        number = region_meta.next_number(self.folder)
        tables = self.old.tables if self.old else self._trained(every, progress)
        tables, of_lists = self._write_lists(new, tables, number, progress)
        of_means = self._write_means(numbers.segments, tables, number)
        meta = replace(
            numbers,
            number=number,
            dim=self.snapshot.layout.dim,
            contents=len(new) + (0 if self.old is None else self.old.meta.contents),
            vectors=int(tables.sizes.sum()),
            first_only=self.first_only,
            trained_on=every.vectors if self.old is None else self.old.meta.trained_on,
            checksums=(self._write_tables(number, tables), of_lists, of_means),
            settings=SearchSettings() if self.old is None else replace(self.old.meta.settings, queries=0),
        )
        sync_folder(self.folder)
        region_meta.write_meta(self.folder, meta)
        region_meta.remove_unnamed(self.folder, number)
        return meta

    @property
    def _vectors(self) -> int:
        return len(self.table) if self.first_only else int(self.table[:, 3].sum())

    def _numbers(self, meta: RegionMeta) -> Int[np.ndarray, " content"]:
        return meta.numbers_of(self.table[:, 0], self.table[:, 1])

    def _contents(self, meta: RegionMeta) -> _Contents:
        segment, _, start, count = self.table.T
        counts = np.minimum(count, 1) if self.first_only else count
        return _Contents(segment, start, counts, self._numbers(meta))

    def _covered(self) -> tuple[Covered, ...]:
        """The segments as they are now, with numbers that leave those of the old entries as they are."""
        old = () if self.old is None else self.old.meta.segments
        first = 0 if self.old is None else self.old.meta.numbers
        covered = list(old)
        for extent in self.snapshot.extents():
            before = max((one.contents for one in old if one.segment == extent.number), default=0)
            if extent.contents > before:
                mark = _fingerprint(self.snapshot, extent.number, extent.vectors)
                entry = Covered(extent.number, extent.contents, extent.vectors, first - before, mark)
                covered.append(entry)
                first += extent.contents - before
        return tuple(covered)

    def _trained(self, contents: _Contents, progress: Progress) -> Tables:
        tables = train(self._sample(contents), contents.vectors, progress)
        extents = self.snapshot.extents()
        every = slice(None, None, 1 + sum(extent.contents for extent in extents) // QUANTIZER_SAMPLE)
        means = [self.snapshot.segment(extent.number).pooled(every) for extent in extents]
        return replace(tables, means=quantizer(np.concatenate(means))) if means else tables

    def _sample(self, contents: _Contents) -> Float[np.ndarray, "vector dim"]:
        """Vectors of contents chosen by chance, enough to train the lists."""
        share = sample_size(contents.vectors) / max(1, contents.vectors)
        chosen = np.flatnonzero(np.random.default_rng(0).random(len(contents)) < share)
        some = contents.some(chosen) if len(chosen) else contents
        parts = [vectors for vectors, _ in some.blocks(self.snapshot)]
        return np.concatenate(parts) if parts else np.zeros((0, self.snapshot.layout.dim), np.float32)

    def _write_lists(
        self, new: _Contents, tables: Tables, number: int, progress: Progress
    ) -> tuple[Tables, int]:
        """Write old and new entries, list by list; returns the tables with their sizes, and a checksum."""
        with tempfile.TemporaryFile(dir=self.folder) as scratch:  # ends with the process
            codes, of_list, numbers = _encoded(self.snapshot, new, tables, scratch, progress)
            order = np.argsort(of_list, kind="stable")
            bounds = np.searchsorted(of_list[order], np.arange(len(tables.sizes) + 1))
            checksum, sizes = 0, np.diff(bounds).astype(np.int64)
            with region_meta.lists_file(self.folder, number).open("wb") as file:
                for list_ in range(len(sizes)):
                    chosen = order[bounds[list_] : bounds[list_ + 1]]
                    parts: list[np.ndarray] = [codes[chosen], numbers[chosen].astype("<i8")]
                    if self.old is not None:
                        before = self.old.entries(list_)
                        parts = [before[0], parts[0], before[1], parts[1]]
                    data = b"".join(part.tobytes() for part in parts)
                    checksum = zlib.crc32(data, checksum)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
        return replace(tables, sizes=sizes if self.old is None else self.old.tables.sizes + sizes), checksum

    def _write_means(self, covered: tuple[Covered, ...], tables: Tables, number: int) -> int:
        """Write the codes of the means of old and new contents, by number; returns a checksum."""
        encoder, checksum = mean_quantizer(tables), 0
        with region_meta.means_file(self.folder, number).open("wb") as file:
            for means in self._new_means(covered):
                codes = means if means.dtype == np.uint8 else encoder.compute_codes(means.astype(np.float32))
                checksum = zlib.crc32(codes.tobytes(), checksum)
                file.write(codes.tobytes())
            file.flush()
            os.fsync(file.fileno())
        return checksum

    def _new_means(self, covered: tuple[Covered, ...]) -> Iterator[np.ndarray]:
        """The codes of the old contents, then the means of the new ones, in blocks."""
        if self.first_only:
            return
        done = 0
        if self.old is not None:
            done = self.old.meta.numbers
            yield self.old.mean_codes
        for one in covered[0 if self.old is None else len(self.old.meta.segments) :]:
            segment, last = self.snapshot.segment(one.segment), one.first + one.contents
            for first in range(done, last, VECTORS_AT_ONCE):
                stop = min(last, first + VECTORS_AT_ONCE)
                yield segment.pooled(slice(first - one.first, stop - one.first))
            done = last

    def _write_tables(self, number: int, tables: Tables) -> int:
        from safetensors.numpy import save

        arrays = {field.name: np.ascontiguousarray(getattr(tables, field.name)) for field in fields(tables)}
        data = save(arrays)
        with region_meta.tables_file(self.folder, number).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return zlib.crc32(data)


def _encoded(
    snapshot: Snapshot, contents: _Contents, tables: Tables, scratch: Any, progress: Progress
) -> tuple[UInt8[np.ndarray, "vector byte"], Int[np.ndarray, " vector"], Int[np.ndarray, " vector"]]:
    """Code, list and content of each vector; the codes are in the scratch file."""
    encoder, total = new_faiss_index(tables), contents.vectors  # its quantizer lives no longer than it
    shape = (total, tables.code_bytes)
    codes = np.memmap(scratch, np.uint8, "w+", shape=shape) if total else np.zeros(shape, np.uint8)
    of_list, numbers, done = np.empty(total, np.int32), np.empty(total, np.int64), 0
    for vectors, of_content in contents.blocks(snapshot):
        span = slice(done, done + len(vectors))
        of_list[span], numbers[span] = assign(vectors, tables), of_content
        codes[span] = encoder.sq.compute_codes(vectors - tables.centroids[of_list[span]])
        done += len(vectors)
        progress("regions", done, total)
    return codes, of_list, numbers


def fits(lists: RegionLists, snapshot: Snapshot) -> bool:
    """Whether the lists are of this index: the size of its vectors, and the first bytes of its segments."""
    committed = {extent.number: extent.contents for extent in snapshot.extents()}
    there = [one for one in lists.meta.segments if one.segment in committed]
    return lists.meta.dim == snapshot.layout.dim and all(
        one.contents <= committed[one.segment]
        and one.fingerprint == _fingerprint(snapshot, one.segment, one.vectors)
        for one in there
    )


def _fingerprint(snapshot: Snapshot, segment: int, vectors: int) -> int:
    row_bytes = snapshot.layout.row_bytes("vectors")
    return region_meta.fingerprint_of(snapshot.folder, segment, row_bytes, vectors)


def region_problems(snapshot: Snapshot, lists: RegionLists) -> Iterator[str]:
    """One sentence per problem of a region index."""
    files = region_meta.files_of(lists.folder, lists.meta.number)
    for path, expected in zip(files, lists.meta.checksums, strict=True):
        if region_meta.checksum_of(path) != expected:
            yield f"{path} is damaged: its checksum differs; {region_meta.REMEDY}"
    if not fits(lists, snapshot):
        yield f"{lists.folder / region_meta.META} belongs to another index; {region_meta.REMEDY}"
