"""A path -> the data set at it, in whichever format it is; and the texts of a data set or of a text file."""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wordsight import registry
from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import outline, read_lines
from wordsight.read.datasets.dataset import Dataset
from wordsight.read.datasets.folder import caption_files
from wordsight.read.datasets.precomputed_layout import CAPTIONS
from wordsight.read.datasets.table import TABLE_SUFFIXES, Table
from wordsight.read.features.extract import find_pictures
from wordsight.read.pictures.walk import PICTURE_KINDS, WalkNotes, WalkRules
from wordsight.read.validate.report import some

log = logging.getLogger(__name__)


def open_dataset(path: str | Path, **settings: Any) -> Dataset:
    """The data set at a path, in the first format that recognizes it: those of installed packages first.

    ``settings`` that are None are left out; one that the format does not have is an error.
    Raises MissingFileError if nothing is there, InputError if nothing there is known as data.
    """
    path = Path(path)
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in settings.items()
        if value is not None
    }
    found = _format_of(path, given)
    for name in given:
        if name not in inspect.signature(found).parameters:
            raise InputError(f"{path} is read as {found.kind}, which has no {_option(name)}", "leave it out")
    dataset: Dataset = registry.instantiate(found, str(path), {"path": str(path), **given})
    return dataset


def picture_paths(
    source: Path, rules: WalkRules | None = None, notes: WalkNotes | None = None, **settings: Any
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Every picture under a folder, or that a data set names, each once; and what cannot be read, and why."""
    if source.is_dir() and not any(settings.values()):
        paths, closed = find_pictures(source, rules, notes)
        if paths or closed:
            return paths, closed
    return list(dict.fromkeys(open_dataset(source, **settings).pictures_named())), []


def texts_of(source: Path, splits: Sequence[str] | None = None, **settings: Any) -> list[str]:
    """The lines of a text file; of a data set, the texts of these splits (None, or without splits: all)."""
    given = {name: value for name, value in settings.items() if value is not None}
    if not given and is_text_file(source):
        return read_lines(source)
    return open_dataset(source, **given).texts(splits)


def is_text_file(source: Path) -> bool:
    """Whether a file holds one text per line: a .txt that does not begin as a table does."""
    return source.suffix.lower() == ".txt" and source.is_file() and _recognized(source) is None


def _format_of(path: Path, given: Mapping[str, Any]) -> type[Dataset]:
    if not path.exists():
        raise MissingFileError(f"there is no {path}", "give a caption file, or the folder of a data set")
    found = _recognized(path)
    if found is None and path.is_file() and any(name.endswith("_column") for name in given):
        return Table  # whatever its suffix and its header
    if found is None:
        raise InputError(*_unknown(path))
    return found


def _option(name: str) -> str:
    return "--split-seed" if name == "seed" else f"--{name.replace('_', '-')}"


def _recognized(path: Path) -> type[Dataset] | None:
    return next((one for one in _formats() if one.detect(path)), None)


def _formats() -> Iterator[type[Dataset]]:
    """All formats, those of installed packages first; one that cannot be used does not stop the others."""
    own = registry.REGISTRY["data"]
    added = [name for name in registry.names_of("data") if name not in own]
    for name in (*added, *own):
        try:
            found = registry.find("data", name)
        except Exception as error:  # whatever a package of others does when it is imported
            if name in own:
                raise
            log.warning('data format "%s" is left out: %s', name, error)
            continue
        if isinstance(found, type):
            yield found


NAMES_OF_TARS = "name the shards of a WebDataset 00000.tar, 00001.tar or train-000000.tar"


def _unknown(path: Path) -> tuple[str, str]:
    """Why a path is no data set that is known, and what may help."""
    if path.is_dir():
        if any(path.rglob("*_ims.npy")):
            return (
                f"{path} holds features but no captions",
                f"put train{CAPTIONS} beside train_ims.npy, one caption per line, five lines per row",
            )
        tar = next(path.rglob("*.tar"), None)
        if tar is not None:
            return f"{path} holds {tar.name}, which is no shard by its name", NAMES_OF_TARS
        files = caption_files(path)
        return (
            f"{path} holds neither *{CAPTIONS} (a precomputed folder), nor shards (.tar, TFRecords), nor "
            f"pictures ({PICTURE_KINDS})",
            f"if one of {some(files)} is the caption file, give its path" if files else "check the path",
        )
    if path.suffix.lower() == ".tar":
        return (
            f"{path} is one file, and shards are read by their folder",
            f"give {path.parent}; {NAMES_OF_TARS}",
        )
    found = outline(path)
    if found is not None and "word2idx" in found.keys:
        return f"{path} is a vocabulary", f"check a data set with it: --vocabulary {path}"
    if found is not None:
        keys = some(sorted(found.keys)) or "nothing"
        return f"{path} holds {keys}", "expected images (Karpathy, COCO), or a list of objects"
    return (
        f"{path} is of no known kind",
        "expected a precomputed folder, a folder of shards, or of pictures with .txt beside them, a caption "
        f"file (.json, {', '.join(TABLE_SUFFIXES)}, .txt with a header)",
    )
