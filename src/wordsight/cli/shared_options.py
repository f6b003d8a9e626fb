"""Options that several commands have, each declared once."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.stderr import say
from wordsight.files.lock import NO_LOCK

if TYPE_CHECKING:
    from wordsight.read.pictures.walk import WalkRules


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


def changed_rules(
    before: "WalkRules", exclude: Sequence[str] | None, follow_links: bool | None
) -> "WalkRules | None":
    """The rules with what the options change; None if they say nothing."""
    from wordsight.read.pictures.walk import WalkRules

    if not exclude and follow_links is None:
        return None
    patterns = tuple(filter(None, exclude)) if exclude else before.exclude
    return WalkRules(patterns, before.follow_links if follow_links is None else follow_links)


def say_written(what: str, path: Path) -> None:
    """Say on stderr that a file was written; stdout belongs to results."""
    say(f"{what} written to {path}")


def left_out_text(left_out: Counter[str]) -> str:
    """One line: how many folders and files were left out, by the reason; empty if none were."""
    parts = ", ".join(f"{reason} ({count:,})" for reason, count in left_out.most_common())
    return f"left out: {parts}" if parts else ""
