"""The name of a saved model -> its folder: a local one, the best model of a run, a copy from the Hub."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight import checkpoint
from wordsight.errors import MissingFileError
from wordsight.files.contained import check_links, inside
from wordsight.pretrained.models import MissingModel

_FILES = ("vocabulary", "model", "detector")  # settings that may name a file inside the saved folder


def model_folder(
    name: str | Path, revision: str | None = None, local_files_only: bool = False, token: str | None = None
) -> Path:
    """The folder of a saved model, from a path (also of a training run) or a hub name."""
    home = Path(name).expanduser()
    if not home.is_dir():
        return _download(str(name), revision, local_files_only, token)
    if (home / checkpoint.CONFIG).is_file():
        return home
    if (home / checkpoint.BEST).is_dir():
        return home / checkpoint.BEST
    if any((home / name).is_file() for name in checkpoint.OF_A_RUN):
        raise MissingFileError(f"{home} is a run without a best model yet; go on with it: train --resume")
    return home


def with_paths(table: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """The table with the paths of the files that it names, all of which must be in the folder."""
    named = {key: inside(home, table[key]) for key in _FILES if isinstance(table.get(key), str)}
    for key, path in named.items():
        if not path.exists():
            raise MissingFileError(
                f"{home} has no {table[key]}, which its {checkpoint.CONFIG} names as {key}",
                "copy the folder again",
            )
        check_links(path)
    return dict(table) | {key: str(path) for key, path in named.items()}


def _download(name: str, revision: str | None, local_files_only: bool, token: str | None) -> Path:
    looks_like_a_path = name.count("/") != 1 or name.startswith((".", "/", "~")) or os.sep * 2 in name
    if looks_like_a_path:
        raise MissingFileError(
            f"there is no folder {name}; give the folder of a saved model or a hub name user/model"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, revision=revision, local_files_only=local_files_only, token=token)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise MissingModel(
            f"{name} is neither a folder here nor to be had from the hub ({type(error).__name__}); where "
            f"there is a network run: hf download {name} --local-dir {Path(name).name}; "
            "then copy the model folder to this machine and give its path"
        ) from error
