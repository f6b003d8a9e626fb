"""Mirrored features: those of the mirrored picture, stored under the picture as it is, drawn in training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from support.small_problem import small_pairs

from wordsight.errors import InputError
from wordsight.learn.augmentation import ChangePictures
from wordsight.learn.batches import Batches
from wordsight.pairs import PairSet
from wordsight.pretrained import feature_maps
from wordsight.read.features.extract import extract
from wordsight.read.features.mirrored import OneWayReader, mirrored
from wordsight.read.features.store import MIRRORED, FeatureStore
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.sets import Regions

COUNT = 6


@pytest.fixture(scope="module")
def photos(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs that are not square, without loss, so that a mirrored file holds the mirrored values."""
    folder = tmp_path_factory.mktemp("photos")
    chosen = sorted((data / "flickr8k" / "images").glob("*.jpg"))[:COUNT]
    for number, path in enumerate(chosen):
        Image.open(path).crop((0, 0, 200, 120)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def reader_of(data: Path, **settings: Any) -> BackboneReader:
    return BackboneReader(
        str(data / "weights" / "mobilenet_v2_1.0_224"), size=96, grid=[1, 2],
        detector=str(data / "weights" / "yolox_nano_coco80.onnx"), detections=3, kinds_weight=0.5, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reader(data: Path) -> BackboneReader:
    return reader_of(data)


@pytest.fixture(scope="module")
def store(photos: list[Path], reader: BackboneReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "store"
    extract(reader, photos, folder)
    extract(OneWayReader(reader, mirrored=True), photos, folder / MIRRORED)
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
    # The left cells of the mirrored picture are the right ones of the picture.
    for own, of_mirrored in ((0, 0), (1, 2), (3, 4)):
        torch.testing.assert_close(
            found.features[:, of_mirrored, :-80], expected.features[:, own, :-80], atol=1e-2, rtol=1e-2
        )
        torch.testing.assert_close(_boxes(found)[:, of_mirrored], _boxes(expected)[:, own], atol=1e-6, rtol=0)


@pytest.mark.data
def test_a_region_has_one_number_in_both_ways(photos: list[Path], reader: BackboneReader) -> None:
    frames = [reader.prepare(path) for path in photos]
    plain, turned = (reader.read_one_way(frames, way) for way in (False, True))
    assert torch.equal(plain.mask, turned.mask)
    again = feature_maps.mirrored(_boxes(turned)) * plain.mask[..., None]
    torch.testing.assert_close(again, _boxes(plain), atol=1e-6, rtol=0)
    torch.testing.assert_close(plain.features, reader(photos).features)
    assert not torch.allclose(plain.features, turned.features, atol=1e-2)


@pytest.mark.data
def test_a_reader_may_take_the_mean_of_both_ways(
    data: Path, photos: list[Path], store: Path, tmp_path: Path
) -> None:
    """It reads from files what its store gives; training draws one of the two where it flips pictures."""
    both = reader_of(data, mirrored=True)
    assert both.identity != FeatureStore.open(store).identity
    for way, folder in ((False, tmp_path / "s"), (True, tmp_path / "s" / MIRRORED)):
        extract(OneWayReader(both, mirrored=way), photos, folder)
    opened = FeatureStore.open(tmp_path / "s")
    stored = opened.source(photos).read(range(COUNT))
    found = both(photos)
    torch.testing.assert_close(stored.features, found.features, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(_boxes(stored), _boxes(found), atol=1e-6, rtol=0)
    plain, turned = opened.read_plain(range(COUNT)), opened.read_mirrored(range(COUNT))
    assert torch.equal(stored.features, (plain.features + turned.features) / 2)
    pairs = pairs_of(tmp_path / "s", photos)
    words = Words(Vocabulary.learn(pairs.texts, min_count=1))
    for flip, expected in ((0.0, stored), (1.0, turned)):
        change = ChangePictures(flip=flip) if flip else None
        made = Batches(pairs, words, lambda images: images, 30, change_pictures=change)
        numbers = pairs.image_of[made.rows(0)[0]]
        images = made.make(0, 0, made.rows(0)[0]).images
        assert torch.equal(images.features, expected[numbers].features)  # type: ignore[union-attr]


def _boxes(regions: Regions) -> torch.Tensor:
    assert regions.boxes is not None
    return regions.boxes


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
    extract(OneWayReader(reader, mirrored=True), photos[:1], tmp_path / "store" / MIRRORED)
    source = FeatureStore.open(tmp_path / "store").source(photos[:2])
    assert len(source.read_mirrored([0])) == 1
    with pytest.raises(InputError, match=r"1\.png was not stored mirrored.*--mirrored"):
        source.read_mirrored([0, 1])
