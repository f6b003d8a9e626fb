"""Person-search annotations (CUHK-PEDES, ICFG-PEDES, RSTPReid) -> PairSet; identities are the persons.

The three files are lists of the same objects: ``split``, ``captions`` (any number, usually one or two),
``id`` (of the person), and the picture, which RSTPReid calls ``img_path`` and the others ``file_path``.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import outline, read_json
from wordsight.read.datasets.dataset import CaptionDataset
from wordsight.read.datasets.picture_names import PictureFolder
from wordsight.read.datasets.records import Captioned
from wordsight.read.datasets.values import caption_of, shown

if TYPE_CHECKING:
    from wordsight.read.validate.captions import Texts
    from wordsight.read.validate.report import Report

FILES = ("reid_raw.json", "ICFG-PEDES.json", "ICFG_PEDES.json", "data_captions.json")
PICTURE_FIELDS = ("file_path", "img_path")
FIELDS = ("split", "captions", "id")


class PersonSearch(CaptionDataset):
    """An annotation file, or the folder that holds it under its published name.

    Pictures of one person belong together, and each text belongs to all pictures of its person. Identities
    are the file's own numbers. Pictures default to ``imgs/`` next to the file. The settings are those of
    ``CaptionDataset``.
    """

    kind = "person-search annotations"

    @classmethod
    def detect(cls, path: Path) -> bool:
        if path.is_dir():
            return any((path / name).is_file() for name in FILES)
        found = outline(path)
        return (
            found is not None
            and found.is_list
            and {"captions", "id"} <= found.keys
            and any(name in found.keys for name in PICTURE_FIELDS)
        )

    def source(self, split: str | None) -> Path:
        return annotation_file(super().source(split))

    def load(self, source: Path, folder: PictureFolder) -> list[Captioned]:
        document = read_json(source)
        if not isinstance(document, list) or not document:
            raise InputError(
                f"{source} holds {shown(document)}; expected a list of objects with "
                f"{', '.join(FIELDS)} and {' or '.join(PICTURE_FIELDS)}"
            )
        if all(isinstance(entry, dict) and "split" not in entry for entry in document):
            raise InputError(*_without_splits(source))
        return [_item(entry, f"entry {n}", folder, source) for n, entry in enumerate(document)]

    def check(self, report: "Report") -> "list[Texts]":
        from wordsight.read.validate.person_search import check_persons

        check_persons(self.items(), report)
        return super().check(report)


def annotation_file(path: Path) -> Path:
    """The file itself, or the one in the folder that has a published name."""
    if not path.is_dir():
        return path
    found = [path / name for name in FILES if (path / name).is_file()]
    if not found:
        raise MissingFileError(f"{path} holds none of {', '.join(FILES)}; give the path of the JSON itself")
    return found[0]


def _without_splits(source: Path) -> tuple[str, str]:
    """CUHK-PEDES is published as two files, of which only one says what is training."""
    sibling = next((source.parent / name for name in FILES if (source.parent / name).is_file()), None)
    todo = (
        "give the file that has them: CUHK-PEDES comes with reid_raw.json, which holds the same captions and "
        "the published splits"
    )
    if sibling is not None and sibling != source:
        todo = f"give {sibling}, which has them"
    return (
        f"{source} has no split in any of its entries: nothing says what is training and what is test",
        todo,
    )


def _item(entry: Any, where: str, folder: PictureFolder, path: Path) -> Captioned:
    name = _text(entry, _needed_picture_field(entry, where, path), where, path)
    texts = _texts(entry, where, path)
    return Captioned(
        picture=folder.find(name),
        name=name,
        texts=texts,
        places=[f"{where} captions[{n}]" for n in range(len(texts))],
        where=where,
        split=_text(entry, "split", where, path),
        identity=str(_identity(entry, where, path)),
    )


def _needed_picture_field(entry: Any, where: str, path: Path) -> str:
    if not isinstance(entry, dict):
        raise InputError(f"{path} {where} is {shown(entry)}; expected an object with {', '.join(FIELDS)}")
    name = _picture_field(entry)
    if name is None:
        raise InputError(_lacks(" or ".join(PICTURE_FIELDS), entry, where, path))
    return name


def _picture_field(entry: dict[str, Any]) -> str | None:
    return next((name for name in PICTURE_FIELDS if name in entry), None)


def _text(entry: dict[str, Any], name: str, where: str, path: Path) -> str:
    value = _value(entry, name, where, path)
    if not isinstance(value, str) or not value:
        raise InputError(f"{path} {where} has {name} = {shown(value)}; expected a text that is not empty")
    return value


def _texts(entry: dict[str, Any], where: str, path: Path) -> list[str]:
    value = _value(entry, "captions", where, path)
    if not isinstance(value, list):
        raise InputError(f"{path} {where} has captions = {shown(value)}; expected a list of texts")
    return [caption_of(text, f"{where} captions[{n}]", path) for n, text in enumerate(value)]


def _identity(entry: dict[str, Any], where: str, path: Path) -> int:
    value = _value(entry, "id", where, path)
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise InputError(f"{path} {where} has id = {shown(value)}; expected the number of a person")
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
