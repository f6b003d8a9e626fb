"""A data set or a folder -> the picture files in it, its training texts, or its pairs by split."""

from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_json, read_lines
from wordsight.pairs import PairSet
from wordsight.read.datasets.caption_files import coco_items, folder_items, karpathy_items
from wordsight.read.datasets.person_search import (
    FILES,
    annotation_file,
    is_persons,
    person_items,
    person_pictures,
)
from wordsight.read.datasets.precomputed_layout import find_precomp_folder, find_split
from wordsight.read.datasets.records import Captioned, pair_set, picture_folder, split_order
from wordsight.read.datasets.table import Columns, is_table, table_items, table_texts
from wordsight.read.features.extract import find_pictures
from wordsight.read.pictures.walk import PICTURE_SUFFIXES


def picture_paths(source: Path, pictures: Path | None = None) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Every picture under a folder, or that a caption file names, each once; and the folders closed to us."""
    if not source.is_dir():
        return list(dict.fromkeys(item.picture for item in captioned_items(source, pictures))), []
    paths, closed = find_pictures(source)
    if not paths and not closed:
        raise InputError(f"{source} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return paths, closed


def training_texts(source: Path) -> list[str]:
    """The lines of a text file; of a data set, the texts of its train split (of all, if it has no splits)."""
    if source.is_dir() and not _holds_persons(source):
        captions = find_split(find_precomp_folder(source), "train").captions
        return [line for line in read_lines(captions) if line]
    if source.suffix.lower() == ".txt" and not is_table(source):
        return [line for line in read_lines(source) if line]
    items = captioned_items(annotation_file(source), None)
    train = [item for item in items if item.split in ("train", "restval")] or items
    return [text for item in train for text in item.texts]


def caption_texts(source: Path) -> list[str]:
    """Every text of a file: the lines of a .txt, the captions of a table or of a caption file."""
    if is_table(source):
        return table_texts(source)
    if source.suffix.lower() == ".txt":
        return read_lines(source)
    return [text for item in captioned_items(source) for text in item.texts]


def pairs_by_split(source: Path, pictures: Path | None = None) -> dict[str, PairSet]:
    """The pairs of every split that a data set has; without splits, all are of "train".

    ``source``: a caption file, the folder of person-search annotations, or of pictures with sidecar texts.
    """
    if source.is_dir() and not _holds_persons(source):
        items = folder_items(source)
    else:
        items = captioned_items(annotation_file(source), pictures)
    groups: dict[str, list[Captioned]] = {}
    for item in items:
        groups.setdefault(item.split or "train", []).append(item)
    return {
        split: pair_set(groups[split], source, "error", drop_empty=False)
        for split in sorted(groups, key=split_order)
    }


def _holds_persons(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES)


def captioned_items(source: Path, pictures: Path | None = None) -> list[Captioned]:
    """The pictures that a caption file names, with what it says of them."""
    if not source.exists():
        raise MissingFileError(f"there is no {source}; give a folder of pictures or a caption file")
    folder = picture_folder(source, pictures)
    if is_table(source):
        return table_items(source, folder, Columns())
    content = read_json(source)
    if isinstance(content, dict) and "annotations" in content:
        return coco_items(source, folder)
    if is_persons(content):
        return person_items(source, person_pictures(source, pictures))
    if isinstance(content, list):
        return table_items(source, folder, Columns())
    return karpathy_items(source, folder)
