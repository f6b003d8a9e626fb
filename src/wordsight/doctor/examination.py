"""Indexes, optionally -> the whole report: every section, in the order in which it is read."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.doctor.choices import choices
from wordsight.doctor.facts import Fact, Report, section
from wordsight.doctor.hub import hub
from wordsight.doctor.index_health import index_health
from wordsight.doctor.machine import gpu, processor
from wordsight.doctor.packages import extras, versions
from wordsight.doctor.storage import caches, disks

if TYPE_CHECKING:
    from wordsight.search.places import Place


def examine(indexes: "Sequence[Place]" = (), network: bool = True) -> Report:
    """Read all facts. ``network``: also ask the hub, which takes two seconds at most."""
    parts: list[tuple[str, Callable[[], Iterable[Fact]]]] = [
        ("versions", versions),
        ("processor", processor),
        ("chosen on this processor", choices),
        ("GPU", gpu),
        ("extras", extras),
        ("caches", caches),
        ("disk", partial(disks, [one for one in indexes if isinstance(one, Path)])),
    ]
    if network:
        parts.append(("hub", hub))
    parts += [(f"index {number}", partial(index_health, index)) for number, index in enumerate(indexes, 1)]
    return Report([section(name, read) for name, read in parts])
