"""Pairs of small pictures, and what tells them from others: for the tests of shards of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.shards import ShardDataset
from wordsight.read.datasets.tfrecords import Records
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.export.resumable_shards import Skipped
from wordsight.read.export.tfrecords import RecordSettings, write_records
from wordsight.read.export.webdataset import write_webdataset
from wordsight.read.pictures.decode import open_picture

KEPT = RecordSettings(seed=None)  # in the order of the data
FORMATS: dict[str, tuple[Callable[..., list[Skipped]], type[ShardDataset]]] = {
    "tfrecord": (lambda out, splits, **more: write_records(out, splits, KEPT, **more), Records),
    "webdataset": (
        lambda out, splits, **more: write_webdataset(out, splits, seed=None, **more),
        WebDataset,
    ),
}
each_format = pytest.mark.parametrize(("write", "read"), FORMATS.values(), ids=list(FORMATS))


def photo(path: Path, seed: int, mode: str = "RGB", **settings: Any) -> Path:
    values = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(values, np.ones((4, 4, 1), np.uint8))).convert(mode).save(path, **settings)
    return path


def pairs_of(folder: Path, split: str = "train", pictures: int = 6, first: int = 100) -> PairSet:
    """Pictures of three persons; two texts each, three for the first."""
    paths = [photo(folder / "imgs" / f"{split}{n}.jpg", n) for n in range(pictures)]
    texts = [[f"a man number {n}, in a T-shirt", f"He walks: {n}!"] for n in range(pictures)]
    texts[0].append("a man")
    return PairSet(
        images=PictureFiles(paths),
        names=[path.name for path in paths],
        texts=[text for said in texts for text in said],
        image_of=torch.tensor([row for row, said in enumerate(texts) for _ in said]),
        identities=torch.tensor([first + n % 3 for n in range(pictures)]),
        source="six pictures",
    )


def same_pairs(one: PairSet, other: PairSet) -> bool:
    return (
        list(one.names) == list(other.names)
        and list(one.texts) == list(other.texts)
        and torch.equal(one.image_of, other.image_of)
        and torch.equal(one.identities, other.identities)
    )


def pixels(pairs: PairSet) -> list[np.ndarray]:
    return [np.asarray(open_picture(picture)) for picture in pairs.images.read(range(len(pairs.images)))]


def same_pixels(one: PairSet, other: PairSet) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(pixels(one), pixels(other), strict=True))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def small_splits(folder: Path) -> dict[str, PairSet]:
    return {"train": pairs_of(folder), "val": pairs_of(folder, "val", 3, 200)}
