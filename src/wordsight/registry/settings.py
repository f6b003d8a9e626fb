"""A part's signature and a table of values -> an error for the first value that the part does not take."""

import difflib
import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from wordsight.errors import InputError
from wordsight.registry.limits import limits_of


class TableError(InputError):
    """A table that describes no part: an unknown name or setting, or a value that it does not take."""


_PLAIN = (str, bool, int, float, list, tuple, Mapping, NoneType)  # all that a file can hold
_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path",
    Sequence: "a list", list: "a list", tuple: "a list", Mapping: "a table", dict: "a table",
}  # fmt: skip


def settings_of(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that a table may set, by name."""
    return {
        key: setting
        for key, setting in inspect.signature(part).parameters.items()
        if setting.kind in (setting.POSITIONAL_OR_KEYWORD, setting.KEYWORD_ONLY)
    }


def check_settings(part: Callable[..., Any], where: str, settings: Mapping[str, Any]) -> None:
    """Raises TableError, with what would be right, for a setting that is unknown, of another type or size."""
    known = settings_of(part)
    for key, value in settings.items():
        if key not in known:
            raise TableError(
                f"{where} {key} is not a setting of {part.__name__}{nearest(key, known)}; "
                f"known: {listed(known)}"
            )
        if not _fits(value, known[key].annotation):
            raise TableError(f"{where} {key} = {shown(value)}; expected {_in_words(known[key].annotation)}")
        check_limits(where, key, value, known[key])


def check_limits(where: str, key: str, value: Any, setting: inspect.Parameter) -> None:
    """Raises TableError for a value outside the limits of its annotation; a default is never outside."""
    limits = limits_of(setting.annotation)
    wrong = limits.wrong(value)
    if wrong and value != setting.default:
        or_else = f"; left out it is {setting.default}" if _fits(setting.default, float) else ""
        raise TableError(f"{where} {key} = {shown(value)}; expected {limits.expected(wrong[0])}{or_else}")


def check_fields(settings: Any, where: str) -> None:
    """Check all fields of a settings dataclass, which may have been built without a table."""
    for key, setting in settings_of(type(settings)).items():
        check_limits(where, key, getattr(settings, key), setting)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; what no file can hold, such as a part, fits always."""
    if get_origin(kind) is Annotated:
        return _fits(value, get_args(kind)[0])
    if not isinstance(value, _PLAIN) or kind in (Any, inspect.Parameter.empty) or isinstance(kind, str):
        return True
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(
            _fits(one, inner[0] if inner else Any) for one in value
        )
    if origin in (Mapping, dict):
        each = inner[1] if inner else Any
        return isinstance(value, Mapping) and all(_fits(one, each) for one in value.values())
    if origin in (int, float):
        return isinstance(value, int if origin is int else int | float) and not isinstance(value, bool)
    kinds = {Path: str | Path, bool: bool, str: str, NoneType: NoneType}
    return origin in kinds and isinstance(value, kinds[origin])


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _in_words(get_args(kind)[0])
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        words = [_in_words(one) for one in inner if one is not NoneType]
        return " or ".join(filter(None, dict.fromkeys(words)))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else f'"{inner[0]}"'
    items = (
        f", each item {_in_words(inner[-1])}"
        if origin in (Sequence, Mapping) and inner[-1] is not Any
        else ""
    )
    return _WORDS.get(origin, "") + items


def listed(names: Any) -> str:
    """Names in their order, for a message."""
    return ", ".join(sorted(names))


def nearest(name: str, names: Any) -> str:
    """The known name that is likely meant, for a message; empty if none is near."""
    close = difflib.get_close_matches(name[:100], list(names), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 120


def shown(value: Any) -> str:
    """A value for a message: on one line, and cut where it is long."""
    return _repr.repr(value)


def quoted(name: str) -> str:
    """A name for a message, likewise."""
    return f'"{name}"' if name.isprintable() and len(name) <= _repr.maxstring else shown(name)
