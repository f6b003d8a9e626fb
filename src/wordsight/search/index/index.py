"""Folders of pictures, or files of texts -> an index on disk.

>>> index = Index.create("photos.index", "runs/chan/best")
>>> index.update([Path("photos")])
>>> with index.snapshot() as snapshot:
...     snapshot.embeddings(0, 64), snapshot.item(0).path
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from wordsight.encode.projection import out_dim
from wordsight.errors import InputError
from wordsight.files.atomic import removed_on_failure
from wordsight.files.index_folder import META, MODEL
from wordsight.matcher import Matcher, open_saved
from wordsight.read.pictures.walk import WalkRules
from wordsight.registry import names_of
from wordsight.runtime.device import find_device, on_gpu
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import (
    database,
    manifest,
    region_meta,
    region_upkeep,
    replaced,
    walk_rules,
)
from wordsight.search.index.compact import Compaction, compact
from wordsight.search.index.database import Filters, Item
from wordsight.search.index.interface import BatchWriter, SearchableIndex
from wordsight.search.index.manifest import Meta
from wordsight.search.index.region_meta import SearchSettings
from wordsight.search.index.replaced import Fingerprint, IndexReplaced, read_one_index
from wordsight.search.index.report import UpdateReport
from wordsight.search.index.schema_check import REMEDY
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.index.stats import Stats, measured
from wordsight.search.index.verify import damaged, problems
from wordsight.search.index.writer import Writer

__all__ = ["Filters", "Index", "IndexReplaced", "Item", "Snapshot", "UpdateReport"]


@contextmanager
def begun_or_removed(folder: Path) -> Iterator[None]:
    """Remove the index that the block creates if it fails before the first batch is stored."""

    def begun() -> bool:
        try:
            return Index.open(folder).generation() > 0
        except (OSError, ValueError):
            return False

    with removed_on_failure(folder, keep=begun):
        yield


class Index(SearchableIndex):
    """An index folder. ``kind`` is "images" or "texts"; ``matcher`` is loaded from the folder on first use.

    Any number of processes may read while one writes; a second writer gets StoreInUse at once.
    """

    def __init__(
        self,
        folder: Path,
        meta: Meta,
        index_fingerprint: Fingerprint | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
    ) -> None:
        self.folder, self.meta, self.trust_remote_code = folder, meta, trust_remote_code
        self.device = device
        self.index_fingerprint = index_fingerprint or replaced.index_fingerprint(folder)
        self.kind = meta.kind

    @classmethod
    def create(
        cls,
        folder: str | Path,
        matcher_folder: str | Path,
        kind: str = "images",
        precision: str = "float16",
        trust_remote_code: bool = False,
    ) -> "Index":
        """Create an empty index with its own copy of the model.

        Raises AlreadyExistsError if the folder holds an index or anything else.
        """
        folder = Path(folder)
        meta = manifest.create(folder, Path(matcher_folder), kind, precision, trust_remote_code)
        return cls(folder, meta, trust_remote_code=trust_remote_code)

    @classmethod
    def open(cls, folder: str | Path, trust_remote_code: bool = False, device: str = "auto") -> "Index":
        """Open an index. Raises MissingFileError if there is none, InputError if its format is newer.

        ``trust_remote_code`` is that of ``Matcher.from_pretrained``, for the model in the index; ``device``
        is where that model runs (``find_device``).
        """
        folder = Path(folder)

        def read() -> tuple[Meta, Fingerprint | None]:
            return manifest.read_meta(folder), replaced.index_fingerprint(folder)

        meta, fingerprint = read_one_index(folder, read)
        return cls(folder, meta, fingerprint, trust_remote_code, device)

    @classmethod
    def open_to_write(
        cls, folder: str | Path, trust_remote_code: bool = False, device: str = "auto"
    ) -> "Index":
        """Open an index for writing; an older format is migrated first."""
        folder = Path(folder)
        if (folder / META).is_file():
            with manifest.writing(folder):
                manifest.migrate(folder)
        return cls.open(folder, trust_remote_code, device)

    @property
    def name(self) -> str:
        """The folder, as messages show it."""
        return str(self.folder)

    @property
    def model_folder(self) -> Path:
        return self.folder / MODEL

    @property
    def engines(self) -> list[str]:
        """Names of the engines that can search it: "regions" needs an index of regions."""
        has_regions = (self.folder / region_meta.META).is_file()
        return [name for name in names_of("engine") if name != "regions" or has_regions]

    def reopen(self) -> "Index":
        """The index that is now in this folder."""
        return Index.open(self.folder, self.trust_remote_code, self.device)

    def check_there(self) -> None:
        """Raise IndexReplaced if this index was deleted or replaced by another one."""
        replaced.check_same(self.folder, self.index_fingerprint)

    def read(self, read: Callable[[], Any]) -> Any:
        """The result of ``read``, which reads files of this very index. Raises IndexReplaced."""
        return read_one_index(self.folder, read, self.check_there)

    @cached_property
    def matcher(self) -> Matcher:
        matcher: Matcher = self.read(
            lambda: open_saved(Matcher, self.model_folder, self.trust_remote_code, self.read)
        )
        if out_dim(matcher.text_encoder) != self.meta.dim:
            raise InputError(
                f"the vectors in {self.folder} have {self.meta.dim} numbers; its model makes vectors of "
                f"{out_dim(matcher.text_encoder)}",
                REMEDY,
            )
        device = find_device(self.device)
        return matcher.to(device) if on_gpu(device) else matcher

    def check_model(self, matcher_folder: str | Path) -> None:
        """Raise InputError, naming the difference, if another model made the index."""
        manifest.check_model(self.folder, self.meta, Path(matcher_folder))

    def adopt_presence(self, model: Path) -> None:
        """Give the index the probabilities of a model whose vectors it holds."""
        manifest.adopt_presence(self.folder, model)

    @contextmanager
    def updating(self, sources: Sequence[Path], progress: Progress) -> Iterator[BatchWriter]:  # noqa: ARG002
        """The writer of the folder; afterwards the region index is brought into step."""
        with self._writer() as writer:
            yield writer
            self._update_regions("auto", progress)

    def remember_rules(self, writer: BatchWriter, rules: WalkRules | None) -> WalkRules:
        return walk_rules.remember(writer, rules)

    def index_regions(self, engine: str = "regions", progress: Progress = silent) -> None:
        """Make the region index that the engine "regions" searches.

        ``engine``: "exact" removes it, "auto" brings it into step, as updates and compactions do, or makes
        it for a large index. Raises InputError for a similarity that it cannot serve, MissingPackageError
        without faiss.
        """
        if engine not in region_upkeep.ENGINES:
            known = ", ".join(region_upkeep.ENGINES)
            raise InputError(f'engine = "{engine}" is no engine to index for; known: {known}')
        if engine == "regions" and self.kind != "images":
            raise InputError("this is an index of texts; an index of regions needs one of images")
        with self._writer():
            self._update_regions(engine, progress)

    def store_region_settings(self, number: int, settings: SearchSettings) -> None:
        """Store what was measured on the region index of this number, if it is still there."""
        with self._writer():
            region_meta.store_settings(self.folder, number, settings)

    def _update_regions(self, engine: str, progress: Progress) -> None:
        if self.kind == "images":
            with self.snapshot() as snapshot:
                region_upkeep.update_regions(snapshot, self.matcher.similarity, engine, progress)

    @contextmanager
    def _writer(self) -> Iterator[Writer]:
        with database.wrap_errors(self.folder), manifest.writing(self.folder):
            self.check_there()
            writer = Writer(self.folder, self.meta)
            try:
                writer.tidy()
                yield writer
            finally:
                writer.close()

    def compact(self, progress: Progress = silent) -> Compaction:
        """Free the space of contents without an item; ids and snapshots of readers stay valid."""
        with self._writer() as writer:
            done = compact(writer, progress)
            if (self.folder / region_meta.META).is_file():
                self._update_regions("auto", progress)
            return done

    def verify(self, progress: Progress = silent) -> list[str]:
        """Check the integrity of the index; one sentence per problem."""
        return list(problems(self.folder, self.meta, progress))

    def repair(self) -> int:
        """Delete items with damaged vectors, so that the next update encodes them again; returns how many."""
        with self._writer() as writer, self.snapshot() as snapshot:
            contents = list(damaged(snapshot))
            with writer.batch():
                return sum(writer.drop_content(content) for content in contents)

    def walk_rules(self) -> WalkRules:
        """The rules for pictures that an update leaves out."""
        rules: WalkRules = self._from_database(walk_rules.stored)
        return rules

    def stats(self) -> Stats:
        with self.snapshot() as snapshot, database.wrap_errors(self.folder):
            return measured(self.folder, self.meta, snapshot)

    def snapshot(self) -> Snapshot:
        """A consistent view of the index, unaffected by later commits. Raises IndexReplaced."""
        snapshot: Snapshot = self.read(lambda: Snapshot(self.folder, self.meta.layout))
        return snapshot

    def generation(self) -> int:
        """Number of commits so far; a snapshot with another number is no longer the newest.

        Raises IndexReplaced.
        """
        number: int = self._from_database(database.generation)
        return number

    def _from_database(self, read: Callable[[sqlite3.Connection], Any]) -> Any:
        def read_connected() -> Any:
            with database.wrap_errors(self.folder), closing(database.connect(self.folder)) as connection:
                return read(connection)

        return self.read(read_connected)
