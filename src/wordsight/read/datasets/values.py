"""Values of JSON and table files -> captions and identifiers as text, or an error with their place."""

import ast
import json
import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from wordsight.errors import InputError

_LINE_FEED = re.compile(r"\s*[\r\n]+\s*")  # within one caption: programs that read lines would make two of it


def caption_of(value: Any, place: str, path: Path | str) -> str:
    """One caption; null becomes "", an empty one. A number, a list and an object are errors."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # as JSON of pandas has it
        return ""
    if not isinstance(value, str):
        raise InputError(f"{path} {place} is {shown(value)}", "expected a caption: a text in quotes")
    return _LINE_FEED.sub(" ", _whole_characters(value)).strip()


def captions_of(value: Any, place: str, path: Path | str) -> list[tuple[str, str]]:
    """The captions of one value, a text or a list of texts, each with its place."""
    if not isinstance(value, list):
        return [(caption_of(value, place, path), place)]
    places = [f"{place}[{n}]" for n in range(len(value))]
    return [(caption_of(one, where, path), where) for one, where in zip(value, places, strict=True)]


def listed_in(value: Any) -> Any:
    """The list that a cell holds as text, as JSON or Python writes it; any other value as it is."""
    if not isinstance(value, str) or not (value.startswith("[") and value.endswith("]")):
        return value
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = parse(value)
            if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
                return found
    return value


def identifier_of(value: Any, place: str, path: Path | str) -> str:
    """An identifier as text: 7, 7.0 and "7" are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"{path} {place} is {shown(value)}", "expected a text or a whole number")
    return str(value).strip()


def shown(value: Any) -> str:
    """A value for a message: what it is, and how it begins."""
    kind = {list: "a list", dict: "an object", type(None): "null"}.get(type(value))
    text = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return text if kind is None else kind if value is None else f"{kind}, {text}"


def _whole_characters(text: str) -> str:
    """Halves of characters (surrogates), as cut texts of other programs have them, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
