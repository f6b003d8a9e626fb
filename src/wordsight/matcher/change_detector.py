"""A saved matcher whose reader is a backbone -> the same with another detector, in a folder of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight import checkpoint, registry
from wordsight.errors import InputError
from wordsight.matcher.folders import with_paths
from wordsight.matcher.matcher import Matcher

_SETTINGS = ("detector", "detections", "detect", "detector_threshold")


def change_detector(
    home: Path, out: Path, settings: Mapping[str, Any], trust_remote_code: bool = False
) -> Path:
    """Write ``out``, whose pictures also have the boxes of the detector of these settings; returns it.

    Raises InputError for a matcher that reads no regions of a backbone.
    """
    table = checkpoint.read_config(home)["parts"]["reader"]
    if table["name"] != "backbone":
        raise InputError(
            f"the reader {table['name']} of {home} has no place for a detector's boxes",
            'leave --detector out, or take a model with [reader] name = "backbone"',
        )
    matcher = Matcher.from_pretrained(home, trust_remote_code=trust_remote_code)
    before = {key: value for key, value in with_paths(table, home).items() if key not in _SETTINGS}
    matcher.reader = registry.build("reader", before | dict(settings))
    matcher.save_pretrained(out, {"made from": str(home), "detector": settings["detector"]})
    return out
