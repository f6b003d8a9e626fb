"""Regions and captions -> a precomputed folder that every reader of the format opens; all or nothing."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wordsight.errors import AlreadyExistsError, InputError
from wordsight.files.npy import ArrayFile, writing
from wordsight.files.undecodable import exact_bytes
from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.precomputed_layout import PrecompSplit
from wordsight.read.features.store import FeatureStore
from wordsight.runtime.progress import Progress, silent
from wordsight.sets import Regions

Size = Sequence[float | int] | np.ndarray  # width, height in pixels
FeatureType = Literal["float32", "float16"]
Row = tuple[np.ndarray, np.ndarray | None, Size | None]  # features, boxes, (width, height)
_ENDED = object()


class PrecompWriter:
    """Fills the arrays of one split row by row, in any order, and puts the files in their place at the end.

    Until then they are in ``{split}.partial/`` inside the folder; ``resume`` goes on with what is there.
    ``shape`` is regions and feature size of every image: the format has one for all. ``boxes`` are
    fractions of the picture, or pixels if picture ``sizes`` are stored too.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        rows: int,
        shape: tuple[int, int],
        boxes: bool = False,
        sizes: bool = False,
        dtype: FeatureType = "float32",
        resume: bool = False,
    ) -> None:
        self.files = PrecompSplit(folder, split)
        self.partial = folder / f"{split}.partial"
        if self.files.features.exists():
            raise AlreadyExistsError(
                f"{self.files.features} exists already; delete it, or choose another folder"
            )
        if not resume:
            shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True, exist_ok=True)
        shapes: dict[str, tuple[tuple[int, ...], str]] = {"ims": ((rows, *shape), dtype)}
        if boxes:
            shapes["boxes"] = ((rows, shape[0], 4), "float32")
        if sizes:
            shapes["img_sizes"] = ((rows, 2), "float32")
        self._arrays: dict[str, ArrayFile] = {}
        try:
            for name, (size, kind) in shapes.items():
                path = self.partial / f"{split}_{name}.npy"
                self._arrays[name] = ArrayFile(path, size, kind, resume)
        except BaseException:
            if not resume:
                self.discard()
            raise

    def write(self, row: int, values: Row) -> None:
        """Features [region feature], and boxes [region 4] and (width, height) where the split has them."""
        for (name, array), value in zip(self._arrays.items(), self._wanted(row, values), strict=True):
            with np.errstate(over="ignore"):
                stored = np.asarray(value).astype(array.dtype)
            if not np.isfinite(stored).all():
                raise InputError(
                    f"{self.files.split}_{name}.npy row {row} would hold NaN, infinity or a number too "
                    f"large for {stored.dtype}; expected finite numbers"
                )
            array.write(row, stored)

    def _wanted(self, row: int, values: Row) -> list[np.ndarray | Size]:
        named = dict(zip(("ims", "boxes", "img_sizes"), values, strict=True))
        wanted = [named[name] for name in self._arrays]
        given = [value for value in wanted if value is not None]
        if len(given) < len(wanted):
            raise InputError(f"row {row} has no boxes or no picture size, but this split is to have them")
        return given

    def sync(self) -> None:
        """Return when all rows written so far are on the disk."""
        for array in self._arrays.values():
            array.sync()

    def finish(self, texts: dict[str, Sequence[str]]) -> None:
        """Add text files by name (``caps``, ``ids``) and move everything into its place, texts last."""
        for array in self._arrays.values():
            array.sync()
            array.close()
        for name, lines in texts.items():
            path = self.partial / f"{self.files.split}_{name}.txt"
            with writing(path):
                path.write_bytes(b"".join(exact_bytes(line) + b"\n" for line in lines))
        names = [f"{name}.npy" for name in self._arrays] + [f"{name}.txt" for name in texts]
        for name in names:
            os.replace(
                self.partial / f"{self.files.split}_{name}", self.files.folder / f"{self.files.split}_{name}"
            )
        shutil.rmtree(self.partial)

    def discard(self) -> None:
        """Leave nothing behind."""
        self.__exit__()
        shutil.rmtree(self.partial, ignore_errors=True)

    def __enter__(self) -> "PrecompWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for array in self._arrays.values():
            array.close()


def write_precomp(
    folder: str | Path,
    split: str,
    features: Iterable[np.ndarray],
    captions: Sequence[Sequence[str]],
    ids: Sequence[str],
    boxes: Iterable[np.ndarray] | None = None,
    sizes: Iterable[Size] | None = None,
    dtype: FeatureType = "float32",
) -> Path:
    """Write one split, holding one image at a time, and return the folder.

    ``features`` yields [region feature] per image, ``captions`` and ``ids`` have one entry per image.
    ``boxes`` yields [region 4] per image: pixels if ``sizes`` yields (width, height), else fractions of the
    picture. Every image has one row if all have five captions, or all one; else its row is repeated for
    every caption, which is what readers of the format understand. On any error nothing is left behind.
    Raises ValueError for counts that differ, FileExistsError if the split is there already, OSError.
    """
    folder, repeat = Path(folder), _repeats(captions, ids)
    images = _images(features, boxes, sizes, len(ids))
    first = next(images)
    regions, feature_dim = first[0].shape
    given = (boxes is not None, sizes is not None)
    writer = PrecompWriter(folder, split, sum(repeat), (regions, feature_dim), *given, dtype)
    try:
        places = np.cumsum([0, *repeat]).tolist()
        for values, start, end in zip(chain([first], images), places[:-1], places[1:], strict=True):
            for row in range(start, end):
                writer.write(row, values)
        names = [name for name, count in zip(ids, repeat, strict=True) for _ in range(count)]
        lines = [" ".join(text.split()) for texts in captions for text in texts]
        writer.finish({"ids": names, "caps": lines})
    except BaseException:
        writer.discard()
        raise
    return folder


def _repeats(captions: Sequence[Sequence[str]], ids: Sequence[str]) -> list[int]:
    """How many rows each image gets."""
    if len(captions) != len(ids) or not ids:
        raise InputError(f"{len(captions)} lists of captions for {len(ids)} ids; expected one list per id")
    for name, texts in zip(ids, captions, strict=True):
        if not texts or not all(text.strip() for text in texts):
            raise InputError(
                f"image {name} has no caption or an empty one: {list(texts)}; every image needs one"
            )
    counts = [len(texts) for texts in captions]
    return [1] * len(ids) if set(counts) in ({1}, {5}) else counts


def _images(
    features: Iterable[np.ndarray],
    boxes: Iterable[np.ndarray] | None,
    sizes: Iterable[Size] | None,
    expected: int,
) -> Iterator[Row]:
    """The streams side by side, which must all have the expected length."""
    streams = {"features": features, "boxes": boxes, "sizes": sizes}
    given: dict[str, Iterable[Any]] = {name: stream for name, stream in streams.items() if stream is not None}
    count = 0
    for values in zip_longest(*given.values(), fillvalue=_ENDED):
        named = dict(zip(given, values, strict=True))
        ended = [name for name, value in named.items() if value is _ENDED]
        if ended or count == expected:
            raise InputError(
                f"{' and '.join(ended) or 'the ids'} ended after {count} images, but "
                f"{' and '.join(name for name in named if name not in ended)} went on"
            )
        if named["features"].ndim != 2:
            raise InputError(
                f"image {count} has features of shape {named['features'].shape}; expected [region feature]"
            )
        yield named["features"], named.get("boxes"), named.get("sizes")
        count += 1
    if count < expected:
        raise InputError(f"{' and '.join(given)} ended after {count} images, but there are {expected} ids")


def write_store(
    folder: str | Path, split: str, store: FeatureStore, pairs: PairSet, progress: Progress = silent
) -> int:
    """Write one split with the stored regions of its pictures, and return how many images it has.

    Raises InputError for pictures that are not stored, and for stores whose pictures differ in their number
    of regions (a detector's): the format has no mask.
    """
    if not isinstance(pairs.images, PictureFiles):
        raise InputError(f"{pairs.source}: its images are no picture files, so no store holds their regions")
    images = store.source(pairs.images.paths)
    texts = [[pairs.texts[text] for text in own] for own in pairs.texts_by_image()]

    def features() -> Iterator[np.ndarray]:
        for row, name in enumerate(pairs.names):
            progress("images", row, len(images))
            yield _whole(images.read([row]), name)
        progress("images", len(images), len(images))

    found = (images.read([row]).boxes for row in range(len(images)))
    boxes = (box[0].numpy() for box in found if box is not None)
    write_precomp(folder, split, features(), texts, pairs.names, boxes)
    return len(images)


def _whole(regions: Regions, name: str) -> np.ndarray:
    if not regions.mask.all():
        raise InputError(
            f"{name} has {int(regions.mask.sum())} regions and others have {regions.mask.shape[1]}, but the "
            "format has one number for all",
            "extract the features without --detector",
        )
    return np.asarray(regions.features[0])
