"""Tables of a configuration -> parts: a name leads to a class, which is checked and then built.

A name is one of ``names.REGISTRY``, an entry point of an installed package, or an address "module:Class",
which is imported only where ``trust`` allows it. Each must be a part of the kind that the table is for.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any, get_type_hints

from wordsight import aliases
from wordsight.registry import entry_points, trust
from wordsight.registry.names import BASES, REGISTRY
from wordsight.registry.options import setting_value
from wordsight.registry.settings import (
    TableError,
    check_settings,
    listed,
    nearest,
    quoted,
    settings_of,
    shown,
)

__all__ = [
    "BASES",
    "REGISTRY",
    "TableError",
    "build",
    "check_trusted",
    "complete",
    "describe",
    "find",
    "instantiate",
    "nearest",
]


def names_of(kind: str) -> list[str]:
    """The names of a kind: ours in their order, then those that installed packages add."""
    return [*REGISTRY[kind], *(name for name in entry_points.installed(kind) if name not in REGISTRY[kind])]


def find(kind: str, name: str) -> Any:
    """The class (or the function that makes a part) behind a name; it is a part of that kind, or an error."""
    name = aliases.current_part(kind, name)
    if name in REGISTRY[kind]:
        part = trust.import_address(kind, name, REGISTRY[kind][name])
    elif trust.is_address(name):
        part = trust.import_trusted(kind, name)
    else:
        part = entry_points.load(kind, _entry_point(kind, name))
    _check_kind(kind, name, part)
    return part


def check_trusted(kind: str, table: Mapping[str, Any]) -> None:
    """Raises UntrustedCodeError if the table names code that may not be imported; imports nothing."""
    name = aliases.current_part(kind, _named(kind, table)[0])
    if name not in REGISTRY[kind] and trust.is_address(name):
        trust.must_be_trusted(kind, name)


def _entry_point(kind: str, name: str) -> EntryPoint:
    installed = entry_points.installed(kind)
    if name not in installed:
        known = names_of(kind)
        raise TableError(f"unknown {kind} {quoted(name)}{nearest(name, known)}; known: {listed(known)}")
    return installed[name]


def _check_kind(kind: str, name: str, part: Any) -> None:
    """Raises TableError for what is no part of that kind, before it is called."""
    base = trust.import_address(kind, name, BASES[kind])
    made = part if isinstance(part, type) else _returned(part)
    right = f"{base.__module__}.{base.__name__}"
    if isinstance(made, type) and issubclass(made, base):
        left_out = [f"{each}()" for each in vars(base) if made is part and _is_left_out(made, base, each)]
        if not left_out:
            return
        raise TableError(f"{kind} {quoted(name)} has no {', '.join(left_out)}", f"{right} says what it does")
    if isinstance(part, type):
        promised = [each for each in vars(base) if not each.startswith("_") and callable(getattr(base, each))]
        missing = [f"{each}()" for each in promised if not hasattr(part, each)]
        what = f"has no {', '.join(missing)}" if missing else f"is no {base.__name__}"
        raise TableError(
            f"{kind} {quoted(name)} {what}",
            f"derive it: class {part.__name__}({right})",
        )
    raise TableError(
        f"{kind} {quoted(name)} does not say that it returns a {base.__name__}",
        f"a function of yours is declared so: def {name.rpartition(':')[2]}(...) -> {right}",
    )


def _is_left_out(part: type, base: type, name: str) -> bool:
    """Whether a class lacks a method that its base leaves to it."""
    promised = inspect.unwrap(vars(base)[name]) if callable(vars(base)[name]) else None
    if not inspect.isfunction(promised) or getattr(part, name) is not getattr(base, name):
        return False
    is_abstract = getattr(promised, "__isabstractmethod__", False)
    return is_abstract or "NotImplementedError" in promised.__code__.co_names


def _returned(part: Any) -> Any:
    """The annotated return type of a function; None if it has none."""
    if not inspect.isfunction(part):
        return None
    try:
        return get_type_hints(part).get("return")
    except (NameError, TypeError, AttributeError):
        return None


def build(kind: str, table: Mapping[str, Any], **given: Any) -> Any:
    """Build a part from its table; ``given`` offers values to the settings that its signature names."""
    name, settings = _named(kind, table)
    return instantiate(find(kind, name), f"[{kind}]", settings, **given)


def instantiate(part: Callable[..., Any], where: str, settings: Mapping[str, Any], **given: Any) -> Any:
    """Call ``part`` with its settings; one that is unknown, of another type or missing is an error."""
    known = settings_of(part)
    settings = aliases.current_settings(settings, known)
    check_settings(part, where, settings)
    offered = {key: value for key, value in given.items() if key in known and key not in settings}
    missing = [
        key
        for key, setting in known.items()
        if setting.default is setting.empty and key not in settings and key not in offered
    ]
    if missing:
        raise TableError(f"{where} {part.__name__} needs {', '.join(missing)}")
    return part(**settings, **offered)


def complete(kind: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the default of every setting that it leaves out."""
    name, settings = _named(kind, table)
    part = find(kind, name)
    settings = aliases.current_settings(settings, settings_of(part))
    check_settings(part, f"[{kind}]", settings)
    return {"name": aliases.current_part(kind, name)} | _defaults(part) | settings


def _named(kind: str, table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if not isinstance(table, Mapping):
        raise TableError(f"[{kind}] is {shown(table)}; expected a table with a name")
    settings = dict(table)
    if "name" not in settings:
        raise TableError(f"[{kind}] has no name; known: {listed(names_of(kind))}")
    name = settings.pop("name")
    if not isinstance(name, str):
        raise TableError(f"[{kind}] name = {shown(name)}; expected text, one of {listed(names_of(kind))}")
    return name, settings


def _defaults(part: Callable[..., Any]) -> dict[str, Any]:
    return {
        key: setting.default
        for key, setting in settings_of(part).items()
        if setting.default is not setting.empty
    }


def describe(part: Any) -> dict[str, Any]:
    """The table that would build this part again, read from its attributes.

    Every setting of a part is an attribute of its name, or a field of ``part.options``; nested parts are
    tables too.
    """
    table: dict[str, Any] = {"name": _name_of(type(part))}
    for key in settings_of(type(part)):
        value = setting_value(part, key)
        nested = hasattr(value, "forward")  # a part of a part, such as a pooling
        table[key] = describe(value) if nested else value
    return table


def _name_of(part: type) -> str:
    address = f"{part.__module__}:{part.__qualname__}"
    for names in REGISTRY.values():
        for name, place in names.items():
            if place == address:
                return name
    return entry_points.installed_name(address) or address
