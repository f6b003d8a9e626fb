"""Filters of a search -> conditions of SQL with their parameters."""

import math
import os
import re
from typing import Any

from wordsight.search.index import database
from wordsight.search.index.database import Filters

_PART = re.compile(r'"([^"]+)"|(\S+)')


def conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    """Conditions on items i, and their parameters, of all filters but those by date and id."""
    each: list[tuple[str, list[Any]]] = []
    if filters.folder is not None:
        each.append(_in_folder(filters.folder))
    if filters.min_bytes is not None:
        each.append(("i.bytes >= ?", [min(filters.min_bytes, 2**63 - 1)]))
    if filters.text is not None and database.clean(filters.text).strip():
        each.append(("i.id IN (SELECT rowid FROM words WHERE words MATCH ?)", [_all_parts(filters.text)]))
    if filters.camera is not None:
        each += [_of_contents("instr(lower(camera), ?) > 0", word) for word in camera_words(filters.camera)]
    if filters.near is not None:
        circle = filters.near
        inside = "latitude BETWEEN ? AND ? AND distance_km(latitude, longitude, ?, ?) <= ?"
        each.append(_of_contents(inside, *circle.latitudes, *circle))
    return [sql for sql, _ in each], [value for _, values in each for value in values]


def date_bounds(filters: Filters) -> tuple[int, int]:
    """First date that passes, and the first after it that does not; nanoseconds since 1970."""
    after = -math.inf if filters.after is None else filters.after
    before = math.inf if filters.before is None else filters.before
    return _nanoseconds(after), _nanoseconds(before)


def _of_contents(condition: str, *values: Any) -> tuple[str, list[Any]]:
    return f"i.content IN (SELECT key FROM contents WHERE {condition})", list(values)


def camera_words(text: str) -> list[str]:
    """Words of a camera's name in small letters."""
    return database.clean(text).lower().split()


def _nanoseconds(seconds: float) -> int:
    return int(max(min(seconds * 1e9, 2.0**62), -(2.0**62)))


def _in_folder(folder: str) -> tuple[str, list[Any]]:
    """Condition for a folder; paths are composed (NFC) if the name has accents.

    A name with replacement characters is one as it is shown, for bytes that are not UTF-8.
    """
    name = os.path.expanduser(folder.replace("\0", "").replace("/", os.sep))
    column = "CAST(i.shown AS BLOB)" if "\N{REPLACEMENT CHARACTER}" in name else "i.path"
    path = column if name.isascii() else f"composed({column})"
    if os.path.isabs(name):
        below = database.below(database.composed(os.fsencode(os.path.abspath(name))))
        return f"({path} >= ? AND {path} < ?)", list(below)
    inner = os.fsencode(os.sep + name.strip(os.sep) + os.sep)
    return f"instr({path}, ?) > 0", [database.composed(inner)]


def text_parts(text: str) -> list[str]:
    """Words and quoted phrases of a filter by text; words that a sign joins (red-hat) are a phrase too."""
    parts = [quoted or word for quoted, word in _PART.findall(database.clean(text))]
    return [part for part in parts if any(letter.isalnum() for letter in part)]


def _all_parts(text: str) -> str:
    """Full-text query for all words and phrases; each is quoted, so that none is an operator."""
    parts = [part.replace('"', '""') for part in text_parts(text)]
    return " AND ".join(f'"{part}"' for part in parts or ("&",))  # a sign alone is found nowhere
