"""Human relevance as its authors released it: CxC's CSV files, and the ids of COCO's test captions.

``sits_test.csv``       caption, image, agg_score: how well the caption describes the image, 0 to 5
``sis_test.csv``        image1, image2, agg_score: how alike two images are
``sts_test.csv``        caption1, caption2, agg_score: how alike two captions are
``coco_test_ids.npy``   from ECCV Caption: the id of each of the 25,000 test captions, five per image

``sits_val.csv`` and its like are used when they hold the captions that are measured. Captions are named
``COCO_val2014:sentid:732091``, images ``COCO_val2014_000000365325.jpg``; only the numbers count.

Sources: Parekh et al., "Crisscrossed Captions", EACL 2021, and the README of its release;
Chun et al., "ECCV Caption", ECCV 2022. A score of 3 makes a caption and an image a match: this gives the
35,585 pairs of ECCV Caption's own copy of CxC.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wordsight.errors import InputError
from wordsight.files.documents import read_text
from wordsight.files.npy import open_array
from wordsight.read.annotations.coco_instances import coco_id

CAPTION_IDS = "coco_test_ids.npy"
MATCHING = 3.0  # of 5: from this score on, a caption and an image match


@dataclass(frozen=True)
class ScoredPairs:
    """The rows of one CSV file: pairs of ids and their scores."""

    path: Path
    pairs: Sequence[tuple[str, str, float]]

    def matches(self, threshold: float, both_ways: bool = False) -> dict[str, list[str]]:
        """The ids that match each first id, by a score of at least ``threshold``.

        ``both_ways`` also lists the first id of a pair under its second, for items of one kind.
        """
        found: dict[str, list[str]] = {}
        for first, second, score in self.pairs:
            if score >= threshold:
                found.setdefault(first, []).append(second)
                if both_ways:
                    found.setdefault(second, []).append(first)
        return found

    def reversed(self) -> "ScoredPairs":
        return ScoredPairs(self.path, [(second, first, score) for first, second, score in self.pairs])


def find_file(folder: Path, name: str) -> Path | None:
    """A file of this name in the folder or one of its direct subfolders, as releases are unpacked."""
    places = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    return next((place / name for place in places if (place / name).is_file()), None)


def read_scored_pairs(path: Path) -> ScoredPairs:
    """Read one of CxC's CSV files. Raises InputError with the line of what cannot be read."""
    rows = _csv_rows(path)
    head = next(rows, [])
    if len(head) < 3 or head[2] != "agg_score":
        raise InputError(
            f"{path} begins with {','.join(head)[:80]!r}; expected two columns of ids and agg_score",
            "take the aggregated file of the release (sits_test.csv, not sits_test_raw.csv)",
        )
    return ScoredPairs(path, [_scored_pair(row, path, line) for line, row in enumerate(rows, 2) if row])


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """Rows of a CSV file. Raises InputError with the line of what is not CSV."""
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(f"{path} line {rows.line_num}: {error}") from error


def _scored_pair(row: list[str], path: Path, line: int) -> tuple[str, str, float]:
    try:
        first, second, score = coco_id(row[0]), coco_id(row[1]), float(row[2])
    except (IndexError, ValueError):
        first = second = None
    if first is None or second is None:
        raise InputError(
            f"{path} line {line} is {','.join(row)[:80]!r}; expected two ids that end with a number, and a "
            "score"
        )
    return first, second, score


def read_caption_ids(path: Path) -> list[str]:
    """The ids of ``coco_test_ids.npy``, as text."""
    numbers = open_array(path)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(f"{path} has shape {list(numbers.shape)} of {numbers.dtype}; expected a list of ids")
    return [str(number) for number in numbers.tolist()]


def cxc_file(folder: Path, kind: str, known: Sequence[str]) -> ScoredPairs | None:
    """CxC's file of a kind ("sits", "sis", "sts") whose first ids are among the known ones; None without it.

    A release has one for test and one for val, of different pictures; of two that fit neither, the first.
    """
    paths = [find_file(folder, f"{kind}_{split}.csv") for split in ("test", "val")]
    ids, others = set(known), []
    for path in filter(None, paths):
        file = read_scored_pairs(path)
        if any(pair[0] in ids for pair in file.pairs):
            return file
        others.append(file)
    return others[0] if others else None
