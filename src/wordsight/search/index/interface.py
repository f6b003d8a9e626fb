"""The base class and interfaces that an index in a folder and an index on a server share."""

import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from wordsight.matcher import Matcher
from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.read.pictures.walk import WalkRules
from wordsight.runtime.device import find_device
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index import picture_roots
from wordsight.search.index.caption_file import CaptionFile
from wordsight.search.index.compact import Compaction
from wordsight.search.index.database import Filters, Item
from wordsight.search.index.manifest import Meta
from wordsight.search.index.report import UpdateReport
from wordsight.search.index.stats import Stats
from wordsight.search.index.vector_files import Packed, Place
from wordsight.sets import EmbeddingSet

if TYPE_CHECKING:  # a search encodes no contents, and its start is shorter without
    from wordsight.search.index.encoder import Encoder


@runtime_checkable
class SearchableRows(Protocol):
    """Items and embeddings of one state of an index, by row."""

    generation: int
    ids: Any  # of the items, by row

    def __len__(self) -> int: ...
    def __enter__(self) -> "SearchableRows": ...
    def __exit__(self, *error: object) -> None: ...
    def close(self) -> None: ...
    def embeddings(self, start: int, stop: int) -> EmbeddingSet: ...
    def gather(self, rows: np.ndarray) -> EmbeddingSet: ...
    def item(self, row: int) -> Item: ...
    def items(self, rows: np.ndarray) -> list[Item]: ...
    def row_of(self, id: int) -> int: ...
    def id_of(self, path: str) -> int | None: ...
    def rows_of(self, content: str) -> Int[np.ndarray, " n"]: ...
    def rows_where(self, filters: Filters | None) -> Int[np.ndarray, " n"] | None: ...
    def newest(self, filters: Filters, offset: int, count: int) -> tuple[Int[np.ndarray, " n"], int]: ...
    def items_in(self) -> Counter[bytes]: ...
    def dates(self) -> Any: ...


class SearchableIndex(ABC):
    """An index that is updated, checked and searched; ``name`` is what messages call it."""

    folder: Path
    meta: Meta
    kind: str
    trust_remote_code: bool
    device: str

    @property
    @abstractmethod
    def name(self) -> str: ...
    @property
    @abstractmethod
    def matcher(self) -> Matcher: ...
    @property
    @abstractmethod
    def model_folder(self) -> Path:
        """The saved matcher that made the vectors."""

    @abstractmethod
    def reopen(self) -> "SearchableIndex": ...
    @abstractmethod
    def check_there(self) -> None: ...
    @abstractmethod
    def check_model(self, matcher_folder: str | Path) -> None: ...
    @abstractmethod
    def adopt_presence(self, model: Path) -> None:
        """Give the index the probabilities of a model whose vectors it holds."""

    @property
    def engines(self) -> list[str]:
        """Names of the engines that can search it now."""
        return ["auto", "exact", "shortlist"]

    def run_on(self, device: str) -> None:
        """Move the model to a device; "auto" takes the GPU if there is one."""
        self.device = device
        self.matcher.to(find_device(device))

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
        encoder: "Encoder | None" = None,
    ) -> UpdateReport:
        """Synchronize the index with these folders (of texts: files); items of other sources stay.

        ``captions``: caption files of the pictures. ``drop_all``: the items of a source that is missing or
        empty are deleted; otherwise it is an error. ``rules``: the pictures to leave out from now on; None:
        as before. ``caption_column``: of tables of texts. ``encoder``: None encodes in this process.
        A kill loses the current batch at most (of an encoder that works ahead: the batches under way).
        Raises StoreInUse if another process writes a folder, IndexFull if the disk is full.
        """
        from wordsight.search.index import scan_sources  # readers of files, which no search needs
        from wordsight.search.index.sync import Update

        with self.updating(sources, progress) as writer:
            if self.kind == "texts":
                found = scan_sources.scan_texts(writer.facts, sources, progress, drop_all, caption_column)
            else:
                files = [one if isinstance(one, CaptionFile) else CaptionFile(one) for one in captions]
                rules = self.remember_rules(writer, rules)
                found = scan_sources.scan_pictures(
                    writer.facts, sources, self.folder, files, rules, progress, drop_all
                )
                with suppress(OSError, RuntimeError):  # a user without a cache folder passes --root to serve
                    picture_roots.remember(self.folder, [*sources, *map(Path, found.links)])
            return Update(writer, self.matcher, found, batch_size, workers, progress, encoder).run()

    @abstractmethod
    def updating(
        self, sources: Sequence[Path], progress: Progress
    ) -> "AbstractContextManager[BatchWriter]": ...
    @abstractmethod
    def remember_rules(self, writer: "BatchWriter", rules: WalkRules | None) -> WalkRules: ...
    @abstractmethod
    def walk_rules(self) -> WalkRules: ...
    @abstractmethod
    def snapshot(self) -> Any: ...  # SearchableRows
    @abstractmethod
    def generation(self) -> int: ...
    @abstractmethod
    def verify(self, progress: Progress = ...) -> list[str]: ...
    @abstractmethod
    def repair(self) -> int: ...
    @abstractmethod
    def compact(self, progress: Progress = ...) -> Compaction: ...
    @abstractmethod
    def stats(self) -> Stats: ...
    def health(self) -> list[tuple[str, str]]:
        """Facts about this kind of index for ``wordsight doctor``: a name and a value each."""
        return []


@runtime_checkable
class BatchWriter(Protocol):
    """Writer of an update: facts in SQLite, vectors by ``append``, both committed by ``batch``."""

    folder: Path
    meta: Meta
    facts: sqlite3.Connection

    def append(self, packed: Packed) -> list[Place]: ...
    def batch(self) -> AbstractContextManager[None]: ...
    def store_photo_facts(self, facts: Sequence[tuple[str, PhotoFacts]]) -> None: ...
