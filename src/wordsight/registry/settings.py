"""A part's signature and a table of values -> an error for the first value that the part does not take."""

import difflib
import inspect
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from wordsight.errors import InputError


class TableError(InputError):
    """A table that describes no part: an unknown name or setting, or a value that it does not take."""


_LARGEST = 2.0**62  # that 64 bits hold, and more than anything here counts
_LIMITS: dict[str, tuple[float, float]] = {  # least, most; a name means the same in every part
    **dict.fromkeys(
        (
            "captions_per_image", "detections", "dim", "feature_dim", "hidden", "labels", "max_length",
            "position_dim", "projection", "width", "word_dim",
        ),
        (1, 1e6),
    ),
    **dict.fromkeys(("count", "images", "vocabulary_size"), (1, 1e8)),
    **dict.fromkeys(("high_res_size", "short_side", "size"), (1, 16384)),  # pixels
    **dict.fromkeys(("high_res_grid", "grid", "heads", "layers"), (1, 1024)),
    **dict.fromkeys(("depth", "overlaps"), (0, 1024)),
    **dict.fromkeys(("classes", "every", "min_count", "pad_id", "ramp_epochs", "warmup_epochs"), (0, 1e9)),
    "positive_weights": (0, _LARGEST),
    **dict.fromkeys(("dropout", "input_dropout", "label_smoothing", "momentum", "output_dropout"), (0, 1)),
    **dict.fromkeys(("memory_mb", "std", "temperature"), (sys.float_info.min, _LARGEST)),
}  # fmt: skip
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
        if part.__module__.startswith("wordsight."):  # in the parts of others a name may mean something else
            _must_make_sense(where, key, value, known[key].default)


def _must_make_sense(where: str, key: str, value: Any, default: Any) -> None:
    """Numbers, alone or in a list, are within the limits of their name; a default always is.

    A list of layers is none of how many, but of which ones.
    """
    several = value if isinstance(value, list | tuple) and key != "layers" else [value]
    numbers = [one for one in several if _fits(one, float)]
    least, most = _LIMITS.get(key, (-_LARGEST, _LARGEST))
    wrong = [number for number in numbers if not least <= number <= most]
    if wrong and value != default:
        or_else = f"; left out it is {default}" if _fits(default, float) else ""
        raise TableError(f"{where} {key} = {shown(value)}; expected {_range(least, most, wrong[0])}{or_else}")


def _range(least: float, most: float, wrong: float) -> str:
    if most <= 1:
        return f"{least:.0f} to {most:.0f}"
    if wrong > most:
        return "a smaller number" if most == _LARGEST else f"at most {most:,.0f}"
    known = {0: "0 or more", 1: "at least 1", -_LARGEST: "a finite number"}
    return known.get(least, "more than 0")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; what no file can hold, such as a part, fits always."""
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
