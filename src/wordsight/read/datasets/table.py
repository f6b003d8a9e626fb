"""A table of picture paths and captions: CSV, TSV, JSON lines, a JSON list, ``token.txt`` -> pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError
from wordsight.files.documents import field, outline
from wordsight.files.tables import Row, header_of, is_token_file, kind_of, read_rows
from wordsight.read.datasets.columns import Columns, find_column, known_columns
from wordsight.read.datasets.dataset import CaptionDataset
from wordsight.read.datasets.picture_names import PictureFolder
from wordsight.read.datasets.records import Captioned, Missing, same_split
from wordsight.read.datasets.values import captions_of, identifier_of, listed_in
from wordsight.read.validate.items import note_without_splits

if TYPE_CHECKING:
    from wordsight.read.validate.captions import Texts
    from wordsight.read.validate.report import Report

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".token")


class Table(CaptionDataset):
    """A table with a column of pictures and one of captions.

    Columns are found by the names that the field gives them (docs/data.md) unless set. Several rows of one
    picture, or a list in one row, are several captions. Pictures of equal identity belong together (persons).
    Without a column of splits, ``split`` ("80/10/10") divides by picture, in the order that ``seed`` draws.
    """

    kind = "table of pictures and captions"
    without_splits = (
        "add a column named split (train, val, test), or name it: --split-column NAME; divide the pictures "
        'by chance: --split 80/10/10, or split under [data]; or keep one file per split: path = "{split}.csv"'
    )

    def __init__(
        self,
        path: str | Path,
        pictures: str | Path | None = None,
        image_column: str | None = None,
        caption_column: str | None = None,
        split_column: str | None = None,
        identity_column: str | None = None,
        split: str | None = None,
        seed: int = 0,
        missing: Missing = "error",
        drop_empty: bool = False,
    ) -> None:
        super().__init__(path, pictures, missing, drop_empty)
        self.columns = Columns(image_column, caption_column, split_column, identity_column)
        self.shares, self.seed = split, seed

    @classmethod
    def detect(cls, path: Path) -> bool:
        """By its suffix; a .txt by its beginning, since some data sets call their tables so."""
        if not path.is_file():
            return False
        kind = kind_of(path)
        if kind == ".json":
            found = outline(path)
            return found is not None and found.is_list
        if kind == ".tsv":
            _must_not_be_features(path)
        return kind in TABLE_SUFFIXES or (kind == ".txt" and _begins_as_table(path))

    def load(self, source: Path, folder: PictureFolder) -> list[Captioned]:
        """In order of first appearance."""
        rows = read_rows(source)
        columns = self.columns.among(_names(rows), source)
        groups: dict[tuple[str, str | None], list[Row]] = {}
        for row in rows:
            name = _cell(row, columns.image, source)
            if not name:
                raise InputError(f"{source} {row.place}: no picture is named in column {columns.image}")
            groups.setdefault((name, _cell(row, columns.split, source)), []).append(row)
        return [_item(name, split, own, columns, folder, source) for (name, split), own in groups.items()]

    def pictures_named(self) -> list[Path]:
        source = self.source(None)
        rows, folder = read_rows(source), self.folder(source, None)
        column = find_column("image", self.columns.image, _names(rows), source)
        return [folder.find(name) for row in rows if (name := _cell(row, column, source))]

    def texts(self, splits: Sequence[str] | None = None) -> list[str]:
        """The table need not name pictures, unless they are divided by chance."""
        if splits is not None and self.shares is not None:
            return super().texts(splits)
        source = self.source(None)
        rows = read_rows(source)
        column = find_column("split", self.columns.split, _names(rows), source, needed=False)
        if splits is not None and column is not None:
            rows = [row for split in splits for row in _of_split(rows, split, column, source)]
        column = find_column("caption", self.columns.caption, _names(rows), source)
        return [text for row in rows for text, _ in _captions(row, column, source)]

    def check(self, report: "Report") -> "list[Texts]":
        note_without_splits(self.items(), self.without_splits, report)
        return super().check(report)


def _of_split(rows: Sequence[Row], split: str, column: str, path: Path) -> list[Row]:
    chosen = [row for row in rows if _cell(row, column, path) in same_split(split)]
    if not chosen:
        known = dict.fromkeys(str(_cell(row, column, path)) for row in rows)
        raise InputError(f'{path} has no rows of split "{split}"; it has {", ".join(known)}')
    return chosen


def _names(rows: Sequence[Row]) -> list[str]:
    """The names of the columns; in JSON lines, of all that any row has."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def _item(
    name: str, split: str | None, rows: Sequence[Row], columns: Columns, folder: PictureFolder, path: Path
) -> Captioned:
    said = [found for row in rows for found in _captions(row, columns.caption, path)]
    identities = {_cell(row, columns.identity, path): row.place for row in rows}
    if len(identities) > 1:
        raise InputError(
            f"{path}: picture {name} has several identities: "
            + ", ".join(f"{identity} ({place})" for identity, place in identities.items())
        )
    return Captioned(
        picture=folder.find(name),
        name=name,
        texts=[text for text, _ in said],
        places=[place for _, place in said],
        where=rows[0].place,
        split=split,
        identity=next(iter(identities)),
    )


def _cell(row: Row, column: str | None, path: Path) -> str | None:
    """The text of a cell; None without such a column, or where nothing is in it."""
    value: Any = None if column is None else field(row.values, column, row.place, path)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return identifier_of(value, f"{row.place} {column}", path)


def _captions(row: Row, column: str | None, path: Path) -> list[tuple[str, str]]:
    """The captions of a row with their places: one, a list in JSON, or a list as text in one cell."""
    value: Any = field(row.values, str(column), row.place, path)
    return captions_of(listed_in(value), f"{row.place} {column}", path)


def _begins_as_table(path: Path) -> bool:
    """Whether the first line names columns of pictures and captions, or is one of token.txt."""
    names = header_of(path)
    return is_token_file(path) or all(known_columns(what, names) for what in ("image", "caption"))


def _must_not_be_features(path: Path) -> None:
    with path.open("rb") as file:
        if file.readline(2**16).count(b"\t") == 5 and not known_columns("caption", header_of(path)):
            raise InputError(
                f"{path} looks like bottom-up-attention features; make a precomputed folder of it with "
                "wordsight data convert, and give that"
            )
