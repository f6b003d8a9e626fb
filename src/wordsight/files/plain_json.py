"""JSON of others -> plain values, with limits on its size, its depth and its numbers."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight.errors import InputError

MOST_BYTES = 1 << 26
DEEPEST = 100


def read(path: Path, finite: bool = False, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a JSON file. ``finite``: NaN and Infinity, which are no JSON, are errors, and so is 1e999.

    Raises InputError, with what to do, for a file that is too large, no UTF-8, no JSON, or nested too deep.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise InputError(
            f"{path} has {size:,} bytes; expected at most {most_bytes:,}", "restore a copy of it"
        )
    return parse(path.read_bytes(), str(path), finite)


def parse(content: bytes | str, source: str, finite: bool = False) -> Any:
    """The value of a JSON text; ``source`` names it in errors."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(text, **(_FINITE if finite else {}))
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError as error:  # no JSON, no UTF-8, a constant, or a number of thousands of digits
        raise InputError(f"{source} is not JSON ({error})", "write it again or restore a copy") from error
    if _is_deeper(value, DEEPEST):
        raise _too_deep(source)
    return value


Kind = type | tuple[type, ...]


def table_of(value: Any, kinds: Mapping[str, Kind], where: str) -> dict[str, Any]:
    """The value, an object in which each of these fields has a value of its kind; others may be there too.

    ``float`` takes whole numbers as well, and no kind of number takes true or false. Anything else is an
    InputError that begins with ``where``.
    """
    if not isinstance(value, dict):
        raise InputError(f"{where} is {_brief(value)}; expected an object with {', '.join(kinds)}")
    for name, kind in kinds.items():
        if name not in value:
            raise InputError(f"{where} has no {name}; expected {', '.join(kinds)}")
        wanted = kind if isinstance(kind, tuple) else (int, float) if kind is float else (kind,)
        if not isinstance(value[name], wanted) or (isinstance(value[name], bool) and bool not in wanted):
            named = " or ".join(_NAMES.get(one, one.__name__) for one in wanted)
            raise InputError(f"{where} has {name} = {_brief(value[name])}; expected {named}")
    return value


_NAMES = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which is no number")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds {digits[:20]}, which is too large for a number")
    return value


_FINITE: Mapping[str, Any] = {"parse_constant": _refuse, "parse_float": _float}


def _too_deep(source: str) -> InputError:
    return InputError(
        f"{source} is nested more than {DEEPEST} levels deep", "write it again or restore a copy"
    )


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in one another more than so many times."""
    layer = [value]
    for _ in range(levels + 1):
        inner = [one for one in layer if isinstance(one, dict | list)]
        layer = [item for one in inner for item in (one.values() if isinstance(one, dict) else one)]
        if not inner:
            return False
    return True
