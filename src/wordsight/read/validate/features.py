"""Feature files of all splits -> findings: NaN, zeros, ids that do not fit, the same image in two splits."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from wordsight.read.validate.captions import CONTAINED
from wordsight.read.validate.report import Report, some

CHUNK = 64 * 2**20  # bytes of features per block


@dataclass
class Scan:
    """Result of one pass over a feature file."""

    path: Path
    split: str
    size: int  # numbers per region
    not_finite: list[int] = field(default_factory=list)  # rows
    zero: list[int] = field(default_factory=list)  # rows
    digests: list[bytes] = field(default_factory=list)  # one per row


def scan_features(path: Path, split: str, features: np.ndarray) -> Scan:
    """Read every row once, a chunk at a time."""
    scan = Scan(path, split, features.shape[-1])
    for start, rows in _chunks(features):
        flat = rows.reshape(len(rows), -1)
        scan.not_finite += (np.flatnonzero(~np.isfinite(flat).all(1)) + start).tolist()
        scan.zero += (np.flatnonzero(~flat.any(1)) + start).tolist()
        scan.digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
    return scan


def _chunks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    count = max(1, CHUNK // max(1, features[0].nbytes))
    for start in range(0, len(features), count):
        yield start, np.ascontiguousarray(features[start : start + count])


def check_scan(scan: Scan, ids: Sequence[str] | None, report: Report) -> None:
    """Check one file; findings go to the report."""
    name = scan.path.name
    if scan.not_finite:
        report.add(
            "error",
            f"rows of {name} with NaN or infinity: {len(scan.not_finite):,}",
            f"{name} rows {some(scan.not_finite, 8)}",
            "make the features of these images again, or fetch the file again",
        )
    if scan.zero:
        report.add(
            "error",
            f"rows of {name} with nothing but zeros: {len(scan.zero):,}",
            f"{name} rows {some(scan.zero, 8)}",
            "the file was probably not written to its end: make or fetch it again",
        )
    if ids is not None:
        _check_ids(scan, ids, report)


def _check_ids(scan: Scan, ids: Sequence[str], report: Report) -> None:
    """Rows of one id must be equal; equal rows of several ids are the same image twice."""
    contents: dict[str, set[bytes]] = defaultdict(set)
    owners: dict[bytes, set[str]] = defaultdict(set)
    skipped = set(scan.zero)
    for row, (name, digest) in enumerate(zip(ids, scan.digests, strict=True)):
        contents[name].add(digest)
        if row not in skipped:
            owners[digest].add(name)
    torn = [name for name, digests in contents.items() if len(digests) > 1]
    if torn:
        report.add(
            "error",
            f"ids of {scan.split} whose rows differ: {len(torn):,}",
            f"{scan.split}_ids.txt, ids {some(torn)}",
            "ids and features are not of one release, or not in one order: fetch both from one place",
        )
    twice = [sorted(names) for names in owners.values() if len(names) > 1]
    if twice:
        report.add(
            "warning",
            f"images of {scan.split} with equal features under different ids: {len(twice):,}",
            some([" = ".join(names[:4]) for names in twice]),
            "keep one of each with the captions of all: their captions count as wrong for each other",
        )


def _first_rows(scan: Scan) -> dict[bytes, int]:
    """The first row of every content but zeros."""
    rows: dict[bytes, int] = {}
    for row, digest in enumerate(scan.digests):
        rows.setdefault(digest, row)
    for row in scan.zero:
        rows.pop(scan.digests[row], None)
    return rows


def check_across(scans: Sequence[Scan], report: Report) -> None:
    """Features of another size than the first split's, or the same in two; appended to the report."""
    other_size = [scan for scan in scans if scan.size != scans[0].size]
    if other_size:
        report.add(
            "error",
            "features of several sizes: a model reads one",
            ", ".join(
                f"{scan.size:,} numbers per region in {scan.path.name}" for scan in [scans[0], *other_size]
            ),
            "make or fetch the features of all splits in one way",
        )
    for one, other in combinations(scans, 2):
        if {one.split, other.split} in CONTAINED:
            continue
        here, there = _first_rows(one), _first_rows(other)
        pairs = {here[digest]: there[digest] for digest in here if digest in there}
        if pairs:
            report.add(
                "error",
                f"images with the same features in {one.split} and in {other.split}: {len(pairs):,}",
                some([f"{one.path.name} row {a} = {other.path.name} row {b}" for a, b in pairs.items()]),
                "keep each image in one split: numbers measured on images of the training are too good",
            )
