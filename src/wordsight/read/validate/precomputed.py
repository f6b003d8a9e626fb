"""A precomputed folder -> its captions by split, with findings about how its files fit each other."""

from pathlib import Path

import numpy as np

from wordsight.files.documents import read_json, read_lines
from wordsight.read.datasets.deduplicate import Fold
from wordsight.read.datasets.picture_names import picture_folder
from wordsight.read.datasets.precomputed_boxes import open_boxes
from wordsight.read.datasets.precomputed_fold import PerRow, fold_features, fold_pictures
from wordsight.read.datasets.precomputed_images import open_features
from wordsight.read.datasets.precomputed_layout import DEV_LIMIT, PrecompSplit, find_precomp_folder, splits_of
from wordsight.read.datasets.records import Captioned
from wordsight.read.validate.captions import Texts
from wordsight.read.validate.features import Scan, check_across, check_scan, scan_features
from wordsight.read.validate.pictures import check_pictures
from wordsight.read.validate.report import Report


def check_precomp(path: Path, pictures: Path | None, report: Report) -> list[Texts]:
    """Every split: counts, features, ids, boxes; with ``pictures`` the raw picture files too."""
    report.path = folder = find_precomp_folder(path)
    splits: list[Texts] = []
    scans: list[Scan] = []
    bare = [split for split in splits_of(folder) if not PrecompSplit(folder, split).features.is_file()]
    if bare and pictures is None:
        _warn_bare(folder, bare, report)
    for split in splits_of(folder):
        files = PrecompSplit(folder, split)
        features = None if split in bare else _features(files, report)
        splits += _captions(files, features, report)
        if features is not None:
            scans.append(scan_features(files.features, split, features))
            check_scan(scans[-1], _row_names(files, len(features)), report)
    check_across(scans, report)
    if pictures is not None:
        _check_raw(folder, splits, pictures, report)
    _note_protocol(folder, splits, report)
    return splits


def _row_names(files: PrecompSplit, rows: int) -> list[str] | None:
    """The id of every row; None where ids are absent or do not fit, which the fold has reported."""
    try:
        names, _ = files.names()
    except ValueError:
        return None
    if names is None or rows % len(names):
        return None
    return [name for name in names for _ in range(rows // len(names))]


def _features(files: PrecompSplit, report: Report) -> np.ndarray | None:
    try:
        return open_features(files.features)
    except ValueError as error:
        report.add_error(error, str(files.features))
        return None


def _warn_bare(folder: Path, splits: list[str], report: Report) -> None:
    report.add(
        "warning",
        f"captions without features: {', '.join(splits)}",
        f"expected {PrecompSplit(folder, splits[0]).features}",
        "fetch or make the features; or use the captions with raw pictures: pictures under [data], and "
        "--pictures to check them",
    )


def _captions(files: PrecompSplit, features: np.ndarray | None, report: Report) -> list[Texts]:
    """The captions of a split with the images that they tell of; none if they cannot be read."""
    try:
        lines = read_lines(files.captions)
    except ValueError as error:
        report.add_error(error, str(files.captions))
        return []
    fold = _fold(files, lines, features, report)
    return [
        Texts(
            split=files.split,
            names=[] if fold is None else fold.names,
            texts=lines,
            image_of=[] if fold is None else fold.image_of.tolist(),
            place=lambda line: f"{files.captions.name} line {line + 1}",
            features=None if features is None else _shape(features),
            boxes=None if features is None else _boxes(files, features, report),
        )
    ]


def _fold(files: PrecompSplit, lines: list[str], features: np.ndarray | None, report: Report) -> Fold | None:
    try:
        if features is None:
            return fold_pictures(files, lines, "auto")
        return fold_features(files, lines, _per_row(files, lines, features, report))
    except FileNotFoundError:  # captions alone, whose images nothing tells apart
        return None
    except ValueError as error:
        report.add_error(error, str(files.folder))
        return None


def _per_row(files: PrecompSplit, lines: list[str], features: np.ndarray, report: Report) -> PerRow:
    """As the files have it, where that is even; other numbers than 1 and 5 need a setting."""
    count, rest = divmod(len(lines), len(features))
    if rest or count in (0, 1, 5):
        return "auto"
    report.add(
        "warning",
        f"{files.split} has {count} captions per image, not 5",
        f"{files.captions.name}: {len(lines):,} lines, {files.features.name}: {len(features):,} rows",
        f"set captions_per_image = {count} under [data]; other programs assume 5 and pair them wrongly",
    )
    return count


def _shape(features: np.ndarray) -> str:
    sizes = " x ".join(f"{size:,}" for size in features.shape)
    unit, bytes_each = ("GB", 1e9) if features.nbytes >= 1e9 else ("MB", 1e6)
    return f"{sizes} {features.dtype}, {features.nbytes / bytes_each:,.1f} {unit}"


def _boxes(files: PrecompSplit, features: np.ndarray, report: Report) -> str | None:
    regions = 1 if features.ndim == 2 else features.shape[1]
    try:
        boxes = open_boxes(files.folder, files.split, len(features), regions)
    except ValueError as error:
        report.add_error(error, str(files.folder))
        return None
    return None if boxes is None else "fractions" if boxes.sizes is None else "pixels"


def _check_raw(folder: Path, splits: list[Texts], pictures: Path, report: Report) -> None:
    """The picture files that the names stand for, through id_mapping.json where there is one."""
    start = picture_folder(folder, pictures)
    items: list[Captioned] = []
    for split in splits:
        files = PrecompSplit(folder, split.split)
        mapping = files.id_mapping
        named = {} if mapping is None or files.file_names.is_file() else read_json(mapping)
        for name in split.names:
            path = start.find(str(named.get(name, name)))
            items.append(Captioned(path, name, [], [], f"{split.split} {name}", split.split))
    check_pictures(items, report)


def _note_protocol(folder: Path, splits: list[Texts], report: Report) -> None:
    """Note how other programs count on these files."""
    captions = {split.split: len(split.texts) for split in splits}
    if captions.get("dev", 0) > DEV_LIMIT:
        report.add(
            "note",
            f"SCAN, VSE-infinity and CHAN measure dev on its first {DEV_LIMIT} captions only",
            f"{folder / 'dev_caps.txt'}: {captions['dev']:,} lines",
            "nothing, or set dev_limit_5000 = true under [data] to do the same",
        )
    if {"test", "testall"} <= set(captions):
        report.add(
            "note",
            "COCO numbers are reported on testall, whole (5K) or as the mean of five folds (1K); "
            "the split test is one fold, and easier",
            str(folder / "test_caps.txt"),
            "evaluate testall with the protocol coco-5k or coco-1k-5fold",
        )
