"""Pictures and captions as found in a file -> PairSet; missing and empty ones are judged here."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wordsight.errors import InputError, MissingFileError
from wordsight.pairs import PairSet, PictureFiles
from wordsight.tensors import torch

Missing = Literal["error", "skip", "keep"]
ORDER = ("train", "restval", "val", "dev", "valid", "validation", "test", "testall")
VALIDATION = ("val", "dev", "valid", "validation")  # one split, four names
_NUMBER = re.compile("0|-?[1-9][0-9]{0,17}")  # written in one way only, so that equal texts are equal numbers


@dataclass(frozen=True)
class Captioned:
    """A picture and what is said of it, as it stands in a file and before anybody has judged it."""

    picture: Path
    name: str
    texts: Sequence[str]
    places: Sequence[str]  # where each text stands: "line 17", "images[3].sentences[0]"
    where: str  # where the picture is named
    split: str | None = None
    identity: str | None = None  # None: every picture its own


def same_split(split: str) -> tuple[str, ...]:
    """The names that a split goes by, the given one first."""
    others = [name for name in VALIDATION if name != split] if split in VALIDATION else []
    return (split, *others)


def split_order(split: str) -> tuple[int, str]:
    """A key to sort splits by: in the order of their use, others after them by name."""
    return (ORDER.index(split) if split in ORDER else len(ORDER), split)


def placed(path: str | Path, split: str | None) -> Path:
    """The path with ``{split}`` replaced by the split, or by another name of it if only that exists."""
    if "{split}" not in str(path):
        return Path(path)
    if split is None:
        raise InputError(f"{path} names {{split}}, but no split was asked for; pass split, or write it out")
    candidates = [Path(str(path).replace("{split}", name)) for name in same_split(split)]
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])


def of_split(
    items: Sequence[Captioned], split: str, source: Path, joined: Sequence[str] = ()
) -> list[Captioned]:
    """The pictures of one split and of those ``joined`` to it; an unknown split lists the known ones."""
    names = (*same_split(split), *joined)
    chosen = [item for item in items if item.split in names]
    if not chosen:
        known = Counter(item.split for item in items)
        listed = ", ".join(f"{name} ({count} pictures)" for name, count in known.items())
        raise InputError(f'{source} has no pictures of split "{split}"; it has {listed}')
    return chosen


def pair_set(items: Sequence[Captioned], source: Path, missing: Missing, drop_empty: bool) -> PairSet:
    """All these pictures with all their texts.

    Raises ValueError for empty captions and pictures without any (unless ``drop_empty``), FileNotFoundError
    for pictures that are not there (unless ``missing`` is "skip", which leaves them out, or "keep").
    """
    present = _with_captions(items, source, drop_empty)
    if missing != "keep":
        present = _on_disk(present, source, missing)
    if not present:
        raise InputError(f"{source}: no picture with a caption is left of {len(items)}")
    image_of = [row for row, item in enumerate(present) for _ in item.texts]
    return PairSet(
        images=PictureFiles([item.picture for item in present]),
        names=[item.name for item in present],
        texts=[text for item in present for text in item.texts],
        image_of=torch.tensor(image_of, dtype=torch.long),
        identities=_identities(present),
        source=str(source),
    )


def _with_captions(items: Sequence[Captioned], source: Path, drop_empty: bool) -> list[Captioned]:
    if drop_empty:
        return [item for item in map(_without_empty, items) if item.texts]
    said = [(text, place) for item in items for text, place in zip(item.texts, item.places, strict=True)]
    empty = [place for text, place in said if not text.strip()]
    if empty:
        raise InputError(
            f"{source}: empty captions: {len(empty)}, the first at {empty[0]}; "
            "fill them in, or set drop_empty = true under [data] to leave them out"
        )
    silent = [item for item in items if not item.texts]
    if silent:
        raise InputError(
            f"{source}: pictures without a caption: {len(silent)}, the first {silent[0].name} "
            f"({silent[0].where}); write one for each, or set drop_empty = true under [data] to drop them"
        )
    return list(items)


def _without_empty(item: Captioned) -> Captioned:
    captions = [(text, place) for text, place in zip(item.texts, item.places, strict=True) if text.strip()]
    return replace(item, texts=[text for text, _ in captions], places=[place for _, place in captions])


def _on_disk(items: Sequence[Captioned], source: Path, missing: Missing) -> list[Captioned]:
    absent = [item for item in items if not os.path.isfile(item.picture)]
    if absent and missing == "error":
        raise MissingFileError(
            f"{source}: pictures that do not exist: {len(absent)} of {len(items)}, "
            f"the first {absent[0].picture} ({absent[0].where}); give the folder that holds them (--pictures "
            'FOLDER, or pictures under [data]), or set missing = "skip" to leave them out'
        )
    gone = {id(item) for item in absent}
    return [item for item in items if id(item) not in gone]


def _identities(items: Sequence[Captioned]) -> torch.Tensor:
    """The data set's own numbers if all identities are whole numbers; else counted from 0 as they appear."""
    if all(item.identity is not None and _NUMBER.fullmatch(item.identity) for item in items):
        return torch.tensor([int(item.identity or 0) for item in items], dtype=torch.long)
    numbers: dict[object, int] = {}
    keys = [item.identity if item.identity is not None else (row,) for row, item in enumerate(items)]
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys], dtype=torch.long)
