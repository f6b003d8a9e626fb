"""Caption files and folders (Karpathy, COCO, tables, sidecar texts) -> PairSet of picture files.

Every reader takes ``path`` (of the file or folder), ``split`` (train, val, test; ``dev`` is another name of
``val``) and ``pictures`` (the folder that relative picture paths start from). ``{split}`` inside a path is
replaced by the split. ``missing`` says what to do about pictures that do not exist: "error", "skip" or
"keep"; ``drop_empty`` leaves out empty captions, and pictures left without any.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import field, list_field, read_json, read_lines
from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.records import (
    ORDER,
    Captioned,
    Missing,
    of_split,
    pair_set,
    picture_folder,
    placed,
    same_split,
)
from wordsight.read.datasets.table import Columns, table_items
from wordsight.read.pictures.walk import PICTURE_SUFFIXES, pictures_below


def read_karpathy(
    path: str | Path,
    split: str,
    pictures: str | Path | None = None,
    restval: bool = True,
    missing: Missing = "error",
    drop_empty: bool = False,
) -> PairSet:
    """One split of Karpathy's ``dataset_{flickr8k,flickr30k,coco}.json``, also as ``.json.gz``.

    ``restval`` joins COCO's restval pictures to train, as VSE++ and its successors do (113,287 pictures);
    without it train is 82,783 pictures, as CMPL does. Pictures default to ``images/`` beside the file.
    """
    source = placed(path, split)
    items = karpathy_items(source, picture_folder(source, pictures, split))
    chosen = of_split(items, split, source, joined=["restval"] if restval and split == "train" else [])
    return pair_set(chosen, source, missing, drop_empty)


def karpathy_items(path: Path, folder: Path) -> list[Captioned]:
    """Every picture of every split, as it stands in the file."""
    images = _images(read_json(path), path)
    items = [_karpathy_item(image, f"images[{n}]", folder, path) for n, image in enumerate(images)]
    distinct = len({item.identity for item in items}) == len(items)  # not so where files were joined
    return items if distinct else [replace(item, identity=None) for item in items]


def _images(document: Any, path: Path) -> list[Any]:
    images = list_field(document, "images", "the document", path)
    if not images:
        raise InputError(f"{path}: the list images is empty; fetch the file again")
    return images


def _karpathy_item(image: Any, where: str, folder: Path, source: Path) -> Captioned:
    name = str(field(image, "filename", where, source))
    inner = image.get("filepath")  # COCO's train2014, val2014; people also keep all pictures in one folder
    sentences = list_field(image, "sentences", where, source)
    places = [f"{where}.sentences[{n}]" for n in range(len(sentences))]
    return Captioned(
        picture=_present(folder / inner / name, folder / name) if inner else folder / name,
        name=f"{inner}/{name}" if inner else name,
        texts=[_sentence(sentence, place, source) for sentence, place in zip(sentences, places, strict=True)],
        places=places,
        where=where,
        split=str(field(image, "split", where, source)),
        identity=str(image["imgid"]) if "imgid" in image else None,
    )


def _sentence(sentence: Any, where: str, source: Path) -> str:
    if isinstance(sentence, dict) and "raw" not in sentence and "tokens" in sentence:
        return " ".join(map(str, sentence["tokens"]))
    return str(field(sentence, "raw", where, source)).strip()


def _present(*candidates: Path) -> Path:
    """The first that exists; the first of all if none does."""
    return next((path for path in candidates if path.is_file()), candidates[0])


def read_coco_captions(
    path: str | Path,
    pictures: str | Path | None = None,
    split: str | None = None,
    missing: Missing = "error",
    drop_empty: bool = False,
) -> PairSet:
    """A COCO captions file (``annotations/captions_val2014.json``); one file is one split.

    Write ``{split}`` in ``path`` and ``pictures`` to use one setting for several:
    ``path = "annotations/captions_{split}2014.json"``, ``pictures = "{split}2014"``.
    """
    _needs_placeholder(path, split, "a COCO captions file is one split: captions_{split}2014.json")
    source = placed(path, split)
    items = coco_items(source, picture_folder(source, pictures, split))
    return pair_set(items, source, missing, drop_empty)


def coco_items(path: Path, folder: Path) -> list[Captioned]:
    """Every picture of the file with its annotations, in the order of the pictures."""
    document = read_json(path)
    pictures: dict[Any, Captioned] = {}
    texts: dict[Any, list[str]] = {}
    places: dict[Any, list[str]] = {}
    for n, image in enumerate(_images(document, path)):
        where = f"images[{n}]"
        key, name = field(image, "id", where, path), str(field(image, "file_name", where, path))
        if key in pictures:
            raise InputError(
                f"{path}: {where} has the id {key} of {pictures[key].where}; give every image its own"
            )
        texts[key], places[key] = [], []
        pictures[key] = Captioned(folder / name, name, texts[key], places[key], where, identity=str(key))
    for n, annotation in enumerate(list_field(document, "annotations", "the document", path)):
        where = f"annotations[{n}]"
        key = field(annotation, "image_id", where, path)
        if key not in pictures:
            raise InputError(f"{path}: {where} tells of image_id {key}, which no entry of images has")
        texts[key].append(str(field(annotation, "caption", where, path)).strip())
        places[key].append(where)
    return list(pictures.values())


def read_table(
    path: str | Path,
    split: str | None = None,
    pictures: str | Path | None = None,
    picture_column: str | None = None,
    caption_column: str | None = None,
    split_column: str | None = None,
    identity_column: str | None = None,
    missing: Missing = "error",
    drop_empty: bool = False,
) -> PairSet:
    """A table of picture paths and captions: CSV, TSV, JSONL, a JSON list, or Flickr8k's ``token.txt``.

    Columns are found by name (``image``, ``file_name``, ``path``...; ``caption``, ``text``,
    ``sentence``...) unless set. Several rows of one picture, or a list in one row, are several captions.
    Relative picture paths start from ``pictures``, by default the table's folder. Pictures of equal
    identity belong together (persons); a split column is used when there is one.
    """
    source = placed(path, split)
    columns = Columns(picture_column, caption_column, split_column, identity_column)
    items = table_items(source, picture_folder(source, pictures, split), columns)
    if split is not None and "{split}" not in str(path):
        if items[0].split is None:
            raise InputError(
                f"{source} has no split column, so split {split!r} cannot be chosen; add a column named "
                "split, "
                'set split_column, or keep one file per split and write path = "{split}.csv"'
            )
        items = of_split(items, split, source)
    return pair_set(items, source, missing, drop_empty)


def read_folder(path: str | Path, split: str | None = None, drop_empty: bool = False) -> PairSet:
    """A folder of pictures and its subfolders; beside each ``name.jpg`` a ``name.txt``, one caption per line.

    What is hidden is left out. With ``split``, its subfolder of that name is read, or ``{split}`` is replaced
    in the path.
    """
    folder = placed(path, split)
    if split is not None and "{split}" not in str(path):
        inner = [folder / name for name in same_split(split) if (folder / name).is_dir()]
        if not inner:
            raise InputError(
                f"{folder} has no subfolder {split}; make one, or write {{split}} in the path where it "
                "belongs"
            )
        folder = inner[0]
    return pair_set(folder_items(folder), folder, "keep", drop_empty)


def folder_items(folder: Path) -> list[Captioned]:
    """Every picture under the folder with the lines of its sidecar, sorted by path.

    A first subfolder named as a split is the split of the pictures in it.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder")
    pictures = sorted(path for path in pictures_below(folder) if path.is_file())
    if not pictures:
        raise InputError(f"{folder} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return [_folder_item(picture, folder) for picture in pictures]


def _folder_item(picture: Path, folder: Path) -> Captioned:
    sidecar = _present(picture.with_suffix(".txt"), picture.with_name(f"{picture.name}.txt"))
    lines = read_lines(sidecar) if sidecar.is_file() and sidecar.stat().st_size else []
    said = [(text, f"{sidecar} line {n}") for n, text in enumerate(lines, 1) if text]
    return Captioned(
        picture=picture,
        name=str(picture.relative_to(folder)),
        texts=[text for text, _ in said],
        places=[place for _, place in said],
        where=f"expected in {sidecar}",
        split=first if (first := picture.relative_to(folder).parts[0]) in ORDER else None,
    )


def read_id_mapping(path: str | Path, ids: Sequence[str], pictures: str | Path | None = None) -> PictureFiles:
    """The picture files of a precomputed folder's ids, through VSE-infinity's ``id_mapping.json``.

    The mapping is {id: file name}; ``pictures`` defaults to the folder beside it named ``images`` (COCO) or
    ``flickr30k-images``. Raises ValueError for ids that are not mapped, FileNotFoundError for absent files.
    """
    source = Path(path)
    mapping = read_json(source)
    if not isinstance(mapping, dict):
        raise InputError(
            f"{source} holds a JSON {type(mapping).__name__}; expected an object: id -> file name"
        )
    unknown = [name for name in ids if name not in mapping]
    if unknown:
        raise InputError(
            f"{source} does not map {len(unknown)} of {len(ids)} ids, the first {unknown[0]!r}; "
            f"its {len(mapping)} keys start with {next(iter(mapping), None)!r}: is it of the same data set?"
        )
    flickr = source.parent / "flickr30k-images"
    folder = flickr if pictures is None and flickr.is_dir() else picture_folder(source, pictures)
    return picture_files([str(mapping[name]) for name in ids], folder, source)


def picture_files(names: Sequence[str], folder: Path, source: Path) -> PictureFiles:
    """Files of a folder by name, all of which must exist."""
    paths = [folder / name for name in names]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise MissingFileError(
            f"{source}: pictures that do not exist: {len(absent)} of {len(paths)}, the first {absent[0]}; "
            "set pictures to the folder that holds them"
        )
    return PictureFiles(paths)


def _needs_placeholder(path: str | Path, split: str | None, why: str) -> None:
    if split is not None and "{split}" not in str(path):
        raise InputError(f"{path}: split {split!r} was asked for, but {why}")
