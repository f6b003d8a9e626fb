"""The base class of indexes on a server: all of an index that does not depend on the kind of server."""

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from wordsight.errors import InputError, WordsightError
from wordsight.matcher import Matcher, open_saved
from wordsight.read.pictures.walk import WalkRules
from wordsight.runtime.device import find_device, on_gpu
from wordsight.runtime.progress import Progress
from wordsight.search.index import manifest, walk_rules
from wordsight.search.index.interface import BatchWriter, SearchableIndex
from wordsight.search.index.manifest import Meta
from wordsight.search.remote import saved_model
from wordsight.search.remote.batch_rows import ServerFacts
from wordsight.search.remote.mirror import MirrorWriter
from wordsight.search.remote.saved_model import StoredFiles


class ServerIndex(SearchableIndex):
    """An index on a server, found by its address.

    ``folder`` is in the user's cache: it records which folders this user indexed, and holds an unpacked copy
    of the index's model. ``made`` tells this index from another one at the same address.
    """

    chunk_bytes: ClassVar[int]  # of a file of the model in one piece

    def __init__(
        self, url: Any, meta: Meta, made: str, trust_remote_code: bool = False, device: str = "auto"
    ) -> None:
        self.url, self.meta, self.made = url, meta, made
        self.trust_remote_code, self.device = trust_remote_code, device
        self.kind = meta.kind
        self.folder = saved_model.home(url, f"{meta.model} {made}")

    @classmethod
    @abstractmethod
    def create(
        cls,
        url: Any,
        matcher_folder: str | Path,
        kind: str = "images",
        shards: int = 0,
        trust_remote_code: bool = False,
    ) -> "ServerIndex":
        """Create an empty index with a copy of the model. Raises AlreadyExistsError if there is one."""

    @classmethod
    @abstractmethod
    def is_there(cls, url: Any) -> bool:
        """Whether there is an index at this address. Raises UnavailableError."""

    @classmethod
    @abstractmethod
    def open(cls, url: Any, trust_remote_code: bool = False, device: str = "auto") -> "ServerIndex":
        """Open an index. Raises InputError if there is none, UnavailableError."""

    @property
    @abstractmethod
    def facts(self) -> ServerFacts:
        """The facts on the server, as an update reads and writes them."""

    @property
    @abstractmethod
    def files(self) -> StoredFiles:
        """The model's files on the server."""

    @abstractmethod
    def read_walk(self) -> Mapping[str, Any] | None:
        """The stored rules for pictures; None before the first update."""

    @abstractmethod
    def write_walk(self, settings: Mapping[str, Any]) -> None:
        """Store the rules for pictures."""

    @abstractmethod
    def delete(self) -> None:
        """Delete the index and all its data from the server."""

    @property
    def name(self) -> str:
        """The address, as messages show it."""
        return str(self.url.text)

    def reopen(self) -> "ServerIndex":
        """The index that is now at this address."""
        return self.open(self.url, self.trust_remote_code, self.device)

    @property
    def model_folder(self) -> Path:
        return saved_model.unpacked(self.files, self.folder, self.meta.model)

    @cached_property
    def matcher(self) -> Matcher:
        matcher: Matcher = open_saved(Matcher, self.model_folder, self.trust_remote_code, lambda read: read())
        device = find_device(self.device)
        return matcher.to(device) if on_gpu(device) else matcher

    def check_there(self) -> None:
        """Raise IndexReplaced if another index, or none, is now at this address."""
        self.generation()

    def check_model(self, matcher_folder: str | Path) -> None:
        """Raise InputError if another model made the index."""
        if manifest.identity(Path(matcher_folder)) != self.meta.model:
            raise InputError(
                f"{self.name} was made by another model than {matcher_folder}; vectors of two models "
                "cannot be compared",
                "choose another #name, or leave --model out",
            )

    def adopt_presence(self, model: Path) -> None:
        saved_model.adopt_presence(self.files, model, self.chunk_bytes)

    @contextmanager
    def updating(self, sources: Sequence[Path], progress: Progress) -> Iterator[BatchWriter]:  # noqa: ARG002
        """A copy of the facts below these sources to write in; several processes may update at once."""
        roots = [os.fsencode(os.path.abspath(source)) for source in sources]
        self.check_there()
        writer = MirrorWriter(self.facts, self.meta, self.model_folder, roots)
        try:
            yield writer
        finally:
            writer.close()

    def walk_rules(self) -> WalkRules:
        """The rules for pictures that an update leaves out."""
        settings = self.read_walk()
        return WalkRules() if settings is None else walk_rules.from_settings(settings)

    def remember_rules(self, writer: BatchWriter, rules: WalkRules | None) -> WalkRules:  # noqa: ARG002
        if rules is None:
            return self.walk_rules()
        self.write_walk(asdict(rules))
        return rules

    @classmethod
    @contextmanager
    def begun_or_dropped(cls, url: Any) -> Iterator[None]:
        """Delete the index that the block creates if it fails before the first batch is stored."""
        existed = cls.is_there(url)
        try:
            yield
        except BaseException:
            with suppress(WordsightError):
                if not existed and cls.is_there(url):
                    index = cls.open(url)
                    if index.generation() == 0:
                        index.delete()
            raise
