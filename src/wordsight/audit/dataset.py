"""A data set on disk -> all its splits as one list of pictures and captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wordsight.errors import InputError
from wordsight.pairs import ImageSource, PairSet, Picture, PictureFiles
from wordsight.read.datasets.dataset import Dataset
from wordsight.sets import Pixels, Regions

ALL = "all"  # the split of data without splits


@dataclass(frozen=True, eq=False)
class AuditedSplit:
    """One split, and where its pictures and captions begin in the whole."""

    name: str
    pairs: PairSet
    first_picture: int
    first_text: int


@dataclass(frozen=True, eq=False)
class AuditedData:
    """Pictures and captions of some splits, numbered through."""

    splits: tuple[AuditedSplit, ...]

    @staticmethod
    def of(splits: Sequence[tuple[str, PairSet]]) -> "AuditedData":
        """Splits without captions are left out. Raises InputError where there is no caption at all."""
        parts: list[AuditedSplit] = []
        pictures = texts = 0
        for name, pairs in splits:
            if not len(pairs):
                continue
            parts.append(AuditedSplit(name, pairs, pictures, texts))
            pictures, texts = pictures + len(pairs.images), texts + len(pairs.texts)
        if not texts:
            raise InputError("the data has no captions, so there is nothing to audit")
        return AuditedData(tuple(parts))

    @staticmethod
    def read(dataset: Dataset, splits: Sequence[str] | None, features: Path | None = None) -> "AuditedData":
        """Some splits of a data set (None: all); its pictures as stored features if a folder is given."""
        read = [(split or ALL, dataset.read(split)) for split in dataset.chosen(splits)]
        return AuditedData.of([(split, _with_features(pairs, features)) for split, pairs in read])

    @cached_property
    def names(self) -> list[str]:
        return [name for split in self.splits for name in split.pairs.names]

    @cached_property
    def texts(self) -> list[str]:
        return [text for split in self.splits for text in split.pairs.texts]

    @cached_property
    def image_of(self) -> list[int]:
        """For each caption, the number of its picture."""
        return [split.first_picture + row for split in self.splits for row in split.pairs.image_of.tolist()]

    @cached_property
    def texts_of(self) -> list[list[int]]:
        """For each picture, the numbers of its captions."""
        texts: list[list[int]] = [[] for _ in self.names]
        for text, picture in enumerate(self.image_of):
            texts[picture].append(text)
        return texts

    @cached_property
    def identities(self) -> list[tuple[str, int]]:
        """For each picture, its identity within its split, whose captions fit all its pictures."""
        return [(one.name, row) for one in self.splits for row in one.pairs.identities.tolist()]

    @cached_property
    def split_of(self) -> list[str]:
        """For each picture, its split."""
        return [split.name for split in self.splits for _ in split.pairs.names]

    @cached_property
    def paths(self) -> list[Path] | None:
        """The file of each picture; None where the data holds no files."""
        sources = [_files(split.pairs.images) for split in self.splits]
        if any(source is None for source in sources):
            return None
        return [path for source in sources if source is not None for path in source]


@dataclass(frozen=True)
class FeaturesOfFiles:
    """Stored features that stand in for picture files, whose paths they keep."""

    source: ImageSource
    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.source)

    def read(self, rows: Sequence[int]) -> Regions | Pixels | list[Picture]:
        return self.source.read(rows)


def _files(images: ImageSource) -> Sequence[Path] | None:
    return images.paths if isinstance(images, PictureFiles | FeaturesOfFiles) else None


def _with_features(pairs: PairSet, folder: Path | None) -> PairSet:
    if folder is None:
        return pairs
    from wordsight.read.features.store import FeatureStore

    if not isinstance(pairs.images, PictureFiles):
        raise InputError(
            f"--features {folder}: stored features stand in for picture files, but this data has none",
            "leave --features out",
        )
    paths = pairs.images.paths
    return pairs.with_images(FeaturesOfFiles(FeatureStore.open(folder).source(paths), paths))
