"""Shards (large files that hold many pictures and their texts) -> PairSet; pictures are read by their place.

Where each picture is, and what is said of it, is looked up once and kept in ``index-SPLIT.json`` beside the
shards; when a shard changes it is made again. A folder that may not be written to is read without it.
"""

import json
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from wordsight.errors import InputError, MissingFileError
from wordsight.files.atomic import atomic_file
from wordsight.files.fingerprint import stamp_of
from wordsight.pairs import PairSet, Picture, one_identity_per_image
from wordsight.read.datasets.records import same_split
from wordsight.read.pictures.heic import NeedsHeic, open_file
from wordsight.read.pictures.pixel_reader import UnreadablePicture

FORMAT = 1  # of the index
NAME = re.compile(
    r"(?P<split>.+)-(?P<number>\d{5,})-of-(?P<total>\d{5,})(?:\.tfrecords?)?(?P<suffix>(?:\.tar)?)"
)
LOOSE = re.compile(r"(?P<split>.+)-(?P<number>\d+)(?P<suffix>\.tar)")  # as most WebDatasets are named


@dataclass(frozen=True)
class Sample:
    """A picture inside a shard, and what is said of it."""

    shard: int
    number: int  # of the record or the sample in its shard, from 0
    start: int  # the byte of the shard where it begins
    size: int  # bytes
    name: str
    identity: int | None  # None: every picture its own
    texts: list[str]


Scan = Callable[[Path, int], Iterator[Sample]]  # a shard and its number -> what is in it
Pick = Callable[[Path, Sample], bytes]  # a shard and a sample -> the bytes of the picture


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


def shard_name(split: str, number: int, total: int, suffix: str = "") -> str:
    """``train-00003-of-00032``, as CMPL and most of TensorFlow's data sets name them."""
    return f"{split}-{number:05d}-of-{total:05d}{suffix}"


def find_shards(folder: Path, split: str, suffix: str = "") -> list[Path]:
    """All shards of a split, in order. Raises FileNotFoundError for absent ones, ValueError for two sets."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder; give the folder that holds the shards")
    found = {name: shards for name, shards in _by_split(folder, suffix).items() if name in same_split(split)}
    if not found:
        known = ", ".join(_by_split(folder, suffix)) or "none at all"
        raise MissingFileError(
            f"{folder} holds no shards of split {split!r} ({shard_name(split, 0, 1, suffix)} and so on); "
            f"it has {known}"
        )
    shards = next(iter(found.values()))
    _must_be_whole(folder, split, shards)
    return [path for _, _, path in sorted(shards)]


def splits_of_shards(folder: Path, suffix: str = "") -> list[str]:
    """The splits that a folder has shards of."""
    return list(_by_split(folder, suffix))


def _by_split(folder: Path, suffix: str) -> dict[str, list[tuple[int, int | None, Path]]]:
    """Number, total where the name says it, and path of the shards of each split."""
    shards: dict[str, list[tuple[int, int | None, Path]]] = {}
    for path in sorted(folder.iterdir()):
        found = NAME.fullmatch(path.name) or LOOSE.fullmatch(path.name)
        if found and found["suffix"] == suffix:
            total = int(found["total"]) if "total" in found.groupdict() else None
            shards.setdefault(found["split"], []).append((int(found["number"]), total, path))
    return shards


def _must_be_whole(folder: Path, split: str, shards: Sequence[tuple[int, int | None, Path]]) -> None:
    totals = {total for _, total, _ in shards}
    if len(totals) > 1:
        raise InputError(
            f"{folder} holds shards of {split!r} from several conversions (of {sorted(map(str, totals))}); "
            "keep those of one"
        )
    there = {number for number, _, _ in shards}
    (total,) = totals
    expected = set(range(total)) if total is not None else set(range(min(there), max(there) + 1))
    if there != expected:
        absent = sorted(expected - there) or sorted(there - expected)
        what = "misses" if expected - there else "has too many: "
        raise MissingFileError(
            f"{folder} {what} {len(absent)} of the {len(expected)} shards of {split!r}, the first "
            f"number {absent[0]}; fetch them, or let the conversion come to its end"
        )


def shard_pairs(
    folder: Path, split: str, shards: Sequence[Path], scan: Scan, pick: Pick, verified: bool = True
) -> PairSet:
    """The pairs of a split, by its index or by looking through all of its shards.

    ``verified``: whether ``scan`` looks at every byte; an index made without does not do for one with it.
    """
    samples = _indexed(folder / f"index-{split}.json", shards, scan, verified)
    if not samples:
        raise InputError(f"{folder} has shards of split {split!r}, but nothing is in them; write them again")
    identities = [sample.identity for sample in samples if sample.identity is not None]
    known = len(identities) == len(samples)
    return PairSet(
        images=ShardPictures(shards, samples, pick),
        names=[sample.name for sample in samples],
        texts=[text for sample in samples for text in sample.texts],
        image_of=torch.tensor([row for row, sample in enumerate(samples) for _ in sample.texts]),
        identities=torch.tensor(identities) if known else one_identity_per_image(len(samples)),
        source=f"{folder} {split}",
    )


def _indexed(index: Path, shards: Sequence[Path], scan: Scan, verified: bool) -> list[Sample]:
    head = {"format": FORMAT, "shards": [[path.name, *stamp_of(path)] for path in shards]}
    kept = _kept(index, head, verified)
    if kept is not None:
        return kept
    samples = look_through(shards, scan)
    content = head | {"verified": verified, "samples": [astuple(sample) for sample in samples]}
    with suppress(OSError), atomic_file(index) as file:
        file.write(json.dumps(content).encode())
    return samples


def _kept(index: Path, head: dict[str, Any], verified: bool) -> list[Sample] | None:
    try:
        content = json.loads(index.read_bytes())
        same = all(content[key] == value for key, value in head.items())
        if same and content["verified"] >= verified:
            return [Sample(*values) for values in content["samples"]]
    except (OSError, ValueError, KeyError, TypeError):  # none there, or a damaged one: it is made again
        pass
    return None


def look_through(shards: Sequence[Path], scan: Scan) -> list[Sample]:
    """Every picture with all that is said of it, in order of first appearance.

    Samples of equal name and identity are one picture; those without an identity are each their own.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    samples: dict[Hashable, Sample] = {}
    for number, shard in enumerate(tqdm(shards, unit="shard", desc="index", disable=None)):
        for sample in scan(shard, number):
            own = (number, sample.number) if sample.identity is None else sample.identity
            known = samples.setdefault((sample.name, own), sample)
            if known is not sample:
                known.texts.extend(sample.texts)
    return list(samples.values())
