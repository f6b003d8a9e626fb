"""Person-search annotations (CUHK-PEDES, ICFG-PEDES, RSTPReid) -> PairSet; identities are the persons.

The three files are lists of the same objects: ``split``, ``captions`` (any number, usually one or two),
``id`` (of the person), and the picture, which RSTPReid calls ``img_path`` and the others ``file_path``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_json
from wordsight.pairs import PairSet
from wordsight.read.datasets.records import Captioned, Missing, of_split, pair_set, picture_folder, placed

FILES = ("reid_raw.json", "ICFG-PEDES.json", "ICFG_PEDES.json", "data_captions.json")
PICTURES = "imgs"
PICTURE_FIELDS = ("file_path", "img_path")
FIELDS = ("split", "captions", "id")


def read_persons(
    path: str | Path,
    split: str,
    pictures: str | Path | None = None,
    missing: Missing = "error",
    drop_empty: bool = False,
) -> PairSet:
    """One split of an annotation file, or of the folder that holds it under its published name.

    Pictures of one person belong together, and each text belongs to all pictures of its person. Identities
    are the file's own numbers. Pictures default to ``imgs/`` beside the file. ``missing`` and ``drop_empty``
    as in ``read.captions``.
    """
    source = annotation_file(placed(path, split))
    items = person_items(source, person_pictures(source, pictures, split))
    return pair_set(of_split(items, split, source), source, missing, drop_empty)


def annotation_file(path: Path) -> Path:
    """The file itself, or the one in the folder that has a published name."""
    if not path.is_dir():
        return path
    found = [path / name for name in FILES if (path / name).is_file()]
    if not found:
        raise MissingFileError(f"{path} holds none of {', '.join(FILES)}; give the path of the JSON itself")
    return found[0]


def person_pictures(source: Path, pictures: str | Path | None, split: str | None = None) -> Path:
    """Where relative picture paths start: by default ``imgs`` beside the file, as all three are published."""
    beside = source.parent / PICTURES
    return beside if pictures is None and beside.is_dir() else picture_folder(source, pictures, split)


def is_persons(document: Any) -> bool:
    """Whether a JSON document looks like person-search annotations: by its first entry."""
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and {"captions", "id"} <= set(first) and _picture_field(first) is not None


def person_items(path: Path, folder: Path) -> list[Captioned]:
    """Every picture of every split, as it stands in the file."""
    document = read_json(path)
    if not isinstance(document, list) or not document:
        raise InputError(
            f"{path} holds {_shown(document)}; expected a list of objects with "
            f"{', '.join(FIELDS)} and {' or '.join(PICTURE_FIELDS)}"
        )
    return [_item(entry, f"entry {n}", folder, path) for n, entry in enumerate(document)]


def _item(entry: Any, where: str, folder: Path, path: Path) -> Captioned:
    name = _text(entry, _needed_picture_field(entry, where, path), where, path)
    texts = _texts(entry, where, path)
    return Captioned(
        picture=folder / name,
        name=name,
        texts=texts,
        places=[f"{where} captions[{n}]" for n in range(len(texts))],
        where=where,
        split=_text(entry, "split", where, path),
        identity=str(_identity(entry, where, path)),
    )


def _needed_picture_field(entry: Any, where: str, path: Path) -> str:
    if not isinstance(entry, dict):
        raise InputError(f"{path} {where} is {_shown(entry)}; expected an object with {', '.join(FIELDS)}")
    name = _picture_field(entry)
    if name is None:
        raise InputError(_lacks(" or ".join(PICTURE_FIELDS), entry, where, path))
    return name


def _picture_field(entry: dict[str, Any]) -> str | None:
    return next((name for name in PICTURE_FIELDS if name in entry), None)


def _text(entry: dict[str, Any], name: str, where: str, path: Path) -> str:
    value = _value(entry, name, where, path)
    if not isinstance(value, str) or not value:
        raise InputError(f"{path} {where} has {name} = {_shown(value)}; expected a text that is not empty")
    return value


def _texts(entry: dict[str, Any], where: str, path: Path) -> Sequence[str]:
    value = _value(entry, "captions", where, path)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f"{path} {where} has captions = {_shown(value)}; expected a list of texts")
    return [text.strip() for text in value]


def _identity(entry: dict[str, Any], where: str, path: Path) -> int:
    value = _value(entry, "id", where, path)
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise InputError(f"{path} {where} has id = {_shown(value)}; expected the number of a person")
    return number


def _value(entry: dict[str, Any], name: str, where: str, path: Path) -> Any:
    if name not in entry:
        raise InputError(_lacks(name, entry, where, path))
    return entry[name]


def _lacks(name: str, entry: dict[str, Any], where: str, path: Path) -> str:
    return (
        f"{path} {where} has no {name}, only {', '.join(entry) or 'nothing'}; "
        "take the data set's own annotation file, which has it in every entry"
    )


def _shown(value: Any) -> str:
    return str(type(value).__name__) if isinstance(value, list | dict) else repr(value)[:60]
