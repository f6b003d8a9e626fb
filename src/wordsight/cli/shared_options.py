"""Options that several commands have, each declared once."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli.stderr import say
from wordsight.files.lock import NO_LOCK


def _without_lock(chosen: bool) -> bool:
    """For this process and those that it starts."""
    if chosen:
        os.environ[NO_LOCK] = "1"
    return chosen


NoLock = Annotated[
    bool,
    typer.Option(
        "--no-lock",
        envvar=NO_LOCK,
        callback=_without_lock,
        help="Write where the file system has no locks; make sure that no other process does.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Leave out files or folders, as a .gitignore names them: raw/, '*.gif'. Repeatable. An index "
        "remembers it; --exclude '' ends it.",
    ),
]
FollowLinks = Annotated[
    bool | None,
    typer.Option(
        "--follow-links/--no-follow-links", help="Read folders behind links too. An index remembers it."
    ),
]


Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where to compute: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.",
    ),
]


def say_written(what: str, path: Path | str) -> None:
    """Say on stderr that a file was written; stdout belongs to results."""
    say(f"{what} written to {path}")
