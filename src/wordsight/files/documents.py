"""Text, JSON and table files -> lines, objects and rows, with errors that name the file and the line."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError

TOKEN_LINE = re.compile(r"^[^\t#]+#\d+\t")  # Flickr8k.token.txt: picture.jpg#0 <tab> caption, and no header
DELIMITERS = ("\t", ",", ";", "|")


@dataclass(frozen=True)
class Row:
    """One row of a table, and the line of the file on which it ends."""

    line: int
    values: dict[str, Any]


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in ``.gz``; an empty file is an error."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; check the path, or fetch the data first")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    if not content.strip():
        raise InputError(f"{path} is empty; fetch it again")
    return content


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; bytes that are not UTF-8 are an error that names their line."""
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} line {line}: byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from error


def read_lines(path: Path) -> list[str]:
    """One stripped string per line. Only a line feed ends a line, as in the files' other readers."""
    lines = read_text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.strip() for line in lines]


def read_json(path: Path) -> Any:
    """The value of a JSON file; what is not JSON is an error that names line and column."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} line {error.lineno} column {error.colno}: not valid JSON ({error.msg}); "
            "if the file was downloaded, it may be cut short: fetch it again"
        ) from error


def field(value: Any, name: str, where: str, path: Path) -> Any:
    """The value of an object's field; its absence is an error that lists the fields that are there."""
    if not isinstance(value, dict):
        raise InputError(f"{path}: {where} is {str(value)[:60]!r}; expected an object with {name!r}")
    if name not in value:
        raise InputError(f"{path}: {where} has no {name!r}; it has {', '.join(map(str, value)) or 'nothing'}")
    return value[name]


def list_field(value: Any, name: str, where: str, path: Path) -> list[Any]:
    """The value of an object's field that must be a list."""
    found = field(value, name, where, path)
    if not isinstance(found, list):
        raise InputError(f"{path}: {where} has {name!r} = {str(found)[:60]!r}; expected a list")
    return found


def read_rows(path: Path) -> list[Row]:
    """The rows of JSON lines, a JSON list of objects, a token file, or delimited columns with a header."""
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1].lower() if suffixes else ""
    if kind in (".jsonl", ".ndjson"):
        rows = list(_json_lines(path))
    elif kind == ".json":
        rows = _json_list(path)
    else:
        text = read_text(path)
        rows = list(_token_rows(path, text) if TOKEN_LINE.match(text) else _delimited(path, text, kind))
    if not rows:
        raise InputError(f"{path} has a header but no rows")
    return rows


def _json_lines(path: Path) -> Iterator[Row]:
    for line, text in enumerate(read_lines(path), 1):
        if text:
            try:
                value = json.loads(text)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path} line {line} column {error.colno}: not valid JSON ({error.msg}); expected one "
                    "object per line"
                ) from error
            yield Row(line, _object(value, f"{path} line {line}"))


def _json_list(path: Path) -> list[Row]:
    values = read_json(path)
    if not isinstance(values, list):
        raise InputError(f"{path} holds a JSON {type(values).__name__}; expected a list of objects")
    return [Row(n, _object(value, f"{path} entry {n}")) for n, value in enumerate(values, 1)]


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(
            f"{where}: expected a JSON object with a picture and a caption, got {str(value)[:60]!r}"
        )
    return value


def is_token_file(path: Path) -> bool:
    """Whether a file begins as Flickr8k's ``token.txt`` does."""
    return TOKEN_LINE.match(read_text(path)) is not None


def header_of(path: Path) -> list[str]:
    """The names in the first line of delimited columns."""
    header = read_text(path).split("\n", 1)[0]
    return [name.strip() for name in header.split(_delimiter(header))]


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


def _token_rows(path: Path, text: str) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            picture, tab, caption = content.partition("\t")
            if not tab:
                raise InputError(f"{path} line {line}: no tab between picture#number and caption")
            yield Row(line, {"image": picture.rpartition("#")[0], "caption": caption.strip()})


def _delimited(path: Path, text: str, kind: str) -> Iterator[Row]:
    header = text.split("\n", 1)[0]
    delimiter = "\t" if kind == ".tsv" else _delimiter(header)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader)]
        _must_be_distinct(names, path)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(names):
                todo = f"put double quotes around a value that contains {delimiter!r}"
                todo = "fill in the others" if len(values) < len(names) else todo
                raise InputError(
                    f"{path} line {reader.line_num}: {len(values)} columns, but the header names "
                    f"{len(names)} ({', '.join(names)}); {todo}"
                )
            yield Row(reader.line_num, dict(zip(names, (value.strip() for value in values), strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{path} line {reader.line_num}: {error}; a quote inside a quoted value is written twice"
        ) from error


def _must_be_distinct(names: list[str], path: Path) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"{path}: the header names the column {twice[0]} twice; give each column its own name"
        )
