"""Batches of Regions -> a feature store: one writer at a time, whole batches or nothing."""

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wordsight.errors import InputError, StorageError
from wordsight.files.append import AppendFile
from wordsight.files.fingerprint import Stamp
from wordsight.files.lock import LOCK, locked
from wordsight.read.features import store
from wordsight.read.features.store import BOXES, FEATURES, FILES, FORMAT, META, PICTURES
from wordsight.sets import Regions

DATA = (FEATURES, BOXES, PICTURES, FILES)
DTYPES = ("float16", "float32")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StoreFull(StorageError):  # noqa: N818
    """There is no space for the next batch; all before it is stored."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.errno = errno.ENOSPC


@dataclass(frozen=True)
class Seen:
    """A picture file as it was when it was read."""

    path: Path
    stamp: Stamp
    content: str
    size: tuple[int, int]  # width, height of the picture in pixels


class StoreWriter:
    """Appends batches to a store; a context manager that holds the store's lock.

    Order of a commit: arrays to the disk, then the lines of ``pictures.jsonl``, then the arrays' headers.
    A kill in between leaves rows that no line names; the next writer cuts them off.
    """

    def __init__(self, folder: Path, identity: str, settings: dict[str, Any], dtype: str = "float16") -> None:
        if dtype not in DTYPES:
            raise InputError(f'dtype = "{dtype}" is unknown; known: {", ".join(DTYPES)}')
        self.folder = folder
        self.meta: dict[str, Any] = {
            "format": FORMAT,
            "identity": identity,
            "reader": settings,
            "dtype": dtype,
        }
        self._claim = folder / f".{META}"  # there only while a new store's files are being made
        self._tails: dict[str, AppendFile] = {}
        self._rows: dict[str, int] = {}  # content -> row
        self._seen: dict[str, tuple[Stamp, str]] = {}
        self._to_remember: list[dict[str, Any]] = []  # lines for files.jsonl, written with the next batch

    def __enter__(self) -> "StoreWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = locked(self.folder)
        try:
            if (self.folder / META).is_file():
                self._continue(store.read_meta(self.folder))
            else:
                self._clear()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if FILES in self._tails:
            self._remember()
        self.close()

    def close(self) -> None:
        for tail in self._tails.values():
            tail.file.close()
        self._lock.close()
        if not (self.folder / META).is_file():  # nothing was stored: leave nothing behind
            if self._claim.is_file():
                self._clear()
            (self.folder / LOCK).unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()

    def _clear(self) -> None:
        """Remove what a store killed at its very beginning left behind; a stranger's files are an error."""
        there = [name for name in DATA if (self.folder / name).exists()]
        if there and not self._claim.is_file():
            raise InputError(
                f"{self.folder} holds {', '.join(there)} but no {META}: it is not a feature store; "
                "choose another folder, or move those files away"
            )
        for name in (*there, self._claim.name):
            (self.folder / name).unlink(missing_ok=True)

    def _continue(self, before: dict[str, Any]) -> None:
        if before["identity"] != self.meta["identity"]:
            raise InputError(
                f"{self.folder} holds features of another reader "
                f"({store.difference(before['reader'], self.meta['reader'])}); "
                "choose another folder, or the reader it was begun with"
            )
        self.meta = before
        pictures = store.read_lines(self.folder / PICTURES, store.PICTURE_FIELDS)
        self._rows = {line["content"]: row for row, line in enumerate(pictures)}
        self._seen = store.read_files(self.folder)
        for name in (FEATURES, BOXES):
            if len(pictures):
                store.mapped(self.folder / name, len(pictures))  # raises if rows are missing
            end = len(_header(self._shape(name), len(pictures))) + len(pictures) * self._row_bytes(name)
            self._tails[name] = AppendFile(self.folder / name, end)
        for name in (PICTURES, FILES):
            self._tails[name] = AppendFile(self.folder / name, _whole_lines(self.folder / name))
        self._count()

    def has(self, content: str) -> bool:
        return content in self._rows

    def known(self, path: Path, stamp: Stamp) -> str | None:
        """The content of a file that has not changed since it was last read."""
        before, content = self._seen.get(str(path), (None, None))
        return content if before == stamp else None

    def saw(self, path: Path, stamp: Stamp, content: str) -> None:
        """Remember where a stored content is, so that the file need not be read again."""
        if self.known(path, stamp) != content:
            self._seen[str(path)] = (stamp, content)
            bytes_, changed = stamp
            line = {"path": str(path), "bytes": bytes_, "changed": changed, "content": content}
            self._to_remember.append(line)

    def append(self, regions: Regions, seen: Sequence[Seen], left: int) -> None:
        """Store one batch; ``left``: pictures still to come with it, to check the free space in time.

        Raises StoreFull, and ValueError for features that are not finite.
        """
        if regions.boxes is None:
            raise InputError("a feature store keeps boxes, and these regions have none")
        features, boxes = self._cast(regions, seen), regions.boxes.cpu().numpy().astype(np.float32)
        lines = [
            {"content": one.content, "name": one.path.name, "size": list(one.size), "regions": count}
            for one, count in zip(seen, regions.mask.sum(1).tolist(), strict=True)
        ]
        if regions.labels is not None:
            for line, labels in zip(lines, regions.labels.tolist(), strict=True):
                line["phrases"] = labels
        with self._space(left):
            if not self._tails:
                self._begin(features, left)
            self._check_shape(features)
            self._commit({FEATURES: features.tobytes(), BOXES: boxes.tobytes(), PICTURES: _as_bytes(lines)})
            self._rows |= {one.content: len(self._rows) + i for i, one in enumerate(seen)}
            self._count()
        for one in seen:
            self.saw(one.path, one.stamp, one.content)
        self._remember()

    def _commit(self, data: dict[str, bytes]) -> None:
        """All of it or nothing; the lines of the last file are what makes the batch count."""
        try:
            for name, bytes_ in data.items():
                self._tails[name].add(bytes_)
            for name in data:
                self._tails[name].keep()
        finally:
            for name in data:
                self._tails[name].drop()

    @contextmanager
    def _space(self, left: int) -> Iterator[None]:
        """Report a full disk inside the block as such."""
        try:
            yield
        except OSError as error:
            if isinstance(error, StoreFull) or error.errno not in _FULL:
                raise
            raise StoreFull(self._full(left)) from error

    def _remember(self) -> None:
        """Write what was seen where; without space it is merely read again next time."""
        try:
            self._tails[FILES].add(_as_bytes(self._to_remember))
            self._tails[FILES].keep()
        except OSError as error:
            if error.errno not in _FULL:
                raise
        finally:
            self._tails[FILES].drop()
        self._to_remember = []

    def _begin(self, features: np.ndarray, left: int) -> None:
        """The first batch settles the shapes, and whether the disk can hold what is to come."""
        _, self.meta["regions"], self.meta["feature_dim"] = features.shape
        if left * self._row_bytes(FEATURES) > shutil.disk_usage(self.folder).free:
            raise StoreFull(self._full(left))
        self._claim.write_text(json.dumps(self.meta, indent=2) + "\n", encoding="utf-8")
        for name in DATA:
            self._tails[name] = AppendFile(self.folder / name, 0)
        for name in (FEATURES, BOXES):
            self._tails[name].add(_header(self._shape(name), 0))
            self._tails[name].keep()
        self._claim.replace(self.folder / META)

    def _shape(self, name: str) -> tuple[str, int, int]:
        """Number type and shape of one row of an array file."""
        regions, feature_dim = self.meta["regions"], self.meta["feature_dim"]
        return ("float32", regions, 4) if name == BOXES else (self.meta["dtype"], regions, feature_dim)

    def _row_bytes(self, name: str) -> int:
        dtype, regions, width = self._shape(name)
        return np.dtype(dtype).itemsize * regions * width

    def _count(self) -> None:
        """Tell the arrays' headers how many rows count; numpy leaves room in them to grow."""
        for name in (FEATURES, BOXES):
            self._tails[name].write(0, _header(self._shape(name), len(self._rows)))

    def _check_shape(self, features: np.ndarray) -> None:
        expected = (self.meta["regions"], self.meta["feature_dim"])
        if features.shape[1:] != expected:
            raise InputError(
                f"the reader gave regions x features of {features.shape[1:]}, but {self.folder} holds "
                f"{expected}; "
                "a store keeps one number of regions per picture, padded if need be"
            )

    def _cast(self, regions: Regions, seen: Sequence[Seen]) -> np.ndarray:
        with np.errstate(over="ignore"):
            features = regions.features.cpu().numpy().astype(self.meta["dtype"])
        bad = np.flatnonzero(~np.isfinite(features).all(axis=(1, 2)))
        if len(bad):
            largest = float(regions.features[bad[0]].abs().max())
            raise InputError(
                f"the features of {seen[bad[0]].path} are not finite in {self.meta['dtype']} "
                f'(largest {largest:.4g}); store them with dtype = "float32" in a new folder; '
                "if that is nan or inf, the model itself is broken"
            )
        return features

    def _full(self, left: int) -> str:
        needed, free = left * self._row_bytes(FEATURES), shutil.disk_usage(self.folder).free
        return (
            f"no space for the features in {self.folder}: about {needed / 1e6:,.1f} MB to come, "
            f"{free / 1e6:,.1f} MB free on that disk; the {len(self._rows)} pictures stored so far are safe: "
            "make room and run the same command again"
        )


def _header(row: tuple[str, int, int], rows: int) -> bytes:
    dtype, regions, width = row
    head = BytesIO()
    shape = (rows, regions, width)
    np.lib.format.write_array_header_1_0(
        head, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    )
    return head.getvalue()


def _as_bytes(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=True).encode() + b"\n" for line in lines)


def _whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
