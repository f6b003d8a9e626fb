"""A folder of precomputed region features (SCAN, VSE-infinity, CHAN) -> PairSet, read row by row.

``{split}_ims.npy``       float32 or float16 [row, region, feature]; [row, feature] is one region per row
``{split}_caps.txt``      one caption per line
``{split}_ids.txt``       optional; one image id per row
``{split}_imagename.txt`` optional; one picture file name per image
``{split}_boxes.npy``, ``{split}_img_sizes.npy``  optional; see ``wordsight.read.datasets.precomputed_boxes``

A row has five captions, or one; in the latter case most releases repeat every image five times. Repeated rows
are folded here, so that every image occurs once with all its captions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_lines
from wordsight.files.npy import open_floats
from wordsight.pairs import PairSet, Picture, PictureFiles, one_identity_per_image
from wordsight.read.datasets.caption_files import picture_files, read_id_mapping
from wordsight.read.datasets.deduplicate import (
    Fold,
    fold_by_content,
    fold_by_name,
    fold_evenly,
    lines_per_row,
)
from wordsight.read.datasets.precomputed_boxes import Boxes, open_boxes
from wordsight.read.datasets.precomputed_layout import PrecompSplit, find_precomp_folder, find_split
from wordsight.read.datasets.records import picture_folder, same_split
from wordsight.sets import Pixels, Regions

DEV_LIMIT = 5000  # captions of dev that the reference readers use, whatever the file holds
PerRow = int | Literal["auto"]


@dataclass(frozen=True, eq=False)
class PrecompImages:
    """The images of a precomputed folder: chosen rows of its feature file, as Regions."""

    path: Path
    rows: Int[np.ndarray, " image"]  # row of the file for each image
    boxes: Boxes | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def regions(self) -> int:
        return 1 if self._file.ndim == 2 else int(self._file.shape[1])

    @property
    def feature_dim(self) -> int:
        return int(self._file.shape[-1])

    def read(self, rows: Sequence[int]) -> Regions:
        """Features (float32), boxes and mask of these images. Features that are not finite are an error."""
        wanted = self.rows[np.asarray(rows, dtype=np.int64)]
        features = np.asarray(self._file[wanted], dtype=np.float32).reshape(
            -1, self.regions, self.feature_dim
        )
        finite = np.isfinite(features).all((1, 2))
        if not finite.all():
            raise InputError(
                f"{self.path} row {wanted[int(np.argmin(finite))]} holds NaN or infinity; "
                "wordsight data check lists all such rows; make the features again"
            )
        return Regions(
            features=torch.from_numpy(features),
            boxes=None if self.boxes is None else torch.from_numpy(self.boxes.read(wanted)),
            mask=torch.ones(features.shape[:2], dtype=torch.bool),
        )

    @cached_property
    def _file(self) -> np.ndarray:
        return open_features(self.path)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open map: a worker process opens its own."""
        return {"path": self.path, "rows": self.rows, "boxes": self.boxes}


def open_features(path: Path) -> np.ndarray:
    """The feature file as a memory map: [row, region, feature], or [row, feature] (VSE++)."""
    return open_floats(path, "row region feature", "row feature")


def read_precomp(
    path: str | Path,
    split: str,
    captions_per_image: PerRow = "auto",
    dev_limit_5000: bool = False,
    boxes: bool = True,
    pictures: str | Path | None = None,
    id_mapping: str | Path | None = None,
    drop_empty: bool = False,
) -> PairSet:
    """One split of a precomputed folder; its images are Regions, or pictures if those are asked for.

    ``path`` is the folder itself or one above it (``--data_path`` of SCAN, VSE-infinity or CHAN).
    ``captions_per_image`` is the number of caption lines per row; "auto" takes 1 or 5, whichever fits.
    ``dev_limit_5000`` keeps only the first 5000 captions of dev, as the reference code does. ``boxes =
    false`` ignores a box file. With ``pictures`` (a folder) or ``id_mapping`` (VSE-infinity's JSON) the
    captions go with picture files, and no ``.npy`` file is needed. ``drop_empty`` leaves out empty
    captions.
    Raises FileNotFoundError, and ValueError that says which files disagree, with their counts.
    """
    files = find_split(find_precomp_folder(Path(path)), split)
    texts = read_lines(files.captions)
    raw = pictures is not None or id_mapping is not None
    fold_by = fold_pictures if raw else fold_features
    fold = fold_by(files, texts, captions_per_image)
    keep = _kept(texts, files, drop_empty)
    if dev_limit_5000 and files.split in same_split("dev"):
        keep = keep[:DEV_LIMIT]
    fold = fold.only(keep)
    images: PictureFiles | PrecompImages
    images = _picture_files(files, fold, pictures, id_mapping) if raw else _images(files, fold, boxes)
    return PairSet(
        images=images,
        names=fold.names,
        texts=[texts[row] for row in keep],
        image_of=torch.from_numpy(fold.image_of),
        identities=one_identity_per_image(len(images)),
        source=str(files.folder / files.split),
    )


def fold_features(files: PrecompSplit, texts: list[str], setting: PerRow) -> Fold:
    """Images told apart by the ids, or where there are none by the features themselves."""
    if not files.features.is_file():
        raise MissingFileError(
            f"{files.features} does not exist; fetch the features or make them, or set pictures to the "
            "folder of raw pictures to use these captions with them"
        )
    features = open_features(files.features)
    names, name_path = files.names()
    rows = len(features)
    per_row = lines_per_row(rows, len(texts), setting, (files.features.name, files.captions.name))
    if names is None:
        fold = fold_by_content(features, per_row) if per_row == 1 else fold_evenly(rows, rows, per_row)
        return fold.named([f"{files.split} row {row}" for row in fold.rows])
    if len(names) == rows:
        return fold_by_name(names, per_row)
    if name_path == files.file_names and rows % len(names) == 0:
        return fold_evenly(rows, len(names), per_row).named(names)
    raise InputError(
        f"{name_path.name} has {len(names)} lines but {files.features.name} has {rows} rows; expected one "
        f"per row; fetch both from one place, or take {name_path.name} away to tell images apart by their "
        "features"
    )


def fold_pictures(files: PrecompSplit, texts: list[str], setting: PerRow) -> Fold:
    """Images told apart by file name or id alone; no features needed."""
    path = files.file_names if files.file_names.is_file() else files.ids
    if not path.is_file():
        raise MissingFileError(
            f"{files.folder} has neither {files.ids.name} nor {files.file_names.name}, so nothing says "
            "which picture a caption tells of; add one"
        )
    names = read_lines(path)
    return fold_by_name(
        names, lines_per_row(len(names), len(texts), setting, (path.name, files.captions.name))
    )


def _images(files: PrecompSplit, fold: Fold, boxes: bool) -> PrecompImages:
    images = PrecompImages(files.features, fold.rows)
    if not boxes:
        return images
    rows = len(open_features(files.features))
    return PrecompImages(
        files.features, fold.rows, open_boxes(files.folder, files.split, rows, images.regions)
    )


def _picture_files(
    files: PrecompSplit, fold: Fold, pictures: str | Path | None, id_mapping: str | Path | None
) -> PictureFiles:
    mapping = id_mapping or (None if files.file_names.is_file() else files.id_mapping)
    if mapping is not None:
        return read_id_mapping(mapping, fold.names, pictures)
    return picture_files(fold.names, picture_folder(files.captions, pictures), files.captions)


def _kept(texts: list[str], files: PrecompSplit, drop_empty: bool) -> list[int]:
    """The captions that are not empty; unless they are to be dropped, an empty one is an error."""
    kept = [row for row, text in enumerate(texts) if text]
    if len(kept) < len(texts) and not drop_empty:
        first = texts.index("") + 1
        raise InputError(
            f"{files.captions}: empty captions: {len(texts) - len(kept)}, the first at line {first}; "
            "fill them in, or set drop_empty = true to leave them out"
        )
    return kept


class Precomputed:
    """The reader of a model that was trained on precomputed features: it has none for new pictures.

    Such a model scores and searches what a precomputed folder holds. Its features came from a detector that
    is not part of the model, so a new picture cannot be given to it.
    """

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim
        self.identity = f"precomputed-{feature_dim}"

    def __call__(self, pictures: Sequence[Picture]) -> Regions | Pixels:
        raise InputError(
            f"this model reads precomputed features of {self.feature_dim} numbers per region and cannot "
            f"look at pictures ({len(pictures)} given). Give it Regions of read_precomp; or, for a model "
            "that reads pictures, "
            'train with [reader] name = "backbone" (features of a pretrained network) or "pixels"'
        )

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        return {"feature_dim": self.feature_dim}
