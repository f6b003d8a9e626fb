"""The folders that wordsight writes to: where they are, how large, how much room is left."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir

from wordsight.doctor.facts import Fact, State
from wordsight.files.user_cache import cache_folder

LITTLE_ROOM = 1.0  # GB
SECONDS = 0.5  # for adding up the sizes of one cache


def caches() -> Iterator[Fact]:
    own = cache_folder()
    yield _cache("own cache", own, "wordsight makes again what is deleted here")
    indexes = own / "indexes"
    if indexes.is_dir():
        yield Fact("indexes of folders", sum(1 for _ in indexes.iterdir()))
    if find_spec("huggingface_hub") is not None:
        from huggingface_hub import constants

        hub = Path(constants.HF_HUB_CACHE)
        yield _cache("hub cache", hub, "")
        if hub.is_dir():
            names = sorted(
                one.name.removeprefix("models--").replace("--", "/") for one in hub.glob("models--*")
            )
            yield Fact("models in it", names)


def _cache(name: str, folder: Path, advice: str) -> Fact:
    if not folder.exists():
        above = next((one for one in folder.parents if one.exists()), folder)
        if os.access(above, os.W_OK):
            return Fact(name, f"{shown(folder)}, not there yet")
        return Fact(name, shown(folder), State.problem, f"{shown(above)} cannot be written")
    if not os.access(folder, os.W_OK):
        return Fact(
            name, shown(folder), State.problem, "it cannot be written: set WORDSIGHT_CACHE or HF_HOME"
        )
    size, whole = _size(folder)
    value = f"{shown(folder)}, {'' if whole else 'more than '}{size / 1e6:,.1f} MB"
    return Fact(name, value, advice=advice if size else "")


def shown(path: Path) -> str:
    """The path, with ~ for the home folder: a report is sent to others."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)


def _size(folder: Path) -> tuple[int, bool]:
    """Bytes of all files below a folder, and whether there was time to count them all."""
    end, size = time.monotonic() + SECONDS, 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
        if time.monotonic() > end:
            return size, False
    return size, True


def disks(indexes: Sequence[Path]) -> Iterator[Fact]:
    """Free space where something is written, once per file system."""
    places = {"this folder": Path.cwd(), "cache": cache_folder(), "temporary files": Path(gettempdir())}
    places |= {shown(index): index for index in indexes}
    by_disk: dict[int, tuple[list[str], Path]] = {}
    for name, folder in places.items():
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        by_disk.setdefault(there.stat().st_dev, ([], there))[0].append(name)
    for names, there in by_disk.values():
        free = shutil.disk_usage(there).free / 1e9
        little = free < LITTLE_ROOM
        yield Fact(
            ", ".join(names),
            f"{free:,.1f} GB free",
            State.note if little else State.ok,
            "make room before you index or train" if little else "",
        )
