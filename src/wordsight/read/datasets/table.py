"""The rows of a table -> pictures with captions; which column holds what is found by name, or told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.documents import Row, field, header_of, is_token_file, read_rows
from wordsight.read.datasets.records import Captioned

KNOWN = {
    "picture": ("image", "image_path", "image_file", "image_name", "picture", "path", "file", "file_path",
                "file_name", "filepath", "filename", "img", "img_path", "photo"),
    "caption": ("caption", "captions", "text", "texts", "sentence", "sentences", "description", "comment",
                "raw"),
    "split": ("split", "partition", "subset"),
    "identity": ("identity", "person_id", "person", "pid"),
}  # fmt: skip


SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".token")


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its suffix; a .txt, by its beginning: some data sets call theirs so."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix.lower() != ".txt":
        return suffix.lower() in SUFFIXES
    names = [name.lower() for name in header_of(path)]
    known = (any(name in KNOWN[what] for name in names) for what in ("picture", "caption"))
    return is_token_file(path) or all(known)


@dataclass(frozen=True)
class Columns:
    """Which column holds what; None: found by its name, and split and identity may be absent."""

    picture: str | None = None
    caption: str | None = None
    split: str | None = None
    identity: str | None = None


def table_items(path: Path, folder: Path, columns: Columns) -> list[Captioned]:
    """Every picture of the table with all its captions, in order of first appearance."""
    rows = read_rows(path)
    columns = _found(columns, list(dict.fromkeys(name for row in rows for name in row.values)), path)
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        name = _cell(row, columns.picture, path)
        if not name:
            raise InputError(f"{path} line {row.line}: no picture is named in column {columns.picture}")
        groups.setdefault((name, _cell(row, columns.split, path)), []).append(row)
    return [_item(name, split, group, columns, folder, path) for (name, split), group in groups.items()]


def table_texts(path: Path) -> list[str]:
    """The captions of a table, which need not name pictures."""
    rows = read_rows(path)
    column = _column("caption", None, list(rows[0].values), path, needed=True)
    return [text for row in rows for text in _texts(row, column, path)]


def _item(
    name: str, split: str | None, rows: Sequence[Row], columns: Columns, folder: Path, path: Path
) -> Captioned:
    said = [(text, f"line {row.line}") for row in rows for text in _texts(row, columns.caption, path)]
    identities = {_cell(row, columns.identity, path): row.line for row in rows}
    if len(identities) > 1:
        raise InputError(
            f"{path}: picture {name} has several identities: "
            + ", ".join(f"{identity} (line {line})" for identity, line in identities.items())
        )
    return Captioned(
        picture=folder / name,
        name=name,
        texts=[text for text, _ in said],
        places=[place for _, place in said],
        where=f"line {rows[0].line}",
        split=split,
        identity=next(iter(identities)),
    )


def _cell(row: Row, column: str | None, path: Path) -> str | None:
    if column is None:
        return None
    return str(field(row.values, column, f"line {row.line}", path)).strip()


def _texts(row: Row, column: str | None, path: Path) -> list[str]:
    """The captions of a row: one, or a list of them in JSON."""
    value: Any = field(row.values, str(column), f"line {row.line}", path)
    texts = value if isinstance(value, list) else [value]
    wrong = [text for text in texts if not isinstance(text, str | None)]
    if wrong:
        raise InputError(
            f"{path} line {row.line}: {column} is {wrong[0]!r}; expected text or a list of texts"
        )
    return [(text or "").strip() for text in texts]


def _found(columns: Columns, names: list[str], path: Path) -> Columns:
    return Columns(
        picture=_column("picture", columns.picture, names, path, needed=True),
        caption=_column("caption", columns.caption, names, path, needed=True),
        split=_column("split", columns.split, names, path, needed=False),
        identity=_column("identity", columns.identity, names, path, needed=False),
    )


def _column(what: str, told: str | None, names: list[str], path: Path, needed: bool) -> str | None:
    listed = ", ".join(names)
    if told is not None:
        if told not in names:
            raise InputError(f"{path} has no column {told!r} ({what}_column); it has {listed}")
        return told
    found = [name for name in names if name.lower() in KNOWN[what]]
    if len(found) > 1:
        raise InputError(
            f"{path}: {' and '.join(found)} may each be the {what} column; set {what}_column to one of them"
        )
    if needed and not found:
        raise InputError(
            f"{path}: no column looks like the {what} ({', '.join(KNOWN[what][:4])}, ...) among {listed}; "
            f"set {what}_column"
        )
    return found[0] if found else None
