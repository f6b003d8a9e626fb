"""An index, or a plain folder of pictures -> an index to ask; that of a plain folder is kept for the user.

It is made at the first question and brought in step at each later one, so that one command is enough. It lies
in the user's folder for what can be made again, one for each model, and never among the pictures.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wordsight.cli.index import in_step
from wordsight.cli.shared_options import changed_rules, left_out_text
from wordsight.cli.stderr import say
from wordsight.errors import InputError, MissingFileError
from wordsight.runtime.malloc import share_freed_memory

if TYPE_CHECKING:
    from wordsight.read.pictures.walk import WalkRules
    from wordsight.search.index.index import Index

QUIET_SECONDS = 5.0  # a search says nothing of an update of its index that takes less
EXAMPLE = "openai/clip-vit-base-patch32"


def index_at(
    path: Path,
    model: str | None = None,
    exclude: Sequence[str] | None = None,
    follow_links: bool | None = None,
    trust_remote_code: bool = False,
) -> "Index":
    """An index, or that of a plain folder, brought in step; ``model`` makes it and is needed once.

    Raises FileNotFoundError if nothing is there, ValueError for a folder without pictures or an index that
    another model has made.
    """
    from wordsight.search.index.index import Index
    from wordsight.search.index.manifest import META

    if (path / META).is_file():
        if exclude or follow_links is not None:
            raise typer.BadParameter(
                f"{path} is an index; what it leaves out is said when it is made or updated: wordsight index "
                f"FOLDER --out {path} --exclude PATTERN"
            )
        opened = Index.open(path, trust_remote_code)
        if model is not None:
            from wordsight.runs import matcher_folder

            opened.check_model(matcher_folder(model))
        return opened
    if not path.is_dir():
        told = "is a file" if path.exists() else "is not there"
        raise MissingFileError(f"{path} {told}; give an index, or a folder of pictures")
    return _of_folder(path, model, exclude, follow_links, trust_remote_code)


def cached_index_folder(pictures: Path) -> Path:
    """Where the indexes of this folder are kept, one below for each model."""
    from wordsight.files.user_cache import cache_folder

    path = os.path.abspath(pictures)
    stamp = hashlib.blake2b(os.fsencode(path), digest_size=6).hexdigest()
    return cache_folder() / "indexes" / f"{os.path.basename(path)[:40]}-{stamp}"


def _of_folder(
    pictures: Path,
    model: str | None,
    exclude: Sequence[str] | None,
    follow_links: bool | None,
    trust_remote_code: bool,
) -> "Index":
    from wordsight.files.lock import StoreInUse
    from wordsight.runs import matcher_folder
    from wordsight.search.index.index import Index, begun_or_removed
    from wordsight.search.index.manifest import META, identity

    if model is None:
        home = _last_used(pictures)
    else:
        made_by = matcher_folder(model)
        home = cached_index_folder(pictures) / identity(made_by)[:12]
    with begun_or_removed(home):
        if not (home / META).is_file():
            _must_hold_pictures(pictures)
            share_freed_memory()
            Index.create(home, made_by, trust_remote_code=trust_remote_code)
            say(f"{pictures} is indexed for the first time, in {home}")
        with suppress(OSError):
            os.utime(home / META)
        try:
            opened = Index.open_to_write(home, trust_remote_code)
            _follow(opened, pictures, changed_rules(opened.walk_rules(), exclude, follow_links))
        except StoreInUse:
            say(f"another process brings the index of {pictures} in step; what it has by now is searched")
    return Index.open(home, trust_remote_code)


def _last_used(pictures: Path) -> Path:
    from wordsight.search.index.manifest import META

    there = sorted(cached_index_folder(pictures).glob(f"*/{META}"), key=os.path.getmtime)
    if there:
        return there[-1].parent
    _must_hold_pictures(pictures)
    raise typer.BadParameter(
        f"{pictures} is no index, and has none yet: name the model that makes it, once, with --model; "
        f"a run's folder, or a published one such as {EXAMPLE}"
    )


def _must_hold_pictures(folder: Path) -> None:
    from wordsight.read.pictures.walk import PICTURE_SUFFIXES, pictures_below

    if not any(pictures_below(folder)):
        raise InputError(f"{folder} is no index, and holds no pictures ({', '.join(PICTURE_SUFFIXES)})")


def _follow(kept: "Index", pictures: Path, rules: "WalkRules | None") -> None:
    """Take in new, changed, renamed and deleted pictures; what changed is said on stderr."""
    report = in_step(kept, [pictures], rules=rules, quiet_seconds=QUIET_SECONDS)
    counts = {name: getattr(report, name) for name in ("added", "updated", "renamed", "deleted")}
    if any(counts.values()):
        if report.left_out:
            say(f"{pictures}: {left_out_text(report.left_out)}")
        say(f"{pictures}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    if report.skipped:
        which = f"wordsight index {pictures} --out {kept.folder}"
        say(f"{len(report.skipped)} of its files or folders cannot be read; which, and why: {which}")
