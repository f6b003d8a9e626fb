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
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_lines
from wordsight.pairs import PairSet, PictureFiles, one_identity_per_image
from wordsight.read.datasets.dataset import Dataset
from wordsight.read.datasets.deduplicate import Fold
from wordsight.read.datasets.id_mapping import picture_files, read_id_mapping
from wordsight.read.datasets.picture_names import picture_folder
from wordsight.read.datasets.precomputed_boxes import open_boxes
from wordsight.read.datasets.precomputed_fold import PerRow, fold_features, fold_pictures
from wordsight.read.datasets.precomputed_images import PrecompImages, open_features
from wordsight.read.datasets.precomputed_layout import (
    DEV_LIMIT,
    PrecompSplit,
    find_precomp_folder,
    find_split,
    splits_of,
)
from wordsight.read.datasets.records import same_split
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.read.validate.captions import Texts
    from wordsight.read.validate.report import Report


class Precomp(Dataset):
    """A precomputed folder; its images are Regions, or pictures if those are asked for.

    ``path`` is the folder itself or one above it (``--data_path`` of SCAN, VSE-infinity or CHAN).
    ``captions_per_image`` is the number of caption lines per row; "auto" takes 1 or 5, whichever fits.
    ``dev_limit_5000`` keeps only the first 5000 captions of dev, as the reference code does. ``boxes =
    false`` ignores a box file. With ``pictures`` (a folder) or ``id_mapping`` (VSE-infinity's JSON) the
    captions go with picture files, and no ``.npy`` file is needed. ``drop_empty`` leaves out empty
    captions.
    """

    kind = "precomputed folder"

    def __init__(
        self,
        path: str | Path,
        captions_per_image: PerRow = "auto",
        dev_limit_5000: bool = False,
        boxes: bool = True,
        pictures: str | Path | None = None,
        id_mapping: str | Path | None = None,
        drop_empty: bool = False,
    ) -> None:
        self.path = path
        self.captions_per_image, self.dev_limit_5000, self.boxes = captions_per_image, dev_limit_5000, boxes
        self.pictures, self.id_mapping, self.drop_empty = pictures, id_mapping, drop_empty

    @classmethod
    def detect(cls, path: Path) -> bool:
        try:
            find_precomp_folder(path)
        except MissingFileError:
            return False
        return True

    def splits(self) -> list[str]:
        return splits_of(find_precomp_folder(Path(self.path)))

    def read(self, split: str | None = None) -> PairSet:
        """Raises MissingFileError, and InputError that says which files disagree, with their counts."""
        if split is None:
            raise InputError(f"{self.path} is read by split; it has {', '.join(self.splits())}")
        files = find_split(find_precomp_folder(Path(self.path)), split)
        texts = read_lines(files.captions)
        raw = self.pictures is not None or self.id_mapping is not None
        fold = (fold_pictures if raw else fold_features)(files, texts, self.captions_per_image)
        keep = _non_empty_rows(texts, files, self.drop_empty)
        if self.dev_limit_5000 and files.split in same_split("dev"):
            keep = keep[:DEV_LIMIT]
        fold = fold.only(keep)
        images: PictureFiles | PrecompImages
        images = self._picture_files(files, fold) if raw else _images(files, fold, self.boxes)
        return PairSet(
            images=images,
            names=fold.names,
            texts=[texts[row] for row in keep],
            image_of=torch.from_numpy(fold.image_of),
            identities=one_identity_per_image(len(images)),
            source=str(files.folder / files.split),
        )

    def texts(self, splits: Sequence[str] | None = None) -> list[str]:
        """The lines of the caption files; features need not be there."""
        folder = find_precomp_folder(Path(self.path))
        files = [find_split(folder, split) for split in splits or splits_of(folder)]
        return [line for split in files for line in read_lines(split.captions) if line]

    def check(self, report: "Report") -> "list[Texts]":
        from wordsight.read.validate.precomputed import check_precomp

        pictures = None if self.pictures is None else Path(self.pictures)
        return check_precomp(Path(self.path), pictures, report)

    def _picture_files(self, files: PrecompSplit, fold: Fold) -> PictureFiles:
        mapping = self.id_mapping or (None if files.file_names.is_file() else files.id_mapping)
        if mapping is not None:
            return read_id_mapping(mapping, fold.names, self.pictures)
        return picture_files(fold.names, picture_folder(files.captions, self.pictures), files.captions)


def _images(files: PrecompSplit, fold: Fold, boxes: bool) -> PrecompImages:
    images = PrecompImages(files.features, fold.rows)
    if not boxes:
        return images
    rows = len(open_features(files.features))
    return PrecompImages(
        files.features, fold.rows, open_boxes(files.folder, files.split, rows, images.regions)
    )


def _non_empty_rows(texts: list[str], files: PrecompSplit, drop_empty: bool) -> list[int]:
    """Rows of the captions that are not empty; an empty one is an error unless they are dropped."""
    rows = [row for row, text in enumerate(texts) if text]
    if len(rows) < len(texts) and not drop_empty:
        first = texts.index("") + 1
        raise InputError(
            f"{files.captions}: empty captions: {len(texts) - len(rows)}, the first at line {first}; "
            "fill them in, or set drop_empty = true to leave them out"
        )
    return rows
