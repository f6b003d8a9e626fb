"""Filters of a search -> conditions of PostgreSQL with their parameters."""

import os
import unicodedata
from itertools import chain
from typing import Any

from wordsight.search.index import database
from wordsight.search.index.database import Filters
from wordsight.search.index.filter_sql import camera_words
from wordsight.search.index.near import EARTH_KM
from wordsight.search.remote.words import phrases_in

Condition = tuple[str, dict[str, Any]]
_NANOSECONDS = 10**9
_INSIDE = f"""p.latitude BETWEEN %(least)s AND %(most)s AND p.longitude IS NOT NULL
AND {2 * EARTH_KM} * asin(least(1, sqrt(
  sin(radians(p.latitude / 1e6 - %(north)s) / 2) ^ 2
  + cos(radians(p.latitude / 1e6)) * cos(radians(%(north)s))
  * sin(radians(p.longitude / 1e6 - %(east)s) / 2) ^ 2))) <= %(kilometres)s"""  # as near.distance_km


def conditions(filters: Filters | None) -> Condition:
    """A condition on items i, "true" without filters, and its named parameters."""
    filters = filters or Filters()
    parts: list[str] = []
    values: dict[str, Any] = {}
    if filters.folder is not None:
        sql, values["folder"], values["folder_end"] = _in_folder(filters.folder)
        parts.append(sql)
    if filters.after is not None:
        parts.append("i.date >= %(after)s")
        values["after"] = _nanoseconds(filters.after)
    if filters.before is not None:
        parts.append("i.date < %(before)s")
        values["before"] = _nanoseconds(filters.before)
    if filters.min_bytes is not None:
        parts.append("i.bytes >= %(min_bytes)s")
        values["min_bytes"] = min(filters.min_bytes, 2**63 - 1)
    if filters.text is not None and filters.text.strip():
        sql, words = _with_text(filters.text)
        parts.append(sql)
        values |= words
    for n, word in enumerate(camera_words(filters.camera or "")):
        parts.append(_of_pictures(f"position(%(camera{n})s::text IN lower(p.camera)) > 0"))
        values[f"camera{n}"] = word
    if filters.near is not None:
        parts.append(_of_pictures(_INSIDE))
        values |= dict(zip(("least", "most"), filters.near.latitudes, strict=True))
        values |= {"north": filters.near.latitude, "east": filters.near.longitude}
        values |= {"kilometres": filters.near.kilometres}
    if filters.ids is not None:
        parts.append("i.id = ANY(%(ids)s::bigint[])")
        values["ids"] = list(map(int, filters.ids))
    return " AND ".join(parts) or "true", values


def _with_text(text: str) -> Condition:
    """The array index finds items with all words; their order is compared where they are a phrase."""
    phrases = phrases_in(text)
    if not phrases:
        return "false", {}
    parts = ["i.words @> %(words)s::text[]"]
    values: dict[str, Any] = {"words": sorted({*chain(*phrases)})}
    for n, phrase in enumerate(one for one in phrases if len(one) > 1):
        parts.append(f"position(%(phrase{n})s::text IN ' ' || array_to_string(i.words, ' ') || ' ') > 0")
        values[f"phrase{n}"] = f" {' '.join(phrase)} "
    return " AND ".join(parts), values


def _of_pictures(condition: str) -> str:
    return f"i.picture IN (SELECT p.picture FROM picture p WHERE {condition})"


def _nanoseconds(seconds: float) -> int:
    return int(max(min(seconds * _NANOSECONDS, 2.0**62), -(2.0**62)))


def _in_folder(folder: str) -> tuple[str, Any, Any]:
    """Condition for a folder; names with accents are compared composed (NFC)."""
    name = os.path.expanduser(folder.replace("\0", "").replace("/", os.sep))
    if os.path.isabs(name):
        path = os.path.abspath(name)
        if name.isascii():
            return "(i.path >= %(folder)s AND i.path < %(folder_end)s)", *database.below(path)
        inside = unicodedata.normalize("NFC", path).rstrip(os.sep) + os.sep
        return "starts_with(normalize(i.shown, NFC), %(folder)s)", inside, None
    inner = unicodedata.normalize("NFC", os.sep + name.strip(os.sep) + os.sep)
    path = "i.shown" if name.isascii() else "normalize(i.shown, NFC)"
    return f"position(%(folder)s::text IN {path}) > 0", inner, None
