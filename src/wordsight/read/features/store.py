"""Regions on disk, keyed by picture content and extractor: a folder to read from that survives kill -9.

``meta.json``        format, the reader's identity and settings, regions per picture, feature size and type
``features.npy``     [picture region feature], float16 or float32; numpy opens it
``boxes.npy``        [picture region 4], float32: left, top, right, bottom; fractions of the picture
``pictures.jsonl``   line i: content hash, name, width, height and number of real regions of row i; with a
                     detector that reads text, "phrases": of each region, the number of its phrase, or 0
``files.jsonl``      where each content was seen, so that unchanged files need not be read again
``mirrored/``        a store of the same pictures mirrored, by the same hashes; optional, unless the reader
                     takes the mean of both (``mirrored = true``)

A row counts once its line in ``pictures.jsonl`` is complete; what lies beyond in the arrays is cut off.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from wordsight import aliases
from wordsight.errors import InputError, MissingFileError
from wordsight.files import plain_json
from wordsight.files.fingerprint import Stamp, content_of, stamp_of
from wordsight.sets import Regions
from wordsight.tensors import torch

FORMAT = 1
MIRRORED = "mirrored"
META, FEATURES, BOXES, PICTURES, FILES = (
    "meta.json",
    "features.npy",
    "boxes.npy",
    "pictures.jsonl",
    "files.jsonl",
)
META_FIELDS: dict[str, plain_json.Kind] = {
    "identity": str,
    "reader": dict,
    "feature_dim": int,
    "regions": int,
}
PICTURE_FIELDS: dict[str, plain_json.Kind] = {"name": str, "size": list, "content": str, "regions": int}
FILE_FIELDS: dict[str, plain_json.Kind] = {"path": str, "bytes": int, "changed": int, "content": str}


class FeatureStore:
    """A finished or growing store, as of the moment it was opened; memory-mapped, never loaded whole."""

    def __init__(self, folder: Path, meta: dict[str, Any], pictures: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.identity: str = meta["identity"]
        self.settings: dict[str, Any] = aliases.current(meta["reader"])
        self.feature_dim: int = meta["feature_dim"]
        self.regions: int = meta["regions"]
        self._check_pictures(pictures)
        self.names = [picture["name"] for picture in pictures]
        self.sizes = [tuple(picture["size"]) for picture in pictures]  # width, height in pixels
        self.contents = [picture["content"] for picture in pictures]
        self.row_of = {content: row for row, content in enumerate(self.contents)}
        self._labels = _labels(folder, pictures, self.regions)
        self._real = torch.tensor([picture["regions"] for picture in pictures], dtype=torch.long)
        self._features = mapped(folder / FEATURES, len(pictures))
        self._boxes = mapped(folder / BOXES, len(pictures))
        self._seen = read_files(folder)
        self._must_agree()

    def _must_agree(self) -> None:
        """The arrays have the sizes that meta.json says."""
        sizes = (self.regions, self.feature_dim), (self.regions, 4)
        for array, file, size in zip((self._features, self._boxes), (FEATURES, BOXES), sizes, strict=True):
            if array.shape[1:] != size:
                raise InputError(
                    f"{self.folder / file} has {' x '.join(map(str, array.shape[1:]))} numbers per picture, "
                    f"but {META} says {' x '.join(map(str, size))}; restore both, or extract again"
                )

    def _check_pictures(self, pictures: list[dict[str, Any]]) -> None:
        for number, picture in enumerate(pictures, 1):
            sides = picture["size"]
            if not 0 <= picture["regions"] <= self.regions or list(map(type, sides)) != [int, int]:
                raise InputError(
                    f"{self.folder / PICTURES} line {number} has {picture['regions']} regions and the size "
                    f"{sides}; expected 0 to {self.regions} regions, width and height",
                    "restore it, or extract again",
                )

    @classmethod
    def open(cls, folder: str | Path) -> "FeatureStore":
        folder = Path(folder)
        return cls(folder, read_meta(folder), read_lines(folder / PICTURES, PICTURE_FIELDS))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def mirrored(self) -> "FeatureStore":
        """Store of these pictures mirrored left to right.

        Raises InputError if they were not stored, or by another reader.
        """
        if not (self.folder / MIRRORED / META).is_file():
            raise InputError(
                f"{self.folder} holds no mirrored pictures, which flip_pictures and a reader with "
                "mirrored = true need",
                f"store them: wordsight features extract DATA --out {self.folder} --mirrored; "
                "or leave both out",
            )
        store = FeatureStore.open(self.folder / MIRRORED)
        store.check_reader(self.identity, self.settings)
        return store

    def check_reader(self, identity: str, settings: dict[str, Any] | None = None) -> None:
        """Raises ValueError if a model's reader is not the one that these features came from.

        With the reader's ``settings`` the message says which of them differ.
        """
        if identity != self.identity:
            why = f"identity {self.identity} there, {identity} here"
            raise InputError(
                f"the features in {self.folder} came from another reader than the model's "
                f"({difference(self.settings, settings) if settings else why}); "
                "extract them again, into another folder, with the model's reader"
            )

    def read(self, rows: Sequence[int]) -> Regions:
        """The regions of these rows as the reader gives them, in float32."""
        plain = self.read_plain(rows)
        if not self.settings.get("mirrored"):
            return plain
        return replace(plain, features=(plain.features + self.read_mirrored(rows).features) / 2)

    def read_mirrored(self, rows: Sequence[int]) -> Regions:
        """Those of the mirrored pictures. Raises InputError if one was not stored mirrored."""
        other = self.mirrored
        found = [other.row_of.get(self.contents[row]) for row in rows]
        if None in found:
            name = self.names[rows[found.index(None)]]
            raise InputError(
                f"{name} was not stored mirrored in {other.folder}, which has {len(other):,} pictures",
                f"add it: wordsight features extract DATA --out {self.folder} --mirrored",
            )
        return other.read_plain([row for row in found if row is not None])

    def read_plain(self, rows: Sequence[int]) -> Regions:
        """Those of the pictures as they are."""
        index = np.asarray(rows, dtype=np.int64)
        features = torch.from_numpy(self._features[index].astype(np.float32))
        boxes = torch.from_numpy(np.array(self._boxes[index]))
        labels = None if self._labels is None else self._labels[index]
        return Regions(features, boxes, torch.arange(self.regions) < self._real[index, None], labels)

    def find(self, paths: Sequence[str | Path]) -> list[int | None]:
        """The row of each picture, by content; None if it is not stored.

        A picture that is not on this machine is found by its file name, if only one stored picture has it.
        """
        count = Counter(self.names)
        by_name = {name: row for row, name in enumerate(self.names) if count[name] == 1}
        return [self._row(Path(path), by_name) for path in paths]

    def _row(self, path: Path, by_name: dict[str, int]) -> int | None:
        try:
            stamp, content = self._seen.get(str(path.absolute()), ((0, 0), ""))
            if stamp != stamp_of(path):
                content = content_of(path)
            return self.row_of.get(content)
        except FileNotFoundError:
            return by_name.get(path.name)

    def source(self, paths: Sequence[str | Path]) -> "StoredImages":
        """These pictures, in this order, as images to train or search with.

        Raises ValueError if any is not in the store: how many, which, and the command that adds them.
        """
        rows = self.find(paths)
        missing = [path for path, row in zip(paths, rows, strict=True) if row is None]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(paths)} pictures have no features in {self.folder}, "
                f"{missing[0]} first; "
                f"add them: wordsight features extract {Path(missing[0]).parent} --out {self.folder}"
            )
        return StoredImages(self, [row for row in rows if row is not None])


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Chosen rows of a store, in the order of some list of pictures: an ImageSource."""

    store: FeatureStore
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Sequence[int]) -> Regions:
        return self.store.read([self.rows[row] for row in rows])

    def read_plain(self, rows: Sequence[int]) -> Regions:
        return self.store.read_plain([self.rows[row] for row in rows])

    def read_mirrored(self, rows: Sequence[int]) -> Regions:
        """Raises InputError if one of the pictures was not stored mirrored."""
        return self.store.read_mirrored([self.rows[row] for row in rows])


def _labels(folder: Path, pictures: Sequence[dict[str, Any]], regions: int) -> torch.Tensor | None:
    """Numbers of the phrases that found the regions; None where no line has any."""
    if not any("phrases" in picture for picture in pictures):
        return None
    rows = [picture.get("phrases") for picture in pictures]
    try:
        labels = torch.tensor(rows, dtype=torch.long)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder / PICTURES} has damaged phrases ({error})", "extract again") from error
    if labels.shape != (len(pictures), regions) or int(labels.min()) < 0:
        raise InputError(
            f"{folder / PICTURES} has phrases of shape {list(labels.shape)}; expected {regions} numbers "
            "from 0 for each picture",
            "extract again",
        )
    return labels


def read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = plain_json.read(folder / META)
    except FileNotFoundError:
        raise MissingFileError(
            f"{folder} holds no {META}: it is not a feature store; make one: "
            f"wordsight features extract PICTURES --out {folder}"
        ) from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else "nothing"
        raise InputError(
            f"{folder / META} says format {found}; this version reads format {FORMAT}: "
            "extract again, or use the version of wordsight that wrote it"
        )
    return plain_json.table_of(meta, META_FIELDS, str(folder / META))


def read_lines(path: Path, fields: Mapping[str, plain_json.Kind]) -> list[dict[str, Any]]:
    """The complete lines of a journal; one that a kill cut short does not count."""
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    read: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            read.append(plain_json.table_of(json.loads(line), fields, f"line {number}"))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path} line {number} is damaged ({error})", "restore it, or extract again"
            ) from error
    return read


def read_files(folder: Path) -> dict[str, tuple[Stamp, str]]:
    """Path -> its stamp and content when it was last read."""
    lines = read_lines(folder / FILES, FILE_FIELDS)
    return {line["path"]: ((line["bytes"], line["changed"]), line["content"]) for line in lines}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings that differ between two readers, or that it must be the weights."""
    names = sorted(set(before) | set(now))
    lines = [f"{name} = {before.get(name)!r} there, {now.get(name)!r} here" for name in names]
    changed = [line for name, line in zip(names, lines, strict=True) if before.get(name) != now.get(name)]
    return "; ".join(changed) or "same settings, other weights"


def mapped(path: Path, rows: int) -> np.ndarray:
    """The first rows of an array file, mapped; an error if it has fewer."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        if len(shape) != 3 or min(shape) < 0 or dtype.kind != "f":
            raise ValueError(f"shape {shape} of {dtype}; expected three axes of floats")
    except (ValueError, SyntaxError, TypeError, TokenError) as error:
        raise InputError(f"{path} is no array of regions ({error}); extract again") from error
    there = (path.stat().st_size - start) // max(1, dtype.itemsize * shape[1] * shape[2])
    if there < rows:
        raise InputError(
            f"{path} holds {there} rows but {PICTURES} lists {rows}; "
            "the folder was copied in part: copy it again"
        )
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=(rows, *shape[1:]))
