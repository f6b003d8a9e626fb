"""Captions and hard negatives, made wrong on purpose, of pictures: SugarCrepe, ARO, Winoground, own files.

SugarCrepe   ``swap_att.json`` and its like: {"0": {filename, caption, negative_caption}, ...}; the kind is
             the name of the file
ARO          ``visual_genome_attribution.json``, ``visual_genome_relation.json``: [{image_path, true_caption,
             false_caption, bbox_x, bbox_y, bbox_w, bbox_h, relation_name}, ...]; the picture is cropped
Winoground   ``examples.jsonl``: {image_0, image_1, caption_0, caption_1, collapsed_tag} per line: each
             caption is right for one picture and wrong for the other
your own     a table (CSV, TSV, JSON lines) with the columns picture, caption, negative, and perhaps kind

A folder stands for all of these files in it.

Sources: Hsieh et al., "SugarCrepe", NeurIPS 2023; Yuksekgonul et al., "When and why vision-language models
behave like bags-of-words", ICLR 2023; Thrush et al., "Winoground", CVPR 2022.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_json
from wordsight.files.tables import read_rows
from wordsight.pairs import Picture
from wordsight.read.datasets.picture_names import PictureFolder
from wordsight.read.datasets.values import shown
from wordsight.read.pictures.decode import open_picture

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
PICTURE_FOLDERS = ("", "images", "val2017", "pictures")
OWN_COLUMNS = {"picture": ("picture", "image", "filename"), "negative": ("negative", "negative_caption")}
Crop = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class PictureFile:
    """A picture file, and the part of it that is meant."""

    path: Path
    crop: Crop | None = None

    def open(self) -> Picture:
        return self.path if self.crop is None else open_picture(self.path).crop(self.crop)


@dataclass(frozen=True)
class CaptionChoice:
    """Pictures and captions: caption n is right for picture n, the others are wrong for it.

    One picture has a right caption and a wrong one; of two pictures each has one of two captions.
    """

    kind: str
    pictures: Sequence[PictureFile]
    captions: Sequence[str]


def read_caption_choices(path: Path, pictures: Path | None = None) -> list[CaptionChoice]:
    """Read a file, or every known file of a folder. Pictures are looked up in ``pictures``, or next to it.

    Raises InputError that names the file and the entry; MissingFileError, also for missing pictures.
    """
    files = [path] if path.is_file() else sorted(_known_files(path))
    if not files:
        raise MissingFileError(f"{path} holds no captions with hard negatives ({', '.join(SUFFIXES)})")
    choices: list[CaptionChoice] = []
    for file in files:
        near = [file.parent / name for name in PICTURE_FOLDERS if (file.parent / name).is_dir()]
        choices += _read_file(file, PictureFolder([pictures] if pictures else near))
    absent = [one.path for choice in choices for one in choice.pictures if not one.path.is_file()]
    if absent:
        raise MissingFileError(
            f"{len(absent)} pictures of {path} do not exist, the first at {absent[0]}",
            "name their folder: --pictures FOLDER",
        )
    return choices


def _known_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise MissingFileError(f"{folder} does not exist; give the file or the folder of the benchmark")
    return (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read_file(path: Path, folder: PictureFolder) -> list[CaptionChoice]:
    if path.suffix.lower() != ".json":
        return [_choice(row.values, f"{path} {row.place}", path, folder) for row in read_rows(path)]
    document = read_json(path)
    entries = list(document.values()) if isinstance(document, dict) else document
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} is {shown(document)}; expected captions with hard negatives")
    return [_choice(entry, f"{path} entry {number}", path, folder) for number, entry in enumerate(entries)]


def _choice(entry: Any, place: str, path: Path, folder: PictureFolder) -> CaptionChoice:
    """One entry of any of the layouts, told apart by its fields."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{place} is {shown(entry)}; expected an object")
    names = {str(key).lower(): value for key, value in entry.items()}
    if "caption_0" in names:
        kind = names.get("collapsed_tag") or names.get("tag") or path.stem
        files = [PictureFile(_picture(folder, _text(names, f"image_{n}", place))) for n in (0, 1)]
        return CaptionChoice(str(kind), files, [_text(names, f"caption_{n}", place) for n in (0, 1)])
    if "true_caption" in names:
        file = PictureFile(_picture(folder, _text(names, "image_path", place)), _crop(names, place))
        kind = names.get("relation_name") or path.stem
        captions = [_text(names, key, place) for key in ("true_caption", "false_caption")]
        return CaptionChoice(str(kind), [file], captions)
    picture, negative = (_first(names, keys, place) for keys in OWN_COLUMNS.values())
    kind = names.get("kind") or path.stem
    file = PictureFile(_picture(folder, picture))
    return CaptionChoice(str(kind), [file], [_text(names, "caption", place), negative])


def _picture(folder: PictureFolder, name: str) -> Path:
    """The file of this name; Winoground's have no suffix, ``ex_0_img_0`` of ``ex_0_img_0.png``."""
    return folder.find(name)


def _first(entry: Mapping[str, Any], keys: Sequence[str], place: str) -> str:
    return _text(entry, next((key for key in keys if key in entry), keys[0]), place)


def _text(entry: Mapping[str, Any], key: str, place: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        found = f"has {key} {shown(value)}" if key in entry else f"has no {key}; it has {', '.join(entry)}"
        raise InputError(f"{place} {found}", f"expected {key} as text")
    return value


def _crop(entry: Mapping[str, Any], place: str) -> Crop | None:
    if "bbox_x" not in entry:
        return None
    sides = [entry.get(f"bbox_{side}", math.nan) for side in "xywh"]
    if (
        not all(isinstance(side, int | float) and math.isfinite(side) for side in sides)
        or min(sides[2:]) <= 0
    ):
        raise InputError(f"{place} has the box {sides}; expected left, top, width and height in pixels")
    left, top, width, height = sides
    return left, top, left + width, top + height
