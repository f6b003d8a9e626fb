"""Circles on the earth: what the filter ``near`` means, its text form, and the distance in kilometres."""

import math
import re
from typing import NamedTuple

from wordsight.errors import InputError
from wordsight.read.pictures.photo_facts import MICRO

EARTH_KM = 6371.0088  # mean radius
KM_PER_DEGREE = EARTH_KM * math.pi / 180
_FRACTION = r"(\.[0-9]{1,12})?"
PATTERN = (  # latitude,longitude,kilometres
    rf"^[+-]?(90(\.0{{1,12}})?|[1-8]?[0-9]{_FRACTION}),"
    rf"[+-]?(180(\.0{{1,12}})?|(1[0-7][0-9]|[1-9]?[0-9]){_FRACTION}),[0-9]{{1,5}}{_FRACTION}$"
)


class Near(NamedTuple):
    """A circle: its centre in degrees, north and east positive, and its radius."""

    latitude: float
    longitude: float
    kilometres: float

    @property
    def latitudes(self) -> tuple[int, int]:
        """Least and largest latitude in millionths of a degree."""
        reach = self.kilometres / KM_PER_DEGREE
        return math.floor((self.latitude - reach) * MICRO), math.ceil((self.latitude + reach) * MICRO)


def parse_near(text: str) -> Near:
    """The circle of a text such as 52.52,13.405,5. Raises InputError."""
    plain = "".join(text.split())
    if re.match(PATTERN, plain) is None:
        raise InputError(
            f"{text!r:.80} is no place", "write latitude,longitude,kilometres in degrees: 52.52,13.405,5"
        )
    return Near(*map(float, plain.split(",")))


def distance_km(latitude: object, longitude: object, north: float, east: float) -> float | None:
    """Distance of a stored place, in millionths of a degree, from a place in degrees; None for no place."""
    if not isinstance(latitude, int) or not isinstance(longitude, int):
        return None
    a, b = math.radians(latitude / MICRO), math.radians(north)
    c = math.radians(longitude / MICRO - east)
    half = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(c / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(max(0.0, half))))


def place_of(latitude: int | None, longitude: int | None) -> tuple[float, float] | None:
    """A stored place in degrees; None where none is known."""
    return None if latitude is None or longitude is None else (latitude / MICRO, longitude / MICRO)
