"""Picture file -> when it was taken, as its EXIF block says; None where that says nothing usable.

EXIF gives the time of the clock where the picture was taken, at best with the offset from UTC. Without one
it is read as a time of this machine's zone, which is how people type dates into a filter.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from wordsight.read.pictures.heic import open_file

EXIF = 0x8769  # the block inside the first one
PLACE = 0x8825  # another: where the picture was taken
TAGS = (  # of date and time, of its offset, of its fraction of a second
    (0x9003, 0x9011, 0x9291),  # taken
    (0x9004, 0x9012, 0x9292),  # digitized
    (0x0132, 0x9010, 0x9290),  # the file was written
)
EARLIEST = 1826  # the year of the first photograph
_DATE = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T]+(\d\d):(\d\d)(?::(\d\d))?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def date_taken(path: str | Path) -> int | None:
    """Nanoseconds since 1970; None also for a file that cannot be read."""
    return date_in(exif_of(path)[0])


def exif_of(path: str | Path) -> tuple[dict[int, Any], dict[int, Any]]:
    """The tags of a picture, and those of its place; empty for a file that cannot be read."""
    try:
        with open_file(path) as picture:
            if picture.format == "PNG" and "exif" not in picture.info:
                return {}, {}  # or Pillow would decode all of it to look behind the pixels
            exif = picture.getexif()
            tags = {**dict(exif), **exif.get_ifd(EXIF)}
    except Exception:  # a broken block raises nearly every class, and the picture itself may be fine
        return {}, {}
    try:
        return tags, dict(exif.get_ifd(PLACE))
    except Exception:
        return tags, {}


def date_in(tags: dict[int, Any]) -> int | None:
    """The date that these tags give, in nanoseconds since 1970."""
    dates = (_nanoseconds(tags, *names) for names in TAGS)
    return next((date for date in dates if date is not None), None)


def _nanoseconds(tags: dict[int, Any], date: int, offset: int, fraction: int) -> int | None:
    found = _DATE.match(text_of(tags.get(date)))
    if found is None or int(found[1]) < EARLIEST:
        return None
    try:
        taken = datetime(*(int(number or 0) for number in found.groups()), tzinfo=_zone(tags.get(offset)))  # type: ignore[misc,arg-type]
        whole = (taken.astimezone(UTC) - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError, OSError):  # the 31st of February; what this system's clock cannot hold
        return None
    digits = re.match(r"\d{1,9}", text_of(tags.get(fraction)))
    return whole * 10**9 + (int(digits[0].ljust(9, "0")) if digits else 0)


def _zone(offset: Any) -> timezone | None:
    found = _OFFSET.match(text_of(offset))
    if found is None:
        return None
    minutes = 60 * int(found[2]) + int(found[3])
    return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))


def text_of(value: Any) -> str:
    """The text of a tag, which may be stored as bytes."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")
