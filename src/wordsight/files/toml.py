"""A TOML file -> tables of plain values, with changes and environment variables in their place; and back."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wordsight.errors import InputError


def read_tables(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Each change is "table.key=value", the value as TOML writes it (or plain text); ${NAME} is replaced.

    "table.key=" takes the key out, so that it has its default; "table=" takes the table out.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    for change in changes:
        _apply(tables, change)
    expanded: dict[str, Any] = _expanded(tables, str(path))
    return expanded


def to_toml(tables: Mapping[str, Any]) -> str:
    """Settings that are None are left out: TOML has no word for it."""
    import tomli_w

    return tomli_w.dumps(_without_none(tables))


def changed(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with the changes laid over; a part that gets another name keeps none of its settings."""
    result = dict(tables)
    for name, change in changes.items():
        old = tables.get(name, {})
        if isinstance(change, Mapping):
            other_part = "name" in change and change["name"] != old.get("name")
            result[name] = dict(change) if other_part else {**old, **change}
        else:
            result[name] = change
    return result


def _apply(tables: dict[str, Any], change: str) -> None:
    address, equals, text = change.partition("=")
    *path, key = address.strip().split(".")
    if not equals or not (path or (key and not text.strip())):
        raise InputError(f'the change "{change}" is not table.key=value, for instance training.epochs=10')
    if not text.strip():
        _remove(tables, path, key, change)
        return
    table = tables
    for name in path:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f'the change "{change}": {name} = {table!r} is no table that could hold a key')
    table[key] = _value(text.strip())


def _remove(tables: dict[str, Any], path: Sequence[str], key: str, change: str) -> None:
    table: Any = tables
    for name in path:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict) or key not in table:
        raise InputError(
            f'the change "{change}" takes {".".join([*path, key])} out, which is not there; '
            f"there is {', '.join(table) if isinstance(table, dict) and table else 'nothing'} "
            f"(an empty text is written {'.'.join([*path, key])}='\"\"')"
        )
    del table[key]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _expanded(value: Any, source: str) -> Any:
    """Replace ${NAME} and ${NAME:-default} in every text, as a shell does."""
    if isinstance(value, dict):
        return {key: _expanded(inner, source) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, source) for inner in value]
    return _VARIABLE.sub(lambda found: _variable(found, source), value) if isinstance(value, str) else value


def _variable(found: re.Match[str], source: str) -> str:
    name, default = found.groups()
    value = os.environ.get(name, default)
    if value is None:
        raise InputError(
            f"{source}: the environment variable {name} is not set and {found.group()} has no default"
        )
    return value


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
