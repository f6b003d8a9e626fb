"""The pictures that an update leaves out, stored in the index for the next update."""

import json
import sqlite3
from dataclasses import asdict

from wordsight.errors import InputError
from wordsight.read.pictures.walk import WalkRules
from wordsight.search.index import database
from wordsight.search.index.writer import Writer

NAME = "walk"  # in the table of the index's state
REMEDY = "restore a copy of the index, or move it away and index again"


def stored(connection: sqlite3.Connection) -> WalkRules:
    """The rules of the last update that had any."""
    text = database.value(connection, "SELECT value FROM state WHERE name = ?", (NAME,))
    if text is None:
        return WalkRules()
    try:
        settings = json.loads(text)
        return WalkRules(tuple(map(str, settings["exclude"])), bool(settings["follow_links"]))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{database.FACTS} holds rules that cannot be read: {text!r}", REMEDY) from error


def remember(writer: Writer, rules: WalkRules | None) -> WalkRules:
    """The rules that hold from now on: the given ones, or those of before."""
    before = stored(writer.facts)
    if rules is None or rules == before:
        return before
    with writer.batch():
        writer.facts.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (NAME, json.dumps(asdict(rules))))
    return rules
