"""A folder -> its shards by split: ``train-00000-of-00032``, ``train-000000.tar``, ``00000.tar``."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.read.datasets.records import ORDER, same_split, split_order
from wordsight.read.pictures.walk import is_picture

NAME = re.compile(
    r"(?P<split>.+)-(?P<number>\d{5,})-of-(?P<total>\d{5,})(?:\.tfrecords?)?(?P<suffix>(?:\.tar)?)"
)
LOOSE = re.compile(r"(?:(?P<split>.+)-)?(?P<number>\d+)(?P<suffix>\.tar)")  # as most WebDatasets are named


@dataclass(frozen=True)
class ShardFile:
    """A shard and what its name says."""

    path: Path
    split: str | None  # None: img2dataset's shards have only numbers
    number: int
    total: int | None  # None: not in the name


def shard_name(split: str, number: int, total: int, suffix: str = "") -> str:
    """``train-00003-of-00032``, as CMPL and most of TensorFlow's data sets name them."""
    return f"{split}-{number:05d}-of-{total:05d}{suffix}"


def find_shards(folder: Path, split: str | None, suffix: str = "") -> list[Path]:
    """All shards of a split, in order; of None, of data without splits.

    Raises MissingFileError for absent ones, InputError for shards of two conversions.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder; give the folder that holds the shards")
    there = shards_by_split(folder, suffix)
    names = (None,) if split is None else same_split(split)
    found = next((there[name] for name in names if name in there), None)
    if found is None:
        known = ", ".join(name or "shards without a split" for name in there) or "none at all"
        if split is None:
            raise MissingFileError(f"{folder} is read by split; it has {known}")
        example = shard_name(split, 0, 1, suffix)
        raise MissingFileError(
            f"{folder} holds no shards of split {split!r} ({example} and so on); it has {known}"
        )
    for home in dict.fromkeys(shard.path.parent for shard in found):
        _must_be_whole(home, split, [shard for shard in found if shard.path.parent == home])
    return [shard.path for shard in sorted(found, key=lambda shard: (shard.path.parent, shard.number))]


def shards_by_split(folder: Path, suffix: str = "") -> dict[str | None, list[ShardFile]]:
    """The shards in a folder, or where it has none itself in the folders below it, train first.

    Shards without a split in their name have that of the first subfolder, if it is called as one.
    """
    shards: list[ShardFile] = []
    for home, folders, names in os.walk(folder):
        folders.sort()
        shards += _shards(folder, Path(home), sorted(names), suffix)
        if (shards and Path(home) == folder) or any(map(is_picture, names)):
            break  # all are here; or these are pictures, of which there may be very many
    splits = sorted({shard.split for shard in shards}, key=lambda split: split_order(split or ""))
    return {split: [shard for shard in shards if shard.split == split] for split in splits}


def _shards(folder: Path, home: Path, names: Sequence[str], suffix: str) -> list[ShardFile]:
    shards = []
    for name in names:
        found = NAME.fullmatch(name) or LOOSE.fullmatch(name)
        if found and found["suffix"] == suffix:
            path = home / name
            first = path.relative_to(folder).parts[0]
            split = found["split"] or (first if first in ORDER else None)
            total = int(found["total"]) if "total" in found.groupdict() else None
            shards.append(ShardFile(path, split, int(found["number"]), total))
    return shards


def _must_be_whole(folder: Path, split: str | None, shards: Sequence[ShardFile]) -> None:
    which = "" if split is None else f" of {split!r}"
    totals = {shard.total for shard in shards}
    if len(totals) > 1:
        raise InputError(
            f"{folder} holds shards{which} from several conversions (of {sorted(map(str, totals))}); "
            "keep those of one"
        )
    there = {shard.number for shard in shards}
    (total,) = totals
    expected = set(range(total)) if total is not None else set(range(min(there), max(there) + 1))
    if there != expected:
        absent = sorted(expected - there) or sorted(there - expected)
        what = "misses" if expected - there else "has too many: "
        raise MissingFileError(
            f"{folder} {what} {len(absent)} of the {len(expected)} shards{which}, the first "
            f"number {absent[0]}; fetch them, or let the conversion come to its end"
        )
