"""Text and JSON files -> lines and objects, with errors that name the file and the line."""

import codecs
import gzip
import json
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.undecodable import from_exact

MARKS = (  # what a text may begin with to say how it is encoded; the mark of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
    """The text of a UTF-8 file, or of one in UTF-16 or UTF-32 with a byte order mark, as Excel saves it.

    Raises InputError with the line of the first byte that is no text.
    """
    return decoded(read_bytes(path), path)


def decoded(content: bytes, path: Path | str) -> str:
    """``read_text`` of bytes that were read already."""
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:1000]:
        raise InputError(
            f"{path} line 1 holds zero bytes: it is no text, or UTF-16 without a byte order mark",
            "save the file as UTF-8",
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(_not_text(content, error, path), "save the file as UTF-8") from error


def _not_text(content: bytes, error: UnicodeDecodeError, path: Path | str) -> str:
    line = content.count(b"\n", 0, error.start) + 1
    if not error.encoding.startswith("utf-8"):
        return f"{path} line {line} is cut short or damaged ({error.encoding})"
    start = max(content.rfind(b"\n", 0, error.start) + 1, error.start - 20)
    words = content[start : error.end + 20].split(b"\n")[0].decode("latin-1").strip()
    return (
        f"{path} line {line}: byte {content[error.start]:#04x} is not UTF-8; read as Latin-1 it is {words!r}"
    )


def beginning_of(path: Path, size: int = 2**16) -> str:
    """The beginning of a text file, as far as it can be read: enough to tell what kind of file it is."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            content = file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return ""
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    return codecs.getincrementaldecoder(encoding)("replace").decode(content)


def read_lines(path: Path) -> list[str]:
    """One stripped string per line. Only a line feed ends a line, as in the files' other readers."""
    return _lines(read_text(path))


def read_names(path: Path) -> list[str]:
    """The lines of a file with names of files, which need not be UTF-8 (``exact_bytes``)."""
    content = read_bytes(path)
    known = any(content.startswith(mark) for mark, _ in MARKS) or b"\0" in content[:1000]
    return _lines(decoded(content, path) if known else from_exact(content))


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.strip() for line in lines]


def read_json(path: Path) -> Any:
    """The value of a JSON file; what is not JSON is an error that names line and column."""
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be a data set") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} line {error.lineno} column {error.colno}: not valid JSON ({error.msg}); "
            "if the file was downloaded, it may be cut short: fetch it again"
        ) from error
    except InputError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{path} is not JSON as data sets have it ({error})") from error


@dataclass(frozen=True)
class Outline:
    """Outline of a JSON document: enough to tell formats apart."""

    is_list: bool
    keys: frozenset[str]  # of the object; of a list, those of its first entry
    entries: int


def outline(path: Path) -> Outline | None:
    """The outline of a ``.json`` or ``.json.gz``, None of other files. Raises InputError for broken JSON."""
    names = path.name.lower()
    if not names.endswith((".json", ".json.gz")) or not path.is_file():
        return None
    status = path.stat()
    return _outline(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _outline(path: Path, size: int, changed: int) -> Outline:  # noqa: ARG001 (a file that changes is read again)
    document = read_json(path)
    first = document[0] if isinstance(document, list) and document else document
    keys = frozenset(map(str, first)) if isinstance(first, dict) else frozenset[str]()
    return Outline(isinstance(document, list), keys, len(document) if isinstance(document, list) else 1)


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
