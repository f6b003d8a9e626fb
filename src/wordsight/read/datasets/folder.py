"""A folder of pictures, beside each ``name.jpg`` a ``name.txt``, one caption per line -> pairs."""

from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_lines
from wordsight.pairs import PairSet
from wordsight.read.datasets.dataset import CaptionDataset
from wordsight.read.datasets.picture_names import PictureFolder
from wordsight.read.datasets.records import ORDER, Captioned, pair_set, same_split
from wordsight.read.datasets.table import TABLE_SUFFIXES
from wordsight.read.pictures.walk import PICTURE_SUFFIXES, pictures_below
from wordsight.read.validate.items import note_without_splits
from wordsight.read.validate.report import some

if TYPE_CHECKING:
    from wordsight.read.validate.captions import Texts
    from wordsight.read.validate.report import Report


class CaptionFolder(CaptionDataset):
    """A folder of pictures and its subfolders, captions beside them; what is hidden is left out.

    A first subfolder named as a split is the split of the pictures in it. ``split`` ("80/10/10") divides a
    folder without such subfolders by picture, in the order that ``seed`` draws.
    """

    kind = "folder of pictures with captions beside them"
    without_splits = (
        "make subfolders train, val and test, write {split} in the path where it belongs, or divide the "
        "pictures by chance: --split 80/10/10, or split under [data]"
    )

    def __init__(
        self, path: str | Path, drop_empty: bool = False, split: str | None = None, seed: int = 0
    ) -> None:
        super().__init__(path, None, "keep", drop_empty)
        self.shares, self.seed = split, seed

    @classmethod
    def detect(cls, path: Path) -> bool:
        return path.is_dir() and any(pictures_below(path))

    def read(self, split: str | None = None) -> PairSet:
        """With ``split`` its subfolder, unless the path says where the split stands or chance divides."""
        if split is None or self.shares is not None or "{split}" in str(self.path):
            return super().read(split)
        folder = self.source(None)
        inner = [folder / name for name in same_split(split) if (folder / name).is_dir()]
        if not inner:
            raise InputError(f"{folder} has no subfolder {split}", self.without_splits)
        return pair_set(folder_items(inner[0]), inner[0], "keep", self.drop_empty)

    def load(self, source: Path, folder: PictureFolder) -> list[Captioned]:  # noqa: ARG002
        return folder_items(source)

    def check(self, report: "Report") -> "list[Texts]":
        path, items = self.source(None), self.items()
        if files := [] if any(item.texts for item in items) else caption_files(path):
            raise InputError(
                f"no picture in {path} has a .txt of captions beside it; if one of {some(files)} is the "
                "caption file, give its path"
            )
        note_without_splits(items, self.without_splits, report)
        return super().check(report)


def folder_items(folder: Path) -> list[Captioned]:
    """Every picture under the folder with the lines of its sidecar, sorted by path."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder")
    pictures = sorted(path for path in pictures_below(folder) if path.is_file())
    if not pictures:
        raise InputError(f"{folder} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return [_item(picture, folder) for picture in pictures]


def _item(picture: Path, folder: Path) -> Captioned:
    sidecar = picture.with_suffix(".txt")
    if not sidecar.is_file():
        sidecar = picture.with_name(f"{picture.name}.txt")
    lines = read_lines(sidecar) if sidecar.is_file() and sidecar.stat().st_size else []
    said = [(text, f"{sidecar} line {n}") for n, text in enumerate(lines, 1) if text]
    first = picture.relative_to(folder).parts[0]
    return Captioned(
        picture=picture,
        name=str(picture.relative_to(folder)),
        texts=[text for text, _ in said],
        places=[place for _, place in said],
        where=f"expected in {picture.with_suffix('.txt')}",
        split=first if first in ORDER else None,
    )


def caption_files(folder: Path) -> list[str]:
    """Files of a folder that may hold its captions, by their suffix."""
    suffixes = (".json", ".gz", *TABLE_SUFFIXES, ".txt")
    return sorted(file.name for file in folder.iterdir() if file.suffix.lower() in suffixes)
