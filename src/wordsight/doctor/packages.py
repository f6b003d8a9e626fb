"""Versions of packages, and the extras: each is installed, or comes with the command that installs it."""

import platform
import re
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from wordsight.doctor.facts import Fact, State

SHOWN = (
    "torch", "numpy", "transformers", "tokenizers", "huggingface-hub", "safetensors", "pillow", "typer",
    "jaxtyping",
)  # fmt: skip
FOR_DEVELOPERS = {"test", "dev", "docs"}
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?\s*([^;]*?)\s*(?:;\s*(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def versions() -> Iterator[Fact]:
    import wordsight

    yield Fact("wordsight", wordsight.__version__)
    yield Fact("Python", f"{platform.python_version()} ({sys.implementation.name})")
    yield Fact("system", platform.platform())
    needed = {name.lower() for name, _, extra in _requirements() if extra is None}
    for name in SHOWN:
        found = installed(name)
        absent = State.problem if name in needed else State.note
        yield Fact(
            name,
            found or "not installed",
            State.ok if found else absent,
            "" if found else f"pip install {name}",
        )
    yield _sqlite()


def installed(package: str) -> str | None:
    """The version of a package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _sqlite() -> Fact:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(words)")
    except sqlite3.OperationalError:
        problem = "without FTS5, an index cannot be made: install a Python whose SQLite has it"
        return Fact("SQLite", sqlite3.sqlite_version, State.problem, problem)
    finally:
        connection.close()
    return Fact("SQLite", f"{sqlite3.sqlite_version} with FTS5")


def extras() -> Iterator[Fact]:
    """One fact per extra: the packages that it installs, or the command that does so."""
    found: dict[str, list[str]] = {}
    for name, inner, extra in _requirements():
        if extra is not None and extra not in FOR_DEVELOPERS and not inner:
            found.setdefault(extra, []).append(name)
    if not found:
        yield Fact("extras", "unknown: wordsight is not installed as a package", State.note, "pip install .")
    for extra, names in found.items():
        there = {name: installed(name) for name in names}
        if all(there.values()):
            yield Fact(extra, [f"{name} {number}" for name, number in there.items()])
        else:
            absent = [name for name, number in there.items() if number is None]
            command = f"pip install 'wordsight[{extra}]'"
            yield Fact(extra, f"not installed: {', '.join(absent)}", State.ok, command)


def _requirements() -> Iterator[tuple[str, str, str | None]]:
    """Name, extras of the required package, and the extra of wordsight that requires it."""
    try:
        lines = requires("wordsight") or []
    except PackageNotFoundError:
        return
    for line in lines:
        if found := _REQUIREMENT.match(line):
            extra = _EXTRA.search(found[4] or "")
            yield found[1], found[2] or "", extra[1] if extra else None
