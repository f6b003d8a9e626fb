"""JSON output holds the digits that are known, in every command that writes it."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordsight.files.json_text import rounded, to_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (55.00000000000001, "55.0"),
        (100 / 3, "33.333333"),
        (-0.30000000000000004, "-0.3"),
        (0.12345678912, "0.123457"),
        (1.23456789e-9, "1.23457e-09"),
        (1764340000.1234567, "1764340000.123457"),
        (0.0, "0.0"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ("1.00000000001", '"1.00000000001"'),
        ({"R@1": 55.00000000000001, "of": (0.1 + 0.2, [2])}, '{"R@1": 55.0, "of": [0.3, [2]]}'),
    ],
)
def test_floats_are_rounded_and_nothing_else_changes(value: Any, text: str) -> None:
    assert to_json(value) == text


@given(st.floats())
def test_six_digits_are_right(value: float) -> None:
    """Six decimals, or where the number is below 1, six significant digits; infinities and NaN stay."""
    again = rounded(value)
    if not math.isfinite(value):
        assert again == value or math.isnan(again)
    else:
        assert abs(again - value) <= 0.6e-6 * max(min(1.0, abs(value) * 10), 5e-318)
        assert json.loads(to_json(value)) == again
