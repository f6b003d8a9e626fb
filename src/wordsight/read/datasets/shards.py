"""Shards (large files that hold many pictures and their texts) -> PairSet; pictures are read by their place.

Where each picture is, and what is said of it, is looked up once and kept in ``index-SPLIT.json`` beside the
shards; when a shard changes it is made again. A folder that may not be written to is read without it.
"""

import json
import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file
from wordsight.files.fingerprint import stamp_of
from wordsight.pairs import PairSet, Picture, one_identity_per_image
from wordsight.read.datasets.dataset import Dataset
from wordsight.read.datasets.division import NAMES, divide
from wordsight.read.datasets.records import placed, same_split
from wordsight.read.datasets.shard_files import find_shards, shards_by_split
from wordsight.read.datasets.shard_samples import Pick, Sample, look_through
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.read.pictures.heic import NeedsHeic, open_file
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.read.validate.captions import Texts
    from wordsight.read.validate.report import Report

_log = logging.getLogger(__name__)
FORMAT = 2  # of the index


@dataclass(frozen=True, eq=False)
class ShardPictures:
    """Pictures inside shards: an image source that holds none of them."""

    shards: Sequence[Path]
    samples: Sequence[Sample]
    pick: Pick

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, rows: Sequence[int]) -> list[Picture]:
        """Opened pictures, not yet decoded. Raises UnreadablePicture with the shard and the place in it."""
        return [self._opened(self.samples[row]) for row in rows]

    def _opened(self, sample: Sample) -> Picture:
        shard = self.shards[sample.shard]
        name = f"{shard}: picture {sample.name} (record {sample.number})"
        content = self.pick(shard, sample)
        try:
            picture = open_file(BytesIO(content))
        except NeedsHeic as error:
            raise UnreadablePicture(name, str(error)) from error
        except Exception as error:  # Pillow raises nearly every class on a malformed head
            reason = f"its {len(content):,} bytes are not a picture that Pillow knows; write it again"
            raise UnreadablePicture(name, reason) from error
        picture.filename = name  # for messages about what cannot be decoded
        return picture


class ShardDataset(Dataset):
    """Base of the formats that keep pictures inside large files."""

    suffix: ClassVar[str] = ""
    without_splits: ClassVar[str] = "name the shards by their split: train-000000.tar"
    path: str | Path
    verified = True  # whether ``scan`` looks at every byte: an index made without does not do for one with it
    drop_empty = False
    caption_column: str | None = None  # the key of the captions, where they have one
    shares: str | None = None  # a division by chance, of shards without splits
    seed = 0

    @classmethod
    def detect(cls, path: Path) -> bool:
        return path.is_dir() and bool(shards_by_split(path, cls.suffix))

    @abstractmethod
    def scan(self, shard: Path, number: int) -> Iterator[Sample]:
        """Every picture in a shard and what is said of it. Raises InputError with shard and place."""

    @abstractmethod
    def pick(self, shard: Path, sample: Sample) -> bytes:
        """The bytes of a picture."""

    def splits(self) -> list[str]:
        if self.shares is not None:
            return list(NAMES)
        return [split for split in shards_by_split(Path(self.path), self.suffix) if split is not None]

    def read(self, split: str | None = None) -> PairSet:
        """Raises MissingFileError for absent shards, InputError for damaged ones."""
        folder = placed(self.path, split)
        own = self._own_split(folder, split)
        shards = find_shards(folder, own, self.suffix)
        samples = self._indexed(folder, own, shards)
        if problem := self.not_all(folder, own, shards, sum(len(sample.texts) for sample in samples)):
            raise InputError(f"{folder}: {problem}; fetch or write this split again")
        samples = with_captions(samples, shards, self.drop_empty)
        if split is not None and self.shares is not None:
            samples = self._drawn(samples, split)
        return pair_set(folder, own, shards, samples, self.pick)

    def check(self, report: "Report") -> "list[Texts]":
        from wordsight.read.validate.shards import check_shards

        return check_shards(self, Path(self.path), report)

    def _indexed(self, folder: Path, split: str | None, shards: Sequence[Path]) -> list[Sample]:
        """The samples of the shards by their index, or by looking through all of them."""
        index = folder / f"index-{split or 'all'}.json"
        names = [path.relative_to(folder).as_posix() for path in shards]
        stamps = [[name, *stamp_of(path)] for name, path in zip(names, shards, strict=True)]
        head = {"format": FORMAT, "captions": self.caption_column, "shards": stamps}
        stored = _stored(index, head, self.verified)
        if stored is not None:
            return stored
        samples = look_through(shards, self.scan)
        content = head | {"verified": self.verified, "samples": [astuple(sample) for sample in samples]}
        with suppress(OSError), atomic_file(index) as file:
            file.write(json.dumps(content).encode())
        return samples

    def not_all(self, folder: Path, split: str | None, shards: Sequence[Path], found: int) -> str:  # noqa: ARG002
        """Why so many pairs are not all that were written; else empty."""
        return ""

    def _own_split(self, folder: Path, split: str | None) -> str | None:
        """The split that the shards are to have in their names; None for shards that have none."""
        there = list(shards_by_split(folder, self.suffix)) if folder.is_dir() else []
        names = [name for name in there if name is not None]
        if self.shares is not None and names:
            hint = f"leave out split = {self.shares!r}"
            raise InputError(f"{folder} has splits of its own: {', '.join(names)}", hint)
        if there != [None]:
            return split
        if split is not None and self.shares is None:
            what = f"{folder} has no splits, so split {split!r} cannot be chosen"
            raise InputError(what, self.without_splits)
        return None

    def _drawn(self, samples: Sequence[Sample], split: str) -> list[Sample]:
        keys = [
            sample.name if sample.identity is None else f"identity {sample.identity}" for sample in samples
        ]
        drawn = divide(keys, str(self.shares), self.seed)
        return [sample for sample, own in zip(samples, drawn, strict=True) if own in same_split(split)]


def with_captions(samples: list[Sample], shards: Sequence[Path], drop_empty: bool) -> list[Sample]:
    """The samples, all of which have captions; those without are an error, or left out."""
    silent = [sample for sample in samples if not any(sample.texts)]
    if not silent:
        return samples
    if not drop_empty:
        first = silent[0]
        raise InputError(
            f"{shards[first.shard]}: pictures without a caption: {len(silent)} of {len(samples)}, the first "
            f"{first.name} (sample {first.number})",
            "expected captions in its .json or lines in its .txt; or set drop_empty = true under [data]",
        )
    return [sample for sample in samples if any(sample.texts)]


def pair_set(
    folder: Path, split: str | None, shards: Sequence[Path], samples: Sequence[Sample], pick: Pick
) -> PairSet:
    """The samples as pairs. Raises InputError where there are none."""
    if not samples:
        what = f"shards of split {split!r}" if split else "shards"
        raise InputError(f"{folder} has {what}, but nothing is in them; write them again")
    identities = [sample.identity for sample in samples if sample.identity is not None]
    known = len(identities) == len(samples)
    return PairSet(
        images=ShardPictures(shards, samples, pick),
        names=[sample.name for sample in samples],
        texts=[text for sample in samples for text in sample.texts],
        image_of=torch.tensor([row for row, sample in enumerate(samples) for _ in sample.texts]),
        identities=torch.tensor(identities) if known else one_identity_per_image(len(samples)),
        source=f"{folder} {split or ''}".strip(),
    )


def _stored(index: Path, head: dict[str, Any], verified: bool) -> list[Sample] | None:
    try:
        content = json.loads(index.read_bytes())
        same = all(content[key] == value for key, value in head.items())
        if same and content["verified"] >= verified:
            return [Sample(*values) for values in content["samples"]]
    except (OSError, ValueError, KeyError, TypeError):  # none there, or a damaged one: it is made again
        pass
    return None
