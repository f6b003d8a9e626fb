"""Command-line options for folders, dates, sizes and words -> Filters."""

import os
import re
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from wordsight.errors import InputError

if TYPE_CHECKING:
    from wordsight.search.index.index import Filters


def filters_of(
    folder: str | None = None,
    after: str | None = None,
    before: str | None = None,
    text: str | None = None,
    min_size: str | None = None,
    camera: str | None = None,
    near: str | None = None,
) -> "Filters":
    from wordsight.search.index.index import Filters
    from wordsight.search.index.near import parse_near

    if folder is not None and folder.replace(os.sep, "/").split("/")[0] in (".", ".."):
        folder = os.path.abspath(folder)
    try:
        circle = None if near is None else parse_near(near)
    except InputError as error:
        raise typer.BadParameter(f"--near {error}") from None
    since, until = _date("--after", after), _date("--before", before)
    return Filters(folder, since, until, _size(min_size), text, camera=camera, near=circle)


def _date(option: str, given: str | None) -> float | None:
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given).timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{option} {given} is no date; write 2024-05-31, or 2024-05-31T18:00"
        ) from None


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def _size(given: str | None) -> int | None:
    if given is None:
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmg]?)b?", given.strip().lower())
    if found is None:
        raise typer.BadParameter(f"--min-size {given} is no size; write 200kB, 1.5MB, or bytes")
    return int(float(found[1]) * _UNITS[found[2]])
