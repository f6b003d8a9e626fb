"""INDEX on the command line -> an opened index: of a folder, of a server, or in the user's cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wordsight.cli.choose_export import silence_exporter
from wordsight.cli.leave_export import leave_export
from wordsight.errors import MissingFileError
from wordsight.runtime.malloc import share_freed_memory
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.search.index.interface import SearchableIndex
    from wordsight.search.places import Place

QUIET_SECONDS = 5.0  # an update of the index that takes less shows no progress in a log
EXAMPLE = "openai/clip-vit-base-patch32"


def index_place(text: str) -> "Place":
    """A folder, or the address of an index on a server."""
    if "://" not in text:
        return Path(text)
    from wordsight.search import places

    return places.index_place(text)


def index_at(
    path: "Place",
    model: str | None = None,
    exclude: Sequence[str] | None = None,
    follow_links: bool | None = None,
    trust_remote_code: bool = False,
    device: str = "auto",
) -> "SearchableIndex":
    """An index, or that of a folder of pictures, updated; ``model`` makes it and is needed once.

    Raises MissingFileError if nothing is at the path, InputError for a folder without pictures or an index
    that another model has made, or for a device that is not there.
    """
    from wordsight.runtime.device import find_device

    if device != "auto":
        find_device(device)  # an error comes before anything is loaded
    from wordsight.files.index_folder import META

    if not isinstance(path, Path):
        return _opened(path, model, trust_remote_code, device)
    if (path / META).is_file():
        if exclude or follow_links is not None:
            raise typer.BadParameter(
                f"{path} is an index; choose what it leaves out when it is made or updated: wordsight index "
                f"FOLDER --out {path} --exclude PATTERN"
            )
        return _opened(path, model, trust_remote_code, device)
    if not path.is_dir():
        problem = "is a file" if path.exists() else "is not there"
        raise MissingFileError(f"{path} {problem}", "give an index, or a folder of pictures")
    return _of_folder(path, model, exclude, follow_links, trust_remote_code, device)


def _opened(path: "Place", model: str | None, trust_remote_code: bool, device: str) -> "SearchableIndex":
    from wordsight.search.places import open_index

    opened = open_index(path, trust_remote_code, device)
    if model is not None:
        from wordsight.runs.opening import matcher_folder

        opened.check_model(matcher_folder(model))
    return opened


def _of_folder(
    path: Path,
    model: str | None,
    exclude: Sequence[str] | None,
    follow_links: bool | None,
    trust_remote_code: bool,
    device: str,
) -> "SearchableIndex":
    silence_exporter()
    from wordsight.files.user_cache import cached_indexes
    from wordsight.search.index.folder import NoIndexYet, open_folder_index

    known = cached_indexes(path)
    made_by = None
    if model is not None:
        from wordsight.runs.opening import matcher_folder

        made_by = matcher_folder(model)
    share_freed_memory()
    try:
        with ProgressDisplay(QUIET_SECONDS) as progress:
            opened = open_folder_index(
                path, made_by, exclude, follow_links, progress, trust_remote_code, device
            )
    except NoIndexYet as error:
        raise typer.BadParameter(
            f"{error}, once, with --model: a run's folder, or a published one such as {EXAMPLE}"
        ) from error
    if opened.folder not in known:  # a model that cannot be exported is tried once, not at every search
        leave_export(opened)
    return opened
