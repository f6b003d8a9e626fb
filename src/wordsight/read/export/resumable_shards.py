"""Shards written one after the other into a folder that appears when all are there; a killed run goes on.

Until then they are in ``FOLDER.partial``: whole shards, the plan they belong to, and what was left out.
"""

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from wordsight.errors import AlreadyExistsError, InputError
from wordsight.files.atomic import atomic_file
from wordsight.files.lock import LOCK, locked
from wordsight.files.undecodable import exact_bytes
from wordsight.pairs import PairSet
from wordsight.read.datasets.records import same_split
from wordsight.read.datasets.shard_files import shard_name
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.runtime.prefetch import prefetch
from wordsight.runtime.progress import Progress, silent

PLAN, SKIPPED = "conversion.json", "skipped.json"
TRAIN = "train"  # the split that is shuffled and sharded; of the others, one shard holds all
Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Shard:
    """A file to write: its name, and which items of its split go into it."""

    name: str
    split: str
    items: range


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out, and why."""

    picture: str
    reason: str


Done = Callable[[], object]  # called after each item
WriteShard = Callable[[Shard, BinaryIO, Done], Sequence[Skipped]]  # fills the file; returns what it left out


def convert(
    folder: Path,
    plan: dict[str, Any],
    shards: Sequence[Shard],
    write: WriteShard,
    texts: dict[str, str],
    progress: Progress = silent,
) -> list[Skipped]:
    """Write all shards that are not there yet, then ``texts`` by file name; returns what was left out.

    ``plan`` is all that the bytes depend on, as JSON. A folder begun or finished with another plan is an
    error; finished with the same one it stays as it is.
    """
    plan = json.loads(json.dumps(plan))
    if folder.exists() and any(folder.iterdir()):
        _must_be(plan, folder)
        return _left_out(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = locked(partial)
    try:
        _begin(partial, plan)
        total = sum(len(shard.items) for shard in shards)
        done = sum(len(shard.items) for shard in shards if (partial / shard.name).exists())
        progress("pairs", done, total)

        def advance() -> None:
            nonlocal done
            done += 1
            progress("pairs", done, total)

        for shard in shards:
            if not (partial / shard.name).exists():
                _write(partial, shard, write, advance)
        for name, text in texts.items():
            with atomic_file(partial / name) as file:
                file.write(exact_bytes(text))
    finally:
        lock.close()
    (partial / LOCK).unlink()
    partial.rename(folder)
    return _left_out(folder)


def pairs_written(folder: Path, split: str, shards: Sequence[Path]) -> int | None:
    """How many records a conversion to TFRecords left in the shards of a split; None if it is not ours."""
    try:
        splits = json.loads((folder / PLAN).read_bytes())["splits"]
        planned = next(splits[name]["pairs"] for name in same_split(split) if name in splits)
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None
    skipped = _skipped(folder)
    return int(planned) - sum(len(skipped.get(shard.name, ())) for shard in shards)


def _begin(partial: Path, plan: dict[str, Any]) -> None:
    for unfinished in partial.glob(".*"):  # of a run that was killed
        unfinished.unlink()
    if (partial / PLAN).exists():
        _must_be(plan, partial)
    else:
        with atomic_file(partial / PLAN) as file:
            file.write(json.dumps(plan, indent=1).encode())


def _write(partial: Path, shard: Shard, write: WriteShard, done: Done) -> None:
    with atomic_file(partial / shard.name) as file:
        skipped = write(shard, file, done)
        if len(skipped) == len(shard.items):
            raise InputError(
                f"{shard.name} would be empty: none of its {len(skipped)} pictures can be read, the first "
                f"{skipped[0].picture} ({skipped[0].reason}); take fewer shards, or leave this split out"
            )
        file.flush()
        os.fsync(file.fileno())
        if skipped:  # before the shard has its name: what is there is never without its list
            _add_left_out(partial, shard, skipped)


def _must_be(plan: dict[str, Any], folder: Path) -> None:
    if not (folder / PLAN).is_file():
        raise AlreadyExistsError(f"{folder} exists already and is no conversion of ours; name a new folder")
    before = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    different = [
        f"{key} = {_brief(before.get(key))} there, {_brief(plan.get(key))} here"
        for key in sorted({*before, *plan})
        if before.get(key) != plan.get(key)
    ]
    if different:
        raise AlreadyExistsError(
            f"{folder} was made from other data or with other settings ({', '.join(different)}); "
            "name a new folder, delete that one, or take its settings"
        )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _left_out(folder: Path) -> list[Skipped]:
    return [Skipped(*entry) for entries in _skipped(folder).values() for entry in entries]


def _add_left_out(partial: Path, shard: Shard, skipped: Sequence[Skipped]) -> None:
    entries = _skipped(partial) | {shard.name: [[one.picture, one.reason] for one in skipped]}
    with atomic_file(partial / SKIPPED) as file:
        file.write(json.dumps(entries, indent=1).encode())


def _skipped(folder: Path) -> dict[str, list[list[str]]]:
    path = folder / SKIPPED
    entries: dict[str, list[list[str]]] = json.loads(path.read_bytes()) if path.is_file() else {}
    return entries


def cut(split: str, items: int, shards: int, suffix: str = "") -> list[Shard]:
    """The items of a split in shards of nearly equal size."""
    if not 1 <= shards <= items:
        raise InputError(f"{shards} shards were asked for, but {split} has {items} items; take 1 to {items}")
    edges = [items * n // shards for n in range(shards + 1)]
    return [
        Shard(shard_name(split, n, shards, suffix), split, range(edges[n], edges[n + 1]))
        for n in range(shards)
    ]


def readable(
    make: Callable[[Item], Made], items: Iterable[Item], skip: bool, skipped: list[Skipped], done: Done
) -> Iterator[Made]:
    """``make`` of each item, ahead in threads; pictures that cannot be read are an error, or are skipped."""

    def attempt(item: Item) -> Made | Skipped:
        try:
            return make(item)
        except UnreadablePicture as error:
            if skip:
                return Skipped(error.name, error.reason)
            raise InputError(
                f"{error}; repair it, or leave such pictures out with --skip-unreadable; "
                "the finished shards are kept"
            ) from error

    for made in prefetch(attempt, items):
        if isinstance(made, Skipped):
            skipped.append(made)
        else:
            yield made
        done()


def in_published_order(items: Sequence[Item], seed: int | None) -> list[Item]:
    """Shuffled as ``random.shuffle`` of Python 2 does, which CMPL ran on; None keeps the order."""
    shuffled = list(items)
    if seed is not None:
        draw = random.Random(seed)
        for last in range(len(shuffled) - 1, 0, -1):
            other = int(draw.random() * (last + 1))
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
    return shuffled


def digests(splits: Mapping[str, PairSet]) -> dict[str, dict[str, Any]]:
    """Identify a data set: counts, and a hash of names, texts and identities."""
    return {name: counted(pairs) | {"digest": _digest(pairs)} for name, pairs in splits.items()}


def counted(pairs: PairSet) -> dict[str, int]:
    return {
        "pairs": len(pairs),
        "pictures": len(pairs.images),
        "identities": len(set(pairs.identities.tolist())),
    }


def _digest(pairs: PairSet) -> str:
    joined = blake2b(digest_size=16)
    for value in (*pairs.names, *pairs.texts):
        joined.update(exact_bytes(value) + b"\0")
    for numbers in (pairs.image_of, pairs.identities):
        joined.update(numbers.numpy().tobytes())
    return joined.hexdigest()
