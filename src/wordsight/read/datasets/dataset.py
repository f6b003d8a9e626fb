"""A format of data sets as one class: a path is recognized, read by split, and checked.

To add a format, derive from ``CaptionDataset`` (picture files with captions) or from ``Dataset`` (anything
else) and register the class in the entry-point group ``wordsight.dataset``; see docs/extending.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from wordsight.errors import InputError
from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.division import divide
from wordsight.read.datasets.picture_names import PictureFolder, picture_folder
from wordsight.read.datasets.records import (
    Captioned,
    Missing,
    of_split,
    pair_set,
    placed,
    same_split,
    split_order,
)

if TYPE_CHECKING:
    from wordsight.read.validate.captions import Texts
    from wordsight.read.validate.report import Report


class Dataset(ABC):
    """Pairs of pictures and texts on disk, in one format.

    The arguments of ``__init__`` are the settings that [data] and the commands offer for this format.
    """

    kind: ClassVar[str]  # what a report calls the format, for instance "Karpathy's caption JSON"

    @classmethod
    def detect(cls, path: Path) -> bool:  # noqa: ARG003
        """Whether the file or folder is in this format; asked of every format, so it reads little."""
        return False

    @abstractmethod
    def splits(self) -> list[str]:
        """The splits by the names that the files give them; none where all pairs are in one."""

    @abstractmethod
    def read(self, split: str | None = None) -> PairSet:
        """The pairs of one split, by any of its names; of None, all of data without splits."""

    def texts(self, splits: Sequence[str] | None = None) -> list[str]:
        """The texts of some splits (of all: None) in their order; pictures need not be there."""
        return [text for split in self.chosen(splits) for text in self.read(split).texts]

    def items(self) -> list[Captioned]:
        """Every picture file of every split with its captions; InputError where pictures are no files."""
        items: list[Captioned] = []
        for split in self.chosen(None):
            pairs = self.read(split)
            if not isinstance(pairs.images, PictureFiles):
                raise InputError(
                    f"{self.kind}: its pictures are no files, and this needs picture files",
                    "name their folder, if the format has one: --pictures FOLDER",
                )
            texts = pairs.texts_by_image()
            for path, name, own in zip(pairs.images.paths, pairs.names, texts, strict=True):
                said = [pairs.texts[text] for text in own]
                items.append(Captioned(path, name, said, [name] * len(said), name, split))
        return items

    def pictures_named(self) -> list[Path]:
        """The picture file of every picture; captions need not be there."""
        return [item.picture for item in self.items()]

    def check(self, report: "Report") -> "list[Texts]":
        """Add what is wrong to the report, each with place and remedy; return the captions of every split."""
        from wordsight.read.validate.captions import texts_of_pairs

        found = []
        for split in self.chosen(None):
            try:
                found.append(texts_of_pairs(split or "all", self.read(split)))
            except (ValueError, OSError) as error:
                report.add_error(error, split or self.kind)
        return found

    def chosen(self, splits: Sequence[str] | None) -> list[str | None]:
        """The data set's own names of these splits; data without splits has one, None, for all of them."""
        there = self.splits()
        if not there or splits is None:
            return list(there) or [None]
        chosen: list[str | None] = []
        for split in splits:
            own = [name for name in same_split(split) if name in there]
            if not own:
                raise InputError(f"{self.kind} has no split {split!r}; it has {', '.join(there)}")
            chosen += own
        return list(dict.fromkeys(chosen))


class CaptionDataset(Dataset):
    """Base of the formats whose files name picture files and what is said of them.

    ``path``: the file or folder; ``{split}`` in it is replaced by the split. ``pictures``: the folder that
    relative picture paths start from, by default beside the file. ``missing``: what becomes of pictures that
    do not exist ("error", "skip" or "keep"). ``drop_empty`` leaves out empty captions, and pictures without
    any.
    """

    without_splits: ClassVar[str] = "write one file per split, and {split} in its path"
    shares: str | None = None  # a division by chance, of a data set without splits
    seed: int = 0

    def __init__(
        self,
        path: str | Path,
        pictures: str | Path | None = None,
        missing: Missing = "error",
        drop_empty: bool = False,
    ) -> None:
        self.path, self.pictures, self.missing, self.drop_empty = path, pictures, missing, drop_empty
        self._items: dict[str | None, list[Captioned]] = {}

    @abstractmethod
    def load(self, source: Path, folder: PictureFolder) -> list[Captioned]:
        """Every picture of the file, in its order; ``folder.find(name)`` gives the path of a picture."""

    def items(self) -> list[Captioned]:
        return self.items_for(None)

    def splits(self) -> list[str]:
        return sorted({item.split for item in self.items() if item.split is not None}, key=split_order)

    def read(self, split: str | None = None) -> PairSet:
        items = self.items_for(split)
        if split is not None and "{split}" not in str(self.path):
            items = self.of_split(items, split)
        return pair_set(items, self.source(split), self.missing, self.drop_empty)

    def texts(self, splits: Sequence[str] | None = None) -> list[str]:
        items = self.items()
        if splits is None or not any(item.split for item in items):
            return [text for item in items for text in item.texts]
        return [text for split in splits for item in self.of_split(items, split) for text in item.texts]

    def check(self, report: "Report") -> "list[Texts]":
        from wordsight.read.validate.items import check_items

        return check_items(self.items(), self.pictures is not None, report)

    def source(self, split: str | None) -> Path:
        """The file or folder itself, that of the split where there is one for each."""
        return placed(self.path, split)

    def folder(self, source: Path, split: str | None) -> PictureFolder:
        """Where the pictures of the file are looked up."""
        return picture_folder(source, self.pictures, split)

    def items_for(self, split: str | None) -> list[Captioned]:
        """The pictures of the file that the split is in, read once; all splits of that file."""
        key = split if "{split}" in str(self.path) else None
        if key not in self._items:
            source = self.source(split)
            self._items[key] = self._divided(self.load(source, self.folder(source, split)), source)
        return self._items[key]

    def of_split(self, items: Sequence[Captioned], split: str) -> list[Captioned]:
        """The pictures of one split. Raises InputError where there are none, or no splits at all."""
        source = self.source(split)
        if all(item.split is None for item in items):
            raise InputError(
                f"{source} has no splits, so split {split!r} cannot be chosen", self.without_splits
            )
        return of_split(items, split, source)

    def _divided(self, items: list[Captioned], source: Path) -> list[Captioned]:
        if self.shares is None:
            return items
        own = next((item.split for item in items if item.split is not None), None)
        if own is not None:
            raise InputError(
                f"{source} has splits of its own, for instance {own!r}", f"leave out split = {self.shares!r}"
            )
        keys = [item.name if item.identity is None else f"identity {item.identity}" for item in items]
        splits = divide(keys, self.shares, self.seed)
        return [replace(item, split=split) for item, split in zip(items, splits, strict=True)]
