"""Batches: each text once per epoch, each batch a function of seed, epoch and number, made ahead in order."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_problem import COLOURS, small_pairs

from wordsight.learn.augmentation import ChangePictures, DropRegions, DropWords
from wordsight.learn.batches import Batches, ahead
from wordsight.learn.processes import Processes
from wordsight.pairs import PairSet
from wordsight.read.pictures.pixel_reader import PixelReader
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.sets import Pixels, Regions

WORDS = Words(Vocabulary.learn([" ".join(COLOURS)], min_count=1))


def batches(pairs: PairSet, size: int = 8, **other: Any) -> Batches:
    return Batches(pairs, WORDS, lambda images: images, size, **other)


def test_every_text_is_seen_once_per_epoch() -> None:
    made = batches(small_pairs(), 7, drop_last=False)
    for epoch in range(3):
        assert sorted(chain.from_iterable(made.rows(epoch))) == list(range(40))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first, again, other = (batches(small_pairs(), seed=seed) for seed in (1, 1, 2))
    assert first.rows(0) == again.rows(0)
    assert first.rows(0) != first.rows(1)
    assert first.rows(0) != other.rows(0)


def test_the_short_last_batch_is_left_out_unless_it_is_the_only_one() -> None:
    assert [len(rows) for rows in batches(small_pairs(), 12).rows(0)] == [12, 12, 12]
    assert [len(rows) for rows in batches(small_pairs(), 99).rows(0)] == [40]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=60), st.integers(2, 12), st.integers(0, 3))
def test_distinct_images_repeats_no_identity_in_a_batch(belongs: list[int], size: int, epoch: int) -> None:
    pairs = small_pairs(images=9, texts=1)
    image_of = torch.tensor(belongs)
    pairs = replace(pairs, texts=[COLOURS[i % 5] for i in range(len(belongs))], image_of=image_of)
    rows = batches(pairs, size, drop_last=False, distinct_images=True).rows(epoch)
    assert sorted(chain.from_iterable(rows)) == list(range(len(belongs)))
    for batch in rows:
        assert len({belongs[text] for text in batch}) == len(batch) <= size


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=60), st.integers(2, 5), st.integers(0, 3))
def test_texts_of_an_image_come_together(belongs: list[int], together: int, epoch: int) -> None:
    pairs = small_pairs(images=9, texts=1)
    image_of = torch.tensor(belongs)
    pairs = replace(pairs, texts=[COLOURS[i % 5] for i in range(len(belongs))], image_of=image_of)
    (order,) = batches(pairs, 99, texts_per_image=together).rows(epoch)
    assert sorted(order) == list(range(len(belongs)))
    runs = [(image, len(list(run))) for image, run in groupby(order, key=belongs.__getitem__)]
    groups = sum(-(-belongs.count(image) // together) for image in set(belongs))
    assert len(runs) <= groups  # two groups of one image may happen to be neighbours
    if groups == len(set(belongs)):
        assert len(runs) == groups


def test_an_image_of_several_pairs_is_in_the_batch_once() -> None:
    pairs = small_pairs(images=6, texts=5)
    made = batches(pairs, 10, texts_per_image=5)
    rows = made.rows(0)[0]
    batch = made.make(0, 0, rows)
    assert isinstance(batch.images, Regions)
    assert batch.image_of is not None
    assert len(batch.images) == 2
    own = pairs.images.read(pairs.image_of[rows].tolist())
    assert isinstance(own, Regions)
    assert batch.images[batch.image_of].features.equal(own.features)


@dataclass(frozen=True)
class Seen:
    """An image source of pixels."""

    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.values)

    def read(self, rows: Sequence[int]) -> Pixels:
        return Pixels(self.values[list(rows)])


def test_pictures_are_changed_for_every_pair_anew() -> None:
    pairs = small_pairs(images=1, texts=40).with_images(Seen(torch.randn(1, 3, 4, 4)))
    made = batches(pairs, 40, change_pictures=ChangePictures(flip=0.5))
    values = made.make(0, 0, made.rows(0)[0]).images.values
    mirrored = (values == values[:1].flip(-1)).flatten(1).all(1)
    assert 0 < int(mirrored.sum()) < 40
    assert torch.equal(values, made.make(0, 0, made.rows(0)[0]).images.values)
    assert not torch.equal(values, made.make(1, 0, made.rows(0)[0]).images.values)


def test_features_need_mirrored_ones() -> None:
    made = batches(small_pairs(), change_pictures=ChangePictures(flip=0.5))
    with pytest.raises(ValueError, match="not stored mirrored"):
        made.make(0, 0, made.rows(0)[0])


@dataclass(frozen=True)
class Files:
    """An image source of one picture, opened as a file is."""

    picture: np.ndarray

    def __len__(self) -> int:
        return 1

    def read(self, rows: Sequence[int]) -> list[np.ndarray]:
        return [self.picture for _ in rows]


def test_every_pair_reads_a_part_of_its_own() -> None:
    """Of a picture whose red tells the column: a part is enlarged from the picture, not from its pixels."""
    columns = np.arange(200, dtype=np.uint8)[None, :, None].repeat(50, 0).repeat(3, 2)
    pairs = small_pairs(images=1, texts=40).with_images(Files(columns))
    reader = PixelReader(4, mean=[0, 0, 0], std=[1 / 255] * 3)
    change = ChangePictures(crop=0.5)
    made = batches(pairs, 40, change_pictures=change, read_parts=reader.read_parts)
    values = made.make(0, 0, made.rows(0)[0]).images.values
    wide = values[:, 0, 0, -1] - values[:, 0, 0, 0]
    assert len(set(wide.tolist())) > 20
    assert 0.5 * 200 * 3 / 4 - 2 <= wide.min() < wide.max() <= 200 * 3 / 4 + 2
    assert torch.equal(values, made.make(0, 0, made.rows(0)[0]).images.values)
    assert not torch.equal(values, made.make(1, 0, made.rows(0)[0]).images.values)


def test_what_is_no_picture_any_more_cannot_be_cut() -> None:
    change = ChangePictures(area=0.5)
    for pairs in (small_pairs(), small_pairs(images=1).with_images(Seen(torch.randn(1, 3, 4, 4)))):
        made = batches(pairs, change_pictures=change, read_parts=PixelReader(4).read_parts)
        with pytest.raises(ValueError, match="crop_pictures and crop_area show parts of pictures"):
            made.make(0, 0, made.rows(0)[0])


def test_a_batch_does_not_depend_on_the_batches_before_it() -> None:
    augmentation = {"drop_regions": DropRegions(0.5), "drop_words": DropWords(0.5, WORDS)}
    one, other = (batches(small_pairs(), **augmentation) for _ in range(2))
    rows = one.rows(2)
    prefetch = [one.make(2, number, batch) for number, batch in enumerate(rows)]
    alone = other.make(2, 3, rows[3])
    assert torch.equal(alone.images.features, prefetch[3].images.features)
    assert torch.equal(alone.texts.ids, prefetch[3].texts.ids)


def test_augmentation_is_drawn_anew_in_every_epoch_batch_and_process() -> None:
    made = batches(small_pairs(), drop_regions=DropRegions(0.5))
    other = batches(small_pairs(), drop_regions=DropRegions(0.5), processes=Processes(1, 2))
    same = list(range(8))
    masks = [made.make(0, 0, same), made.make(0, 1, same), made.make(1, 0, same), other.make(0, 0, same * 2)]
    assert len({tuple(batch.images.mask.sum(1).tolist()) for batch in masks}) == 4


def test_a_text_is_tokenized_once() -> None:
    asked = []

    class Listening(Words):
        def words(self, text: str) -> list[list[int]]:
            asked.append(text)
            return super().words(text)

    pairs = small_pairs()
    words = Listening(WORDS.vocabulary)
    made = Batches(pairs, words, lambda images: images, 8, drop_words=DropWords(0.5, words))
    for epoch in range(2):
        for number, rows in enumerate(made.rows(epoch)):
            made.make(epoch, number, rows)
    assert asked == pairs.texts


def test_row_i_of_the_images_goes_with_row_i_of_the_texts() -> None:
    pairs = small_pairs()
    made = batches(pairs)
    rows = made.rows(0)[1]
    batch = made.make(0, 1, rows)
    assert torch.equal(batch.texts.ids, WORDS([pairs.texts[row] for row in rows]).ids)
    features = pairs.images.read(pairs.image_of[rows].tolist()).features
    assert torch.equal(batch.images.features, features)
    assert torch.equal(batch.identities, pairs.text_identities[rows])


def test_an_image_is_read_once_however_many_of_its_texts_are_in_the_batch() -> None:
    pairs, asked = small_pairs(images=4, texts=10), []

    class Counting:
        def __len__(self) -> int:
            return 4

        def read(self, rows: Sequence[int]) -> Regions:
            asked.append(list(rows))
            return pairs.images.read(rows)

    made = batches(pairs.with_images(Counting()), 40)
    made.make(0, 0, made.rows(0)[0])
    assert asked == [[0, 1, 2, 3]]


@pytest.mark.parametrize("world", [2, 3])
def test_the_processes_shares_are_the_batch(world: int) -> None:
    pairs = small_pairs()
    rows = batches(pairs).rows(0)
    shares = [batches(pairs, processes=Processes(rank, world)) for rank in range(world)]
    for number, batch in enumerate(rows):
        assert [share.rows(0)[number] for share in shares] == [batch] * world
        ids = torch.cat([share.make(0, number, batch).identities for share in shares])
        assert torch.equal(ids, pairs.text_identities[batch])


def test_a_set_of_one_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="small problem has 1 pairs; training needs at least 2"):
        batches(small_pairs(images=1, texts=1))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_ahead_keeps_the_order(workers: int) -> None:
    assert list(ahead(lambda n: n * n, range(20), workers, ready=2)) == [n * n for n in range(20)]


def test_ahead_works_in_another_thread() -> None:
    [name] = set(ahead(lambda n: threading.current_thread().name, range(5), 1, 2))
    assert name != threading.current_thread().name


@pytest.mark.parametrize("workers", [0, 2])
def test_ahead_raises_an_error_at_its_turn(workers: int) -> None:
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("image 3 cannot be read")
        return number

    taken = ahead(make, range(6), workers, 2)
    assert [next(taken) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="image 3 cannot be read"):
        next(taken)


def test_ahead_makes_no_more_than_it_may_and_stops_when_it_is_left() -> None:
    made: list[int] = []
    before = threading.active_count()
    coming = ahead(lambda n: made.append(n), range(1000), 1, ready=2)
    next(coming)
    coming.close()
    assert len(made) <= 3
    assert threading.active_count() == before
