"""Picture file -> when, with which camera and where it was taken, as its EXIF says."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.read.pictures.date_taken import date_in, exif_of, text_of

MAKE, MODEL = 0x010F, 0x0110
SOUTH_OR_NORTH, LATITUDE, WEST_OR_EAST, LONGITUDE = 1, 2, 3, 4  # in the block of the place
MOST_CHARACTERS = 100  # of a camera's name
MICRO = 10**6  # places are stored in millionths of a degree, a tenth of a metre


@dataclass(frozen=True)
class PhotoFacts:
    """Date, camera and place by EXIF; the defaults stand for nothing usable."""

    taken: int | None = None  # nanoseconds since 1970
    camera: str = ""  # maker and model
    latitude: int | None = None  # millionths of a degree; north is positive
    longitude: int | None = None  # east is positive


NO_FACTS = PhotoFacts()


def photo_facts(path: str | Path) -> PhotoFacts:
    """Facts of a picture; none for a file that cannot be read."""
    tags, place = exif_of(path)
    try:
        latitude, longitude = _place(place)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        latitude = longitude = None
    return PhotoFacts(date_in(tags), _camera(tags), latitude, longitude)


def _camera(tags: dict[int, Any]) -> str:
    """Maker and model; many models begin with their maker."""
    make, model = (" ".join(text_of(tags.get(tag)).split()) for tag in (MAKE, MODEL))
    words = make.split()
    whole = model if words and model.lower().startswith(words[0].lower()) else f"{make} {model}"
    return "".join(filter(str.isprintable, whole)).strip()[:MOST_CHARACTERS]


def _place(tags: dict[int, Any]) -> tuple[int | None, int | None]:
    """Latitude and longitude; zero for both is how cameras write that they do not know."""
    north = _degrees(tags[LATITUDE], text_of(tags.get(SOUTH_OR_NORTH)), "S") if LATITUDE in tags else None
    east = _degrees(tags[LONGITUDE], text_of(tags.get(WEST_OR_EAST)), "W") if LONGITUDE in tags else None
    if north is None or east is None or abs(north) > 90 or abs(east) > 180 or (north, east) == (0, 0):
        return None, None
    return round(north * MICRO), round(east * MICRO)


def _degrees(parts: Any, side: str, negative: str) -> float | None:
    """Degrees of degrees, minutes and seconds."""
    numbers: list[float] = [float(part) for part in (parts if isinstance(parts, tuple | list) else [parts])]
    degrees: float = sum(number / 60**n for n, number in enumerate(numbers[:3]))
    if not math.isfinite(degrees):
        return None
    return -degrees if side.upper().startswith(negative) else degrees
