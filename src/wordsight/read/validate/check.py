"""A path -> what data it holds, what is wrong in it, where, and what to do (``wordsight data check``)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_json
from wordsight.read.datasets.caption_files import coco_items, folder_items, karpathy_items
from wordsight.read.datasets.person_search import (
    FILES,
    annotation_file,
    is_persons,
    person_items,
    person_pictures,
)
from wordsight.read.datasets.precomputed_layout import CAPTIONS, find_precomp_folder
from wordsight.read.datasets.records import Captioned, picture_folder
from wordsight.read.datasets.table import Columns, table_items
from wordsight.read.pictures.walk import pictures_below
from wordsight.read.validate.captions import Texts, check_texts, check_unknown
from wordsight.read.validate.person_search import check_persons
from wordsight.read.validate.pictures import check_pictures
from wordsight.read.validate.precomputed import look_precomp
from wordsight.read.validate.report import Report, some
from wordsight.read.validate.shards import look_shards, shard_kind

Look = Callable[[Path, Path | None, Report], list[Texts]]
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".token")
PERSONS = "person-search annotations"


def check(
    path: str | Path,
    vocabulary: str | Path | None = None,
    pictures: str | Path | None = None,
    rule: str | None = None,
) -> Report:
    """Look through a data set of any kind, and report all that is found, not only the first error.

    ``pictures`` is the folder of the picture files where it is not beside the captions. With a
    ``vocabulary`` the share of unknown words is counted; ``rule`` parts words, by default the one that
    leaves the fewest. Feature files are read once, in chunks.
    Raises FileNotFoundError if the path does not exist, ValueError if nothing there is known as data.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path} does not exist")
    kind, look = _recognized(path)
    report = Report(path, kind)
    try:
        splits = look(path, None if pictures is None else Path(pictures), report)
        check_texts(splits, report)
        if vocabulary is not None:
            check_unknown(splits, Path(vocabulary), rule, report)
    except (ValueError, FileNotFoundError) as error:
        report.add_error(error, str(path))
    return report


def _recognized(path: Path) -> tuple[str, Look]:
    if path.is_dir():
        return _recognized_folder(path)
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".json":
        return _recognized_json(path)
    if suffix in TABLES:
        return "table of pictures and captions", _look_table
    raise InputError(
        f"{path} is of no known kind; expected a precomputed folder, a folder of shards, or of pictures with "
        f".txt beside them, a caption file (.json, {', '.join(TABLES)})"
    )


def _recognized_folder(path: Path) -> tuple[str, Look]:
    try:
        find_precomp_folder(path)
    except FileNotFoundError:
        pass
    else:
        return "precomputed folder", look_precomp
    if any((path / name).is_file() for name in FILES):
        return PERSONS, _look_persons
    shards = shard_kind(path)
    if shards is not None:
        return shards, look_shards
    if any(pictures_below(path)):
        return "folder of pictures with captions beside them", _look_folder
    if any(path.rglob("*_ims.npy")):
        raise InputError(
            f"{path} holds features but no captions; put train{CAPTIONS} beside train_ims.npy, "
            "one caption per line, five lines per row"
        )
    files = _caption_files(path)
    raise InputError(
        f"{path} holds neither *{CAPTIONS} (a precomputed folder) nor pictures; "
        + (f"if one of {some(files)} is the caption file, give its path" if files else "check the path")
    )


def _recognized_json(path: Path) -> tuple[str, Look]:
    document = read_json(path)
    if is_persons(document):
        return PERSONS, _look_persons
    if isinstance(document, list):
        return "table of pictures and captions", _look_table
    keys = set(document) if isinstance(document, dict) else set()
    if {"images", "annotations"} <= keys:
        return "COCO's caption JSON", _look_coco
    if "images" in keys:
        return "Karpathy's caption JSON", _look_karpathy
    if "word2idx" in keys:
        raise InputError(f"{path} is a vocabulary; check a data set with it: --vocabulary {path}")
    found = some(sorted(keys)) or "nothing"
    raise InputError(f"{path} holds {found}; expected images (Karpathy, COCO), or a list of objects")


def _look_karpathy(path: Path, pictures: Path | None, report: Report) -> list[Texts]:
    return _look_items(karpathy_items(path, picture_folder(path, pictures)), pictures, report)


def _look_coco(path: Path, pictures: Path | None, report: Report) -> list[Texts]:
    return _look_items(coco_items(path, picture_folder(path, pictures)), pictures, report)


def _look_persons(path: Path, pictures: Path | None, report: Report) -> list[Texts]:
    source = annotation_file(path)
    items = person_items(source, person_pictures(source, pictures))
    check_persons(items, report)
    return _look_items(items, pictures, report)


def _look_table(path: Path, pictures: Path | None, report: Report) -> list[Texts]:
    with path.open("rb") as file:
        if file.readline(2**16).count(b"\t") == 5 and path.suffix == ".tsv":
            raise InputError(
                f"{path} looks like bottom-up-attention features; make a precomputed folder of it with "
                "wordsight data convert, and check that"
            )
    return _look_items(table_items(path, picture_folder(path, pictures), Columns()), pictures, report)


def _look_folder(path: Path, pictures: Path | None, report: Report) -> list[Texts]:
    items = folder_items(path)
    if files := [] if any(item.texts for item in items) else _caption_files(path):
        raise InputError(
            f"no picture in {path} has a .txt of captions beside it; if one of {some(files)} is the caption "
            "file, give its path"
        )
    return _look_items(items, pictures, report)


def _caption_files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix in (".json", ".gz", *TABLES))


def _look_items(items: Sequence[Captioned], pictures: Path | None, report: Report) -> list[Texts]:
    if pictures is None and not any(item.picture.is_file() for item in items):
        report.add(
            "warning",
            f"none of the {len(items):,} pictures is there, so only the captions were checked",
            f"expected for example {items[0].picture}",
            "give the folder of the pictures: --pictures FOLDER",
        )
    else:
        check_pictures(items, report)
    splits: dict[str, list[Captioned]] = {}
    for item in items:
        splits.setdefault(item.split or "all", []).append(item)
    return [_texts(split, chosen) for split, chosen in splits.items()]


def _texts(split: str, items: Sequence[Captioned]) -> Texts:
    places = [place for item in items for place in item.places]
    return Texts(
        split=split,
        names=[item.name for item in items],
        texts=[text for item in items for text in item.texts],
        image_of=[row for row, item in enumerate(items) for _ in item.texts],
        place=places.__getitem__,
    )
