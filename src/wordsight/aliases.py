"""Names of version 0.1.0 -> names of today.

Saved models, feature stores and indexes that hold old names are read for ever. In a configuration and on the
command line the old names work for one version, with a warning.
"""

from collections.abc import Collection, Mapping
from typing import Any

PARTS: dict[str, dict[str, str]] = {
    "data": {"persons": "person-search"},
    "similarity": {"both-ways": "bidirectional", "semantic": "label-agreement"},
}
SETTINGS = {
    "seeker": "direction",
    "joint": "projection",
    "root": "signed_sqrt",
    "detail": "high_res_size",
    "detail_grid": "high_res_grid",
    "longest": "max_length",
    "rule": "word_splitter",
    "picture_column": "image_column",
}
_SPLITTER = {"--rule": "--word-splitter"}
_RATE = {"--false-accept": "--false-positive-rate"}
OPTIONS: dict[
    str, dict[str, str]
] = {  # by the first word of a command: --root means something else in others
    "features": {
        "--root": "--signed-sqrt",
        "--detail": "--high-res-size",
        "--detail-grid": "--high-res-grid",
    },
    **dict.fromkeys(("data", "vocab"), _SPLITTER),
    **dict.fromkeys(("search", "similar", "captions"), _RATE),
}
_PART_NAMES = {old: new for names in PARTS.values() for old, new in names.items()}
_BEFORE = {new: old for old, new in SETTINGS.items()}


def current_part(kind: str, name: str) -> str:
    """The name of today of a part."""
    return PARTS.get(kind, {}).get(name, name)


def current_settings(settings: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Rename old settings that are not ``known`` to those of today."""
    return {
        SETTINGS[key] if key not in known and SETTINGS.get(key) in known else key: value
        for key, value in settings.items()
    }


def current(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table and the tables in it under the names of today, but for foreign parts (``module:Class``)."""
    if _is_foreign(table):
        return dict(table)
    renamed: dict[str, Any] = {}
    for key, value in table.items():
        if key == "name" and isinstance(value, str):
            value = _PART_NAMES.get(value, value)
        renamed[SETTINGS.get(key, key)] = current(value) if isinstance(value, Mapping) else value
    return renamed


def previous_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under their old names: a hash over names stays what it was."""
    return {_BEFORE.get(key, key): value for key, value in settings.items()}


def renamed_in(table: Mapping[str, Any], where: str = "") -> list[str]:
    """Every old name in the tables of a configuration with its name of today."""
    if _is_foreign(table):
        return []
    found = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            found += renamed_in(value, f"{where}.{key}" if where else key)
        elif key in SETTINGS:
            found.append(f"[{where}] {key} is now {SETTINGS[key]}")
        elif key == "name" and value in _PART_NAMES:
            found.append(f'[{where}] name = "{value}" is now "{_PART_NAMES[value]}"')
    return found


def _is_foreign(table: Mapping[str, Any]) -> bool:
    return ":" in str(table.get("name", ""))
