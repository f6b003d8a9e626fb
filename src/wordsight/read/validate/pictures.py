"""Picture files of all splits -> findings: absent ones, empty ones, and the same picture twice."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from wordsight.read.datasets.records import Captioned
from wordsight.read.validate.report import Report, some

HEAD = 4096  # bytes that tell most files of equal size apart


def check_pictures(items: Sequence[Captioned], report: Report) -> None:
    """Check the files without opening the pictures; findings go to the report."""
    sizes = {item.picture: _size(item.picture) for item in items}
    absent = [item for item in items if sizes[item.picture] is None]
    if absent:
        report.add(
            "error",
            f"pictures that do not exist: {len(absent):,} of {len(items):,}",
            some([f"{item.picture} ({item.where})" for item in absent], 2),
            'give the folder that holds them (--pictures; pictures under [data]), or set missing = "skip"',
        )
    empty = [item for item in items if sizes[item.picture] == 0]
    if empty:
        report.add(
            "error",
            f"pictures of zero bytes: {len(empty):,}",
            some([item.picture for item in empty]),
            "fetch them again",
        )
    _check_same(items, [path for path, size in sizes.items() if size], report)


def _check_same(items: Sequence[Captioned], paths: Sequence[Path], report: Report) -> None:
    splits: dict[Path, set[str]] = defaultdict(set)
    for item in items:
        splits[item.picture].add(item.split or "all")
    same = equal_files(paths)
    across = [group for group in same if len(set.union(*(splits[path] for path in group))) > 1]
    if across:
        report.add(
            "error",
            f"pictures in several splits under different names: {len(across):,}",
            some([_group(group, splits) for group in across]),
            "keep each in one split: numbers measured on pictures of the training are too good",
        )
    within = [group for group in same if group not in across]
    if within:
        report.add(
            "warning",
            f"pictures that are in one split several times under different names: {len(within):,}",
            some([_group(group, splits) for group in within]),
            "keep one of each with the captions of all: their captions count as wrong for each other",
        )


def equal_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Groups of files with equal content; whole files are read only if size and beginning are equal."""
    groups = _parted([list(paths)], lambda path: path.stat().st_size)
    groups = _parted(groups, lambda path: _digest(path, HEAD))
    return _parted(groups, lambda path: _digest(path, -1))


def _parted(groups: Iterable[Sequence[Path]], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Groups parted by a key; files that are alone in theirs are dropped."""
    parted: list[list[Path]] = []
    for group in groups:
        by_key: dict[Hashable, list[Path]] = defaultdict(list)
        for path in group:
            by_key[key(path)].append(path)
        parted += [paths for paths in by_key.values() if len(paths) > 1]
    return parted


def _digest(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(count), digest_size=16).digest()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _group(paths: Sequence[Path], splits: dict[Path, set[str]]) -> str:
    return " = ".join(f"{path.name} ({', '.join(sorted(splits[path]))})" for path in paths)
