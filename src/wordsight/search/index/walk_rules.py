"""The pictures that an update leaves out, stored in the index for the next update."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from wordsight.errors import InputError
from wordsight.read.pictures.walk import WalkRules
from wordsight.search.index import database
from wordsight.search.index.interface import BatchWriter

NAME = "walk"  # in the table of the index's state
REMEDY = "restore a copy of the index, or move it away and index again"


def stored(connection: sqlite3.Connection) -> WalkRules:
    """The rules of the last update with rules."""
    text = database.value(connection, "SELECT value FROM state WHERE name = ?", (NAME,))
    if text is None:
        return WalkRules()
    try:
        return from_settings(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{database.FACTS} has invalid walk rules: {text!r}", REMEDY) from error


def from_settings(settings: Mapping[str, Any]) -> WalkRules:
    """The rules of their settings, as JSON has them."""
    return WalkRules(tuple(map(str, settings["exclude"])), bool(settings["follow_links"]))


def remember(writer: BatchWriter, rules: WalkRules | None) -> WalkRules:
    """Store the given rules, if any; returns the rules from now on."""
    before = stored(writer.facts)
    if rules is None or rules == before:
        return before
    with writer.batch():
        writer.facts.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (NAME, json.dumps(asdict(rules))))
    return rules
