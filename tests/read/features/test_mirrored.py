"""Mirrored features: those of the mirrored picture, stored under the picture as it is, drawn in training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from support.small_problem import small_pairs

from wordsight.errors import InputError
from wordsight.learn.augmentation import ChangePictures
from wordsight.learn.batches import Batches
from wordsight.pairs import PairSet
from wordsight.read.features.extract import extract
from wordsight.read.features.mirrored import MirroredReader, mirrored
from wordsight.read.features.store import MIRRORED, FeatureStore
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words

COUNT = 6


@pytest.fixture(scope="module")
def photos(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs that are not square, without loss, so that a mirrored file holds the mirrored values."""
    folder = tmp_path_factory.mktemp("photos")
    chosen = sorted((data / "flickr8k" / "images").glob("*.jpg"))[:COUNT]
    for number, path in enumerate(chosen):
        Image.open(path).crop((0, 0, 200, 120)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def reader(data: Path) -> BackboneReader:
    return BackboneReader(
        str(data / "weights" / "mobilenet_v2_1.0_224"), size=96, grid=[1, 2],
        detector=str(data / "weights" / "yolox_nano_coco80.onnx"), detections=3, kinds_weight=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(photos: list[Path], reader: BackboneReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "store"
    extract(reader, photos, folder)
    extract(MirroredReader(reader), photos, folder / MIRRORED)
    return folder


def test_a_frame_is_mirrored_in_all_its_sizes() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    part = PreparedPicture(values[:, :2], (40, 20), (0.5, 0.0, 0.75, 1.0))
    turned = mirrored(PreparedPicture(values, (40, 20), (0.0, 0.1, 0.9, 1.0), (part,)))
    assert np.array_equal(turned.values, values[:, ::-1])
    assert turned.window == pytest.approx((0.1, 0.1, 1.0, 1.0))
    assert np.array_equal(turned.others[0].values, values[:, 1::-1])
    assert turned.others[0].window == (0.25, 0.0, 0.5, 1.0)
    assert turned.size == turned.others[0].size == (40, 20)


def pairs_of(store: Path, photos: list[Path]) -> PairSet:
    """Five texts of each photograph, with its stored features."""
    return small_pairs(images=COUNT, texts=5).with_images(FeatureStore.open(store).source(photos))


@pytest.mark.data
def test_mirrored_features_are_those_of_the_mirrored_picture(
    photos: list[Path], reader: BackboneReader, store: Path, tmp_path: Path
) -> None:
    turned = []
    for path in photos:
        turned.append(tmp_path / path.name)
        ImageOps.mirror(Image.open(path)).save(turned[-1])
    expected = reader(turned)
    found = FeatureStore.open(store).source(photos).read_mirrored(range(COUNT))
    torch.testing.assert_close(found.features, expected.features, atol=1e-2, rtol=1e-2)
    assert found.boxes is not None
    assert expected.boxes is not None
    torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=0)


@pytest.mark.data
def test_training_draws_mirrored_features_anew_for_every_pair(photos: list[Path], store: Path) -> None:
    pairs = pairs_of(store, photos)
    words = Words(Vocabulary.learn(pairs.texts, min_count=1))
    made = Batches(pairs, words, lambda images: images, 30, change_pictures=ChangePictures(flip=0.5))
    rows = made.rows(0)[0]
    features = made.make(0, 0, rows).images.features  # type: ignore[union-attr]
    numbers = pairs.image_of[rows].tolist()
    plain = pairs.images.read(numbers).features  # type: ignore[union-attr]
    turned = pairs.images.read_mirrored(numbers).features  # type: ignore[attr-defined]
    chosen = (features == turned).flatten(1).all(1)
    assert 0 < int(chosen.sum()) < len(rows)
    assert torch.equal(features[~chosen], plain[~chosen])
    assert torch.equal(features, made.make(0, 0, rows).images.features)  # type: ignore[union-attr]
    assert not torch.equal(features, made.make(1, 0, rows).images.features)  # type: ignore[union-attr]


@pytest.mark.data
def test_some_images_of_a_store_are_mirrored_alike(photos: list[Path], store: Path) -> None:
    pairs = pairs_of(store, photos)
    some = pairs.subset([4, 1])
    whole = pairs.images.read_mirrored([4, 1])  # type: ignore[attr-defined]
    assert torch.equal(some.images.read_mirrored([0, 1]).features, whole.features)  # type: ignore[attr-defined]


@pytest.mark.data
def test_a_store_without_them_says_how_to_add_them(
    photos: list[Path], reader: BackboneReader, tmp_path: Path
) -> None:
    extract(reader, photos[:2], tmp_path / "store")
    source = FeatureStore.open(tmp_path / "store").source(photos[:2])
    with pytest.raises(InputError, match=r"no mirrored pictures.*--mirrored"):
        source.read_mirrored([0])
    extract(MirroredReader(reader), photos[:1], tmp_path / "store" / MIRRORED)
    source = FeatureStore.open(tmp_path / "store").source(photos[:2])
    assert len(source.read_mirrored([0])) == 1
    with pytest.raises(InputError, match=r"1\.png was not stored mirrored.*--mirrored"):
        source.read_mirrored([0, 1])
