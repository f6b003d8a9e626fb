"""Plain values -> JSON text in which a measured number has the digits that it was measured with."""

import json
import math
from collections.abc import Mapping
from typing import Any

DIGITS = 6  # decimals of a number; significant digits of one below 1


def to_json(value: Any, **how: Any) -> str:
    """The JSON of ``value``, its floats rounded; ``how`` is passed to ``json.dumps``.

    Means and sums in binary leave a tail (55.00000000000001); nothing here is known to so many digits.
    """
    return json.dumps(rounded(value), **how)


def rounded(value: Any) -> Any:
    """Round every float in a value; mappings and sequences become dicts and lists."""
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    if isinstance(value, float) and value and math.isfinite(value):
        return round(value, DIGITS - min(0, math.floor(math.log10(abs(value))) + 1))
    return value
