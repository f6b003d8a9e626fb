"""A path -> the precomputed folder that it means, its splits, and the files of a split.

Both published layouts are found: SCAN's ``DATA/f30k_precomp/{split}_ims.npy`` and VSE-infinity's and CHAN's
``DATA/f30k/precomp/{split}_ims.npy``, by the folder itself or by a folder above it that holds only one.
"""

from dataclasses import dataclass
from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_names
from wordsight.read.datasets.records import same_split, split_order

CAPTIONS = "_caps.txt"
DEV_LIMIT = 5000  # captions of dev that the reference readers use, whatever the file holds


@dataclass(frozen=True)
class PrecompSplit:
    """The files of one split."""

    folder: Path
    split: str

    @property
    def features(self) -> Path:
        return self.folder / f"{self.split}_ims.npy"

    @property
    def captions(self) -> Path:
        return self.folder / f"{self.split}{CAPTIONS}"

    @property
    def ids(self) -> Path:
        return self.folder / f"{self.split}_ids.txt"

    @property
    def file_names(self) -> Path:
        return self.folder / f"{self.split}_imagename.txt"

    @property
    def id_mapping(self) -> Path | None:
        """VSE-infinity keeps it beside the folder."""
        places = [self.folder / "id_mapping.json", self.folder.parent / "id_mapping.json"]
        return next((path for path in places if path.is_file()), None)

    def names(self) -> tuple[list[str] | None, Path]:
        """The image ids, or else the file names, and the file they stand in."""
        for path in (self.ids, self.file_names):
            if path.is_file():
                return read_names(path), path
        return None, self.ids


def find_precomp_folder(path: Path) -> Path:
    """The folder itself, its ``precomp``, or the only ``*_precomp`` or ``*/precomp`` below it."""
    if not path.is_dir():
        raise MissingFileError(
            f"there is no folder {path}; name the one with {{split}}_caps.txt in it: path under [data], or "
            "for one command --set data.path=FOLDER"
        )
    below = [path, path / "precomp", *sorted(path.glob("*_precomp")), *sorted(path.glob("*/precomp"))]
    found = list(dict.fromkeys(folder for folder in below if any(folder.glob(f"*{CAPTIONS}"))))
    if not found:
        raise MissingFileError(
            f"{path} holds no precomputed folder: no *{CAPTIONS} in it, in precomp/, *_precomp/ or "
            "*/precomp/; set path to the folder with train_ims.npy and train_caps.txt in it"
        )
    if found[0] != path and len(found) > 1:
        raise InputError(
            f"{path} holds several precomputed folders, "
            f"{', '.join(str(f.relative_to(path)) for f in found)}; set path to one of them"
        )
    return found[0]


def splits_of(folder: Path) -> list[str]:
    """By their caption files, train first."""
    return sorted((path.name.removesuffix(CAPTIONS) for path in folder.glob(f"*{CAPTIONS}")), key=split_order)


def find_split(folder: Path, split: str) -> PrecompSplit:
    """The split by its name, or by another name of validation; an unknown one lists the known ones."""
    known = splits_of(folder)
    for name in same_split(split):
        if name in known:
            return PrecompSplit(folder, name)
    raise InputError(f"{folder} has no {split}{CAPTIONS}; its splits are {', '.join(known)}")
