"""Folders of pictures, or files of texts -> an index on disk: what a search reads, kept in step and whole.

>>> index = Index.create("photos.index", "runs/chan/best")
>>> index.update([Path("photos")])
>>> with index.snapshot() as snapshot:
...     snapshot.embeddings(0, 64), snapshot.item(0).path
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from wordsight.encode.projection import out_dim
from wordsight.errors import InputError
from wordsight.files.atomic import removed_on_failure
from wordsight.matcher import Matcher
from wordsight.read.pictures.walk import WalkRules
from wordsight.search.index import database, manifest, picture_roots, scan_sources, walk_rules
from wordsight.search.index.caption_join import CaptionFile
from wordsight.search.index.compact import Compaction, compact
from wordsight.search.index.database import Filters, Item
from wordsight.search.index.manifest import MODEL, Meta
from wordsight.search.index.report import UpdateReport
from wordsight.search.index.scan_sources import Progress
from wordsight.search.index.schema_check import REMEDY
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.index.stats import Stats, measured
from wordsight.search.index.sync import Update
from wordsight.search.index.verify import damaged, problems
from wordsight.search.index.writer import Writer

__all__ = ["Filters", "Index", "Item", "Snapshot", "UpdateReport"]


class IndexReplaced(ValueError):  # noqa: N818
    """In the folder of an index that was opened lies another one by now, or none."""


@contextmanager
def begun_or_removed(folder: Path) -> Iterator[None]:
    """An index that the block makes is removed again if the block fails before the first batch is stored."""

    def begun() -> bool:
        try:
            return Index.open(folder).generation() > 0
        except (OSError, ValueError):
            return False

    with removed_on_failure(folder, keep=begun):
        yield


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class Index:
    """One folder. ``kind`` is "images" or "texts"; ``matcher`` is loaded from the folder when asked for.

    Any number of processes may read while one writes; a second writer raises StoreInUse at once.
    """

    def __init__(
        self,
        folder: Path,
        meta: Meta,
        index_fingerprint: tuple[int, ...] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.folder, self.meta, self.trust_remote_code = folder, meta, trust_remote_code
        self.index_fingerprint = index_fingerprint or manifest.index_fingerprint(
            folder
        )  # what ``manifest.born`` told before ``meta`` was read
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
        """An empty index with its own copy of the model.

        Raises FileExistsError if the folder holds an index, or anything else.
        """
        folder = Path(folder)
        meta = manifest.create(folder, Path(matcher_folder), kind, precision, trust_remote_code)
        return cls(folder, meta, trust_remote_code=trust_remote_code)

    @classmethod
    def open(cls, folder: str | Path, trust_remote_code: bool = False) -> "Index":
        """Raises FileNotFoundError if this is no index, ValueError if its format is newer than known here.

        ``trust_remote_code`` is that of ``Matcher.from_pretrained``, for the model in the index.
        """
        folder = Path(folder)
        index_fingerprint = manifest.index_fingerprint(
            folder
        )  # first: if another takes its place meanwhile, the next look tells
        return cls(folder, manifest.read_meta(folder), index_fingerprint, trust_remote_code)

    @classmethod
    def open_to_write(cls, folder: str | Path, trust_remote_code: bool = False) -> "Index":
        """Open for writing; an index of an older format is migrated first."""
        folder = Path(folder)
        if (folder / manifest.META).is_file():
            with manifest.writing(folder):
                manifest.migrate(folder)
        return cls.open(folder, trust_remote_code)

    def check_there(self) -> None:
        """Raises IndexReplaced if this index was deleted, also if another one has taken its place."""
        if manifest.index_fingerprint(self.folder) != self.index_fingerprint:
            raise IndexReplaced(
                f"{self.folder} was deleted, or made anew, since it was opened; open it again"
            )

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Raise IndexReplaced if another index takes the place of this one inside the block."""
        try:
            yield
        except (OSError, ValueError):
            self.check_there()  # which says why, if it was that
            raise
        self.check_there()

    @cached_property
    def matcher(self) -> Matcher:
        with self._there():
            matcher = Matcher.from_pretrained(self.folder / MODEL, trust_remote_code=self.trust_remote_code)
        if out_dim(matcher.text_encoder) != self.meta.dim:
            raise InputError(
                f"the vectors in {self.folder} have {self.meta.dim} numbers and those of the model in it "
                f"{out_dim(matcher.text_encoder)}",
                REMEDY,
            )
        return matcher

    def check_model(self, matcher_folder: str | Path) -> None:
        """Raises ValueError, with what differs, if the index was made by another model."""
        manifest.check_model(self.folder, self.meta, Path(matcher_folder))

    def update(
        self,
        sources: Sequence[Path],
        progress: Progress = silent,
        captions: Sequence[Path | CaptionFile] = (),
        batch_size: int = 32,
        workers: int = 4,
        drop_all: bool = False,
        rules: WalkRules | None = None,
        caption_column: str | None = None,
    ) -> UpdateReport:
        """Bring the index in step with these folders (of texts: files); items of others stay as they are.

        ``captions``: files that say something of the pictures. ``drop_all``: a source that is gone or empty
        takes its items with it, and is no error. ``rules``: which pictures are left out from now on; None: as
        before. ``caption_column``: of the tables that an index of texts is made of. Killed at any moment it
        loses the current batch at most.
        Raises StoreInUse if another process writes, IndexFull if the disk is full.
        """
        with self._writer() as writer:
            if self.kind == "texts":
                found = scan_sources.scan_texts(writer.facts, sources, progress, drop_all, caption_column)
            else:
                files = [one if isinstance(one, CaptionFile) else CaptionFile(one) for one in captions]
                rules = walk_rules.remember(writer, rules)
                found = scan_sources.scan_pictures(
                    writer.facts, sources, self.folder, files, rules, progress, drop_all
                )
                with suppress(OSError, RuntimeError):  # whoever has no home names the folders when serving
                    picture_roots.remember(self.folder, [*sources, *map(Path, found.links)])
            return Update(writer, self.matcher, found, batch_size, workers, progress).run()

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
        """Give back the space of what no item needs any more; ids stay, and so do readers' snapshots."""
        with self._writer() as writer:
            return compact(writer, progress)

    def verify(self, progress: Progress = silent) -> list[str]:
        """Problems of the index, one sentence each; empty if the integrity check passed."""
        return list(problems(self.folder, self.meta, progress))

    def repair(self) -> int:
        """Drop the items whose vectors are damaged, so that the next update makes them again; how many."""
        with self._writer() as writer, self.snapshot() as snapshot:
            contents = list(damaged(snapshot))
            with writer.batch():
                return sum(writer.drop_content(content) for content in contents)

    def walk_rules(self) -> WalkRules:
        """The pictures of a folder that an update leaves out."""
        with self._there(), database.wrap_errors(self.folder):
            connection = database.connect(self.folder)
            try:
                return walk_rules.stored(connection)
            finally:
                connection.close()

    def stats(self) -> Stats:
        with self.snapshot() as snapshot, database.wrap_errors(self.folder):
            return measured(self.folder, self.meta, snapshot)

    def snapshot(self) -> Snapshot:
        """The index at this moment, whatever is written meanwhile. Raises IndexReplaced."""
        with self._there():
            return Snapshot(self.folder, self.meta.layout)

    def generation(self) -> int:
        """How many commits there have been: a snapshot of another number is no longer the newest.

        Raises IndexReplaced.
        """
        with self._there(), database.wrap_errors(self.folder):
            connection = database.connect(self.folder)
            try:
                return database.generation(connection)
            finally:
                connection.close()
