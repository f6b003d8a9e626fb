"""Options that several commands have, each declared once."""

import os
from typing import Annotated

import typer

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
