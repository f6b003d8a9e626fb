"""Caption files and the pictures of a walk -> the captions of each picture, and what is missing."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from wordsight.errors import InputError
from wordsight.read.datasets.dataset import CaptionDataset, Dataset
from wordsight.read.datasets.detect_format import open_dataset
from wordsight.read.datasets.picture_names import PictureFolder
from wordsight.search.index import database
from wordsight.search.index.caption_file import CaptionFile

TABLES = """
DROP TABLE IF EXISTS temp.captions;
CREATE TEMP TABLE captions (
    file INTEGER NOT NULL, path BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY (path, file)
) WITHOUT ROWID;
"""
_COUNTS = """
SELECT count(*), count(f.path), min(CASE WHEN f.path IS NULL THEN c.path END)
FROM temp.captions c LEFT JOIN temp.found f ON f.path = c.path WHERE c.file = ?
"""
_JOIN = """
UPDATE temp.found SET caption =
(SELECT group_concat(text, char(10))
 FROM (SELECT text FROM temp.captions c WHERE c.path = found.path ORDER BY file))
WHERE part = ''
"""


def check(files: Sequence[CaptionFile], sources: Sequence[Path]) -> None:
    """Raises InputError for a caption file none of whose pictures is in the sources, before work is done."""
    roots = [os.path.abspath(source) for source in sources]
    below = tuple(os.path.join(root, "") for root in roots)
    for one in files:
        dataset = _open(one)
        paths = (os.path.abspath(item.picture) for item in dataset.items())
        inside = (path for path in paths if path in roots or path.startswith(below))
        if not any(map(os.path.lexists, inside)):
            raise _none_found(one, dataset, sources)


def join(connection: sqlite3.Connection, files: Sequence[CaptionFile], sources: Sequence[Path]) -> None:
    """Give every found picture its captions, and every file its counts."""
    connection.executescript(TABLES)
    for number, one in enumerate(files):
        dataset = _open(one)
        _load(connection, number, dataset)
        one.named, one.found, missing = connection.execute(_COUNTS, (number,)).fetchone()
        if not one.found:
            raise _none_found(one, dataset, sources)
        one.first_missing = database.shown(missing or b"")
    if files:
        connection.execute(_JOIN)


def _open(one: CaptionFile) -> Dataset:
    columns = {"image_column": one.image_column, "caption_column": one.caption_column}
    return open_dataset(one.file, pictures=one.pictures, **columns)


def _load(connection: sqlite3.Connection, number: int, dataset: Dataset) -> None:
    for item in dataset.items():
        text = database.clean("\n".join(text for text in item.texts if text.strip()))
        connection.execute(
            "INSERT INTO temp.captions VALUES (?, ?, ?) "
            "ON CONFLICT (path, file) DO UPDATE SET text = text || char(10) || excluded.text",
            (number, os.fsencode(os.path.abspath(item.picture)), text),
        )


def _none_found(one: CaptionFile, dataset: Dataset, sources: Sequence[Path]) -> InputError:
    items = dataset.items()
    starts = dataset.folder(one.file, None) if isinstance(dataset, CaptionDataset) else one.file.parent
    fitting = (source for source in sources if os.path.lexists(PictureFolder([source]).find(items[0].name)))
    return InputError(
        f"{one.file} names {len(items):,} pictures, and none of them is among the indexed ones: names start "
        f"from {starts}, and the first was looked for as {items[0].picture}",
        f"name the folder that they start from: --pictures {next(fitting, 'FOLDER')}",
    )
