"""A folder of pictures -> its index in the user's cache: made at the first search, updated at each later one.

There is one index for each model; none lies among the pictures.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wordsight.errors import InputError
from wordsight.files.index_folder import META
from wordsight.files.lock import StoreInUse
from wordsight.files.user_cache import cached_index_folder, cached_indexes
from wordsight.read.pictures.walk import PICTURE_KINDS, WalkRules, left_out_text, pictures_below
from wordsight.runtime.progress import Progress, silent
from wordsight.search.index.index import Index, begun_or_removed
from wordsight.search.index.manifest import identity

_log = logging.getLogger("wordsight.search")


class NoIndexYet(InputError):  # noqa: N818
    """A folder of pictures that no model has indexed, and no model was given."""


def open_folder_index(
    pictures: Path,
    matcher_folder: Path | None = None,
    exclude: Sequence[str] | None = None,
    follow_links: bool | None = None,
    progress: Progress = silent,
    trust_remote_code: bool = False,
    device: str = "auto",
) -> Index:
    """The up-to-date index of a folder; without a model, the one that was used last.

    Raises NoIndexYet if there is none and no model to make it, InputError for a folder without pictures.
    While another process updates the index, the state before is opened.
    """
    home = _home(pictures, matcher_folder)
    with begun_or_removed(home):
        if not (home / META).is_file():
            assert matcher_folder is not None  # else the index exists
            _must_hold_pictures(pictures)
            Index.create(home, matcher_folder, trust_remote_code=trust_remote_code)
            _log.info("%s is indexed for the first time, in %s", pictures, home)
        with suppress(OSError):
            os.utime(home / META)
        try:
            index = Index.open_to_write(home, trust_remote_code, device)
            _update(index, pictures, index.walk_rules().changed(exclude, follow_links), progress)
        except StoreInUse:
            _log.info("another process updates the index of %s; its present state is searched", pictures)
    return Index.open(home, trust_remote_code, device)


def _home(pictures: Path, matcher_folder: Path | None) -> Path:
    if matcher_folder is not None:
        return cached_index_folder(pictures) / identity(matcher_folder)[:12]
    if existing := cached_indexes(pictures):
        return existing[-1]
    _must_hold_pictures(pictures)
    raise NoIndexYet(f"{pictures} is no index, and has none yet", "name the model that makes it")


def _must_hold_pictures(folder: Path) -> None:
    if not any(pictures_below(folder)):
        raise InputError(
            f"{folder} is no index, and holds no pictures",
            f"give an index, or a folder of pictures ({PICTURE_KINDS})",
        )


def _update(index: Index, pictures: Path, rules: WalkRules | None, progress: Progress) -> None:
    """Take in new, changed, renamed and deleted pictures, and log what changed."""
    report = index.update([pictures], progress, rules=rules)
    counts = {name: getattr(report, name) for name in ("added", "updated", "renamed", "deleted")}
    if any(counts.values()):
        if report.left_out:
            _log.info("%s: %s", pictures, left_out_text(report.left_out))
        changes = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        _log.info("%s: %s", pictures, changes)
    if report.skipped:
        which = f"wordsight index {pictures} --out {index.folder}"
        count = len(report.skipped)
        _log.info("%d of its files or folders cannot be read; which, and why: %s", count, which)
