"""Limits of the values in a table, written where the setting is declared: ``dim: Size = 1024``."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

LARGEST = 2.0**62  # that 64 bits hold, and more than anything here counts
POSITIVE = sys.float_info.min


@dataclass(frozen=True)
class Limits:
    """The least and the greatest number that makes sense; without an annotation, any finite number does."""

    least: float = -LARGEST
    most: float = LARGEST
    words: str = ""  # for the message, where the two numbers do not say it well

    def wrong(self, value: Any) -> list[Any]:
        """The numbers of a value, alone or in a list, that are outside the limits."""
        several = value if isinstance(value, list | tuple) else [value]
        numbers = [one for one in several if isinstance(one, int | float) and not isinstance(one, bool)]
        return [number for number in numbers if not self.least <= number <= self.most]

    def expected(self, wrong: Any) -> str:
        """The right values, in words for a message."""
        if self.words:
            return self.words
        if self.most <= 1:
            return f"{self.least:.0f} to {self.most:.0f}"
        if wrong > self.most:
            return "a smaller number" if self.most == LARGEST else f"at most {self.most:,.0f}"
        known = {-LARGEST: "a finite number", 0: "0 or more", POSITIVE: "more than 0"}
        return known.get(self.least, f"at least {self.least:.0f}")


@dataclass(frozen=True)
class OneOf:
    """The texts that a setting may be."""

    choices: tuple[str, ...]

    def __init__(self, *choices: str) -> None:
        object.__setattr__(self, "choices", choices)

    def wrong(self, value: Any) -> list[Any]:
        return [] if value in self.choices else [value]

    def expected(self, wrong: Any) -> str:  # noqa: ARG002
        return f"one of {', '.join(self.choices)}"


Positive = Annotated[float, Limits(POSITIVE)]
NotNegative = Annotated[float, Limits(0)]
Share = Annotated[float, Limits(0, 1)]
ShareBelowOne = Annotated[float, Limits(0, math.nextafter(1, 0), "0 up to, but not including, 1")]
PositiveShare = Annotated[float, Limits(POSITIVE, 1, "above 0, up to 1")]
Whole = Annotated[int, Limits(0, 1e9)]
Size = Annotated[int, Limits(1, 1e6)]  # numbers of a vector, words of a text
Count = Annotated[int, Limits(1, 1e8)]  # items of a collection
PixelSide = Annotated[int, Limits(1, 16384)]  # height or width of a picture


def limits_of(annotation: Any) -> Limits | OneOf:
    """The limits in an annotation: its own, or those of the numbers in a union or a list."""
    for item in annotation.__metadata__ if get_origin(annotation) is Annotated else ():
        if isinstance(item, Limits | OneOf):
            return item
    inner = () if get_origin(annotation) is Mapping else get_args(annotation)
    return next((limits for one in inner if (limits := limits_of(one)) != Limits()), Limits())
