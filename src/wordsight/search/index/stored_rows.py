"""Rows of the database of an index -> arrays of whole numbers, and items, or the error for a missing one."""

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from wordsight.errors import InputError, MissingItemError
from wordsight.search.index.database import Item
from wordsight.search.index.near import place_of
from wordsight.search.index.schema_check import REMEDY, whole_numbers


def numbers(cursor: sqlite3.Cursor, width: int) -> np.ndarray:
    """The whole numbers of a query as an array, in chunks to save memory."""
    parts = [np.zeros((0, width), np.int64)]
    while rows := cursor.fetchmany(50_000):
        parts.append(whole_numbers(rows))
    return np.concatenate(parts)


def item_of(record: Sequence[Any]) -> Item:
    """The item of a row that ``Snapshot.items`` selects. Raises InputError for values of a wrong kind."""
    id_, path, content, bytes_, changed, width, height, taken, camera, north, east, *texts = record
    numbers_ = (bytes_, changed, width, height, taken or 0, north or 0, east or 0)
    words = (content, camera or "", *texts)
    if not isinstance(path, str | bytes) or not all(isinstance(text, str) for text in words):
        raise InputError(f"the index is damaged: a text of item {id_} is not text", REMEDY)
    whole_numbers([numbers_])
    text = "\n".join(text for text in texts if text)
    date = None if taken is None else taken / 1e9
    name, place = os.fsdecode(path), place_of(north, east)
    return Item(id_, name, content, bytes_, changed / 1e9, width, height, text, date, camera or "", place)


def missing_item(id: int, items: int) -> MissingItemError:
    """The error for a number that no item of an index of so many ``items`` has."""
    return MissingItemError(
        f"item {id} is not in this index of {items:,} items; it may have been deleted",
        "search with --json shows the id of each hit",
    )
