"""CSV, TSV, JSON lines, a JSON list or a token file -> rows, with errors that name the file and the line.

Delimited files are read as programs write them: quotes in a CSV may hold the delimiter; a TSV has no
quoting, unless its lines fit the header only with it; Excel's line ``sep=;`` and columns without a name are
passed over.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError
from wordsight.files.documents import beginning_of, read_json, read_lines, read_text

_NUMBERED = r"(?:#[A-Za-z][\w-]*)?#\d+"  # Flickr8k: picture.jpg#0; Flickr8k-CN: picture.jpg#zhc#0
TOKEN_LINES = (  # files without a header; where a space ends the name, it has to look like that of a picture
    re.compile(rf"(?P<picture>[^\t#]+){_NUMBERED}\t(?P<caption>.*)"),
    re.compile(rf"(?P<picture>[^\t#]+\.[A-Za-z]\w{{1,4}}){_NUMBERED} +(?P<caption>.*)"),
)
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # what Excel may write before the header
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
DELIMITERS = ("\t", ",", ";", "|")


@dataclass(frozen=True)
class Row:
    """One row of a table, and where it begins: the line of the file, or the number of the entry."""

    line: int
    values: dict[str, Any]
    unit: str = "line"

    @property
    def place(self) -> str:
        return f"{self.unit} {self.line}"


@dataclass(frozen=True)
class Dialect:
    """How the lines of a delimited file are cut, and on which line the names of its columns stand."""

    delimiter: str
    names: Sequence[str]  # as in the header; empty ones have no name
    line: int = 1

    @property
    def named(self) -> list[str]:
        return [name for name in self.names if name]


def read_rows(path: Path) -> list[Row]:
    """The rows of JSON lines, a JSON list of objects, a token file, or delimited columns with a header."""
    kind = kind_of(path)
    if kind in (".jsonl", ".ndjson"):
        rows = list(_json_lines(path))
    elif kind == ".json":
        rows = _json_list(path)
    else:
        text = _with_line_feeds(read_text(path))
        rows = list(_token_rows(path, text) if _begins_as_token_file(text) else _delimited(path, text))
    if not rows:
        raise InputError(f"{path} has a header but no rows")
    return rows


def kind_of(path: Path) -> str:
    """The suffix of a file, less ``.gz``; lower case."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def is_token_file(path: Path) -> bool:
    """Whether a file begins as Flickr8k's ``token.txt`` does."""
    return _begins_as_token_file(_with_line_feeds(beginning_of(path)))


def header_of(path: Path) -> list[str]:
    """The names of the columns of a delimited file."""
    return dialect_of(_with_line_feeds(beginning_of(path)), kind_of(path)).named


def dialect_of(text: str, kind: str = "") -> Dialect:
    """The delimiter that cuts the header into most names; a ``.tsv`` has tabs if it has any."""
    first, _, rest = text.partition("\n")
    separator = _SEPARATOR.fullmatch(first.strip())
    header = rest.partition("\n")[0] if separator else first
    if separator:
        delimiter = separator[1]
    elif kind == ".tsv" and "\t" in header:
        delimiter = "\t"
    else:
        delimiter = max(DELIMITERS, key=lambda candidate: len(_cut(header, candidate)))
    names = [name.strip() for name in _cut(header, delimiter)]
    while names and not names[-1]:
        names.pop()
    return Dialect(delimiter, names, 2 if separator else 1)


def _cut(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _with_line_feeds(text: str) -> str:
    """Split lines that an old Macintosh ended with carriage returns alone."""
    return text if "\n" in text else text.replace("\r", "\n")


def _json_lines(path: Path) -> Iterator[Row]:
    for line, text in enumerate(read_lines(path), 1):
        if text:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:  # also a number of thousands of digits
                place = f"column {error.colno}: " if isinstance(error, json.JSONDecodeError) else ""
                deep = isinstance(error, RecursionError)
                reason = getattr(error, "msg", "nested too deeply" if deep else str(error))
                raise InputError(
                    f"{path} line {line} {place}not valid JSON ({reason}); expected one object per line"
                ) from error
            yield Row(line, _object(value, f"{path} line {line}"))


def _json_list(path: Path) -> list[Row]:
    values = read_json(path)
    if not isinstance(values, list):
        raise InputError(f"{path} holds a JSON {type(values).__name__}; expected a list of objects")
    return [Row(n, _object(value, f"{path} entry {n}"), "entry") for n, value in enumerate(values, 1)]


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(
            f"{where}: expected a JSON object with a picture and a caption, got {str(value)[:60]!r}"
        )
    return value


def _begins_as_token_file(text: str) -> bool:
    return _token_line(text.lstrip("\n").partition("\n")[0]) is not None


def _token_line(line: str) -> re.Match[str] | None:
    return next((found for pattern in TOKEN_LINES if (found := pattern.match(line))), None)


def _token_rows(path: Path, text: str) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            found = _token_line(content.rstrip("\r"))
            if found is None:
                raise InputError(
                    f"{path} line {line}: {content.strip()[:60]!r}; expected picture#number, a tab, and the "
                    "caption, as on the lines before"
                )
            yield Row(line, {"image": found["picture"], "caption": found["caption"].strip()})


def _delimited(path: Path, text: str) -> list[Row]:
    dialect = dialect_of(text, kind_of(path))
    _must_be_distinct(dialect.named, path)
    lines = text.split("\n")
    if dialect.delimiter != "\t":
        return list(_quoted_rows(path, lines, dialect))
    try:
        return list(_plain_rows(path, lines, dialect))
    except InputError:
        try:  # what pandas writes: quotes around a value that holds a tab or a line feed
            return list(_quoted_rows(path, lines, dialect))
        except InputError:
            pass
        raise


def _plain_rows(path: Path, lines: Sequence[str], dialect: Dialect) -> Iterator[Row]:
    """Lines cut at every delimiter. Quotes around a whole value are taken away, other quotes are letters."""
    for number, line in enumerate(lines[dialect.line :], dialect.line + 1):
        if line.strip():
            values = [_unquoted(value.strip()) for value in line.rstrip("\r").split(dialect.delimiter)]
            yield _row(path, number, values, dialect)


def _unquoted(value: str) -> str:
    return value[1:-1].replace('""', '"').strip() if _QUOTED.fullmatch(value) else value


def _quoted_rows(path: Path, lines: Sequence[str], dialect: Dialect) -> Iterator[Row]:
    """Rows in which quotes may hold the delimiter and line feeds."""
    source = (f"{line}\n" for line in lines[dialect.line :])
    reader = csv.reader(source, delimiter=dialect.delimiter, strict=True)
    while True:
        number = dialect.line + reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path} line {number}: {_reason(error)}") from error
        if values is None:
            return
        if any(value.strip() for value in values):
            _must_hold_one_row(path, number, values, dialect)
            yield _row(path, number, [value.strip() for value in values], dialect)


def _reason(error: csv.Error) -> str:
    if "expected after" in str(error):
        return f"{error}; a quote inside a quoted value is written twice"
    return (
        'a quote (") opens a value here and is never closed; close it, or write it twice if it is a character'
    )


def _row(path: Path, number: int, values: list[str], dialect: Dialect) -> Row:
    names = dialect.names
    while len(values) > len(names) and not values[-1]:
        values.pop()
    if len(values) != len(names):
        todo = "fill in the others"
        if len(values) > len(names):
            todo = f"put double quotes around a value that contains {dialect.delimiter!r}"
        raise InputError(
            f"{path} line {number}: {len(values)} columns, but the header names "
            f"{len(dialect.named)} ({', '.join(dialect.named)}); {todo}"
        )
    return Row(number, {name: value for name, value in zip(names, values, strict=True) if name})


def _must_hold_one_row(path: Path, number: int, values: list[str], dialect: Dialect) -> None:
    """A quote that is opened by mistake makes one value of the rest of its row and of whole rows after it."""
    for column, value in enumerate(values):
        for line in value.split("\n")[1:]:
            cut = line.split(dialect.delimiter)
            same = (
                _shape(own) == _shape(other) != ""
                for place, (own, other) in enumerate(zip(values, cut, strict=False))
                if place != column
            )
            if len(cut) == len(dialect.names) and any(same):
                raise InputError(
                    f"{path} line {number}: one quoted value runs over several lines and holds what looks "
                    f"like a row of its own, {line.strip()[:60]!r}; close the quote before it, or write it "
                    "twice if it is a character"
                )


def _shape(value: str) -> str:
    """The suffix of a file name, or that it is a number: what values of one column share and words do not."""
    value = value.strip()
    suffix = os.path.splitext(value)[1].lower()
    return suffix if re.fullmatch(r"\.\w{2,5}", suffix) else "number" if value.isdecimal() else ""


def _must_be_distinct(names: Sequence[str], path: Path) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"{path}: the header names the column {twice[0]} twice; give each column its own name"
        )
