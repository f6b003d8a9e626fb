"""Caption lines of a precomputed split and its features or names -> which image each caption tells of."""

from typing import Literal

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_names
from wordsight.read.datasets.deduplicate import (
    Fold,
    fold_by_content,
    fold_by_name,
    fold_evenly,
    lines_per_row,
)
from wordsight.read.datasets.precomputed_images import open_features
from wordsight.read.datasets.precomputed_layout import PrecompSplit
from wordsight.registry.limits import Size

PerRow = Size | Literal["auto"]  # caption lines per row of the features


def fold_features(files: PrecompSplit, texts: list[str], setting: PerRow) -> Fold:
    """Images told apart by the ids, or where there are none by the features themselves."""
    if not files.features.is_file():
        raise MissingFileError(
            f"{files.features} does not exist; fetch the features or make them, or set pictures to the "
            "folder of raw pictures to use these captions with them"
        )
    features = open_features(files.features)
    names, name_path = files.names()
    rows = len(features)
    per_row = lines_per_row(rows, len(texts), setting, (files.features.name, files.captions.name))
    if names is None:
        fold = fold_by_content(features, per_row) if per_row == 1 else fold_evenly(rows, rows, per_row)
        return fold.named([f"{files.split} row {row}" for row in fold.rows])
    if len(names) == rows:
        return fold_by_name(names, per_row)
    if name_path == files.file_names and rows % len(names) == 0:
        return fold_evenly(rows, len(names), per_row).named(names)
    raise InputError(
        f"{name_path.name} has {len(names)} lines but {files.features.name} has {rows} rows; expected one "
        f"per row; fetch both from one place, or take {name_path.name} away to tell images apart by their "
        "features"
    )


def fold_pictures(files: PrecompSplit, texts: list[str], setting: PerRow) -> Fold:
    """Images told apart by file name or id alone; no features needed."""
    path = files.file_names if files.file_names.is_file() else files.ids
    if not path.is_file():
        raise MissingFileError(
            f"{files.folder} has neither {files.ids.name} nor {files.file_names.name}, so nothing says "
            "which picture a caption tells of; add one"
        )
    names = read_names(path)
    return fold_by_name(
        names, lines_per_row(len(names), len(texts), setting, (path.name, files.captions.name))
    )
