"""Names of pictures as caption files spell them -> the files of a folder.

A name is looked up as it stands. Only where no such file exists, other spellings of it are tried: folders
before it left out, a backslash as a slash, letters composed in another way (macOS stores "é" as two
characters), another case, the suffix that an identifier lacks. A spelling of two files stands for neither.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from wordsight.errors import MissingFileError
from wordsight.read.datasets.records import placed
from wordsight.read.pictures.walk import is_picture

KNOWN_FOLDERS = (  # beside a caption file, as people and data sets call them; compared in lower case
    "images", "imgs", "img", "pictures", "photos", "flickr30k-images", "flickr30k_images",
    "flicker8k_dataset", "flickr8k_dataset",
)  # fmt: skip
ANY_SUFFIX = "\0"  # after a name without its suffix: no file has this character in its name
_ABOVE = re.compile(r"^(?:\w+://[^/]*/|[A-Za-z]:/|/+)")  # a host, a drive, the root


class PictureFolder:
    """The folders in which the pictures of one caption file are looked up, the first one first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = list(folders)
        self._owners: dict[Path, str] = {}  # of files that were found by another spelling
        self._listings: dict[Path, dict[str, str]] = {}

    def __str__(self) -> str:
        return " or ".join(map(str, self.folders))

    def find(self, name: str) -> Path:
        """The file of this name; where there is none, the path at which it was expected first."""
        for folder in self.folders:
            if os.path.isfile(path := folder / name):
                return path
        parts = _parts(name)
        for folder in self.folders:
            for start in range(len(parts)):
                other = self._below(folder, parts[start:])
                if other is not None and self._owners.setdefault(other, name) == name:
                    return other
        return self.folders[0] / name

    def _below(self, folder: Path, parts: Sequence[str]) -> Path | None:
        for part in parts[:-1]:
            inner = self._listed(folder).get(_key(part))
            if inner is None:
                return None
            folder = folder / inner
        listing, key = self._listed(folder), _key(parts[-1])
        name = listing.get(key) or listing.get(key + ANY_SUFFIX)
        return folder / name if name and os.path.isfile(folder / name) else None

    def _listed(self, folder: Path) -> dict[str, str]:
        if folder not in self._listings:
            self._listings[folder] = _by_key(folder)
        return self._listings[folder]


def picture_folder(
    source: Path, pictures: str | Path | None, split: str | None = None, also: Sequence[Path] = ()
) -> PictureFolder:
    """Where the picture paths of a caption file start: in ``pictures``, or by default beside it.

    By default these are the folders beside the file that have a known name, those of ``also``, and its own.
    """
    if pictures is not None:
        folder = placed(pictures, split)
        if not folder.is_dir():
            hint = "give the folder of the pictures: --pictures FOLDER, or pictures under [data]"
            raise MissingFileError(f"pictures = {folder} is not a folder", hint)
        return PictureFolder([folder])
    home = source if source.is_dir() else source.parent
    names = sorted(os.listdir(home)) if home.is_dir() else []
    known = {name.lower(): home / name for name in names if name.lower() in KNOWN_FOLDERS}
    named = [known[name] for name in KNOWN_FOLDERS if name in known and known[name].is_dir()]
    return PictureFolder([*named, *(folder for folder in also if folder.is_dir()), home])


def _parts(name: str) -> list[str]:
    """Parts of a path or an address, below its root, drive or host; none if it leaves its folder."""
    path = _ABOVE.sub("", name.replace("\\", "/").partition("?")[0])
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return [] if ".." in parts else parts


def _by_key(folder: Path) -> dict[str, str]:
    """The names in a folder by their spelling in one form; a form that two of them share is left out."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(_key(name), set()).add(name)
        if is_picture(name):
            found.setdefault(_key(os.path.splitext(name)[0]) + ANY_SUFFIX, set()).add(name)
    return {key: next(iter(several)) for key, several in found.items() if len(several) == 1}


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
