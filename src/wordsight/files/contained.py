"""A name in a folder of others -> its path, if neither the name nor a link leads out of the folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from wordsight.errors import InputError


def inside(folder: Path, name: str | Path) -> Path:
    """The path of that name in the folder; raises InputError if the name, or a link, leads out of it.

    The files of a snapshot in the Hugging Face Hub's cache are links into its folder of blobs, which is fine.
    """
    path = folder / name
    try:
        home, real = folder.resolve(), path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name that no file can have
        raise InputError(f"{folder} names {str(name)!r}, which is no file ({error})") from error
    blobs = home.parents[1] / "blobs" if home.parent.name == "snapshots" else home
    if not (real.is_relative_to(home) or real.is_relative_to(blobs)):
        raise InputError(
            f"{folder} names {os.fspath(name)!r}, which is {real}, outside of that folder",
            "a folder is read only if all its files are in it: copy the file there",
        )
    return path


def check_links(folder: Path, deep: bool = True) -> None:
    """Raises InputError for a link in the folder (``deep``: or below) that leads out of it."""
    for path in _entries(folder, deep):
        if path.is_symlink():
            inside(folder, path.relative_to(folder))


def _entries(folder: Path, deep: bool) -> Iterator[Path]:
    if not deep:
        yield from folder.iterdir()
        return
    for place, folders, files in os.walk(folder):
        yield from (Path(place) / name for name in (*folders, *files))
