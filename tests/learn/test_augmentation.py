"""Size augmentation: the published rule draw by draw, nothing ever emptied, the same again from a seed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from wordsight.learn.augmentation import (
    ChangePictures,
    DropRegions,
    DropWords,
    compact,
    drop_words,
    remaining_regions,
)
from wordsight.read.text.padding import pad_ids
from wordsight.read.text.vocabulary import SPECIALS, Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.read.text.wordpiece_tokenizer import WordPieces
from wordsight.sets import Pixels, Regions

WORDS = Words(Vocabulary((*SPECIALS, "a", "man", "rides", "horse", ".", "<mask>")))
ZEBRA = "a man rides a zebra ."
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "rid", "##ing", "horse", ".")
GENERATORS: list[Callable[[int], torch.Generator | np.random.Generator]] = [
    lambda seed: torch.Generator().manual_seed(seed),
    np.random.default_rng,
]


def ids_after(words: list[list[int]], draws: list[float], random_id: int, mask_id: int) -> list[int]:
    kept = drop_words(words, draws, lambda: random_id, mask_id)
    return [id for word in kept for id in word]


def test_golden_bigru() -> None:
    words = [[1], *WORDS.words(ZEBRA), [2]]
    assert [id for word in words for id in word] == [1, 4, 5, 6, 4, 3, 8, 2]
    draws = [0.30, 0.05, 0.11, 0.13, 0.19999, 0.0999, 0.10, 0.20]
    assert ids_after(words, draws, random_id=8, mask_id=9) == [1, 9, 8, 9, 8, 2]
    assert ids_after(words, [0.15] * 8, random_id=8, mask_id=9) == []


def test_golden_bert(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    tokenizer = WordPieces(tmp_path)
    words = tokenizer.words("a riding man riding .")
    assert tokenizer.mask_id == 4
    first = drop_words(words, [0.3, 0.05, 0.3, 0.13, 0.3], lambda: 10, 4)
    assert tokenizer.finish(first) == [2, 5, 4, 4, 6, 10, 3]
    second = drop_words(words, [0.3, 0.11, 0.3, 0.5, 0.3], lambda: 10, 4)
    assert tokenizer.finish(second) == [2, 5, 10, 10, 6, 7, 8, 10, 3]


def test_every_piece_of_a_changed_word_gets_an_id_of_its_own() -> None:
    ids = iter([7, 5])
    assert drop_words([[7, 8]], [0.11], lambda: next(ids), 4) == [[7, 5]]


@pytest.mark.parametrize("generator", GENERATORS)
def test_words_are_dropped_at_the_published_rates(generator: Callable) -> None:
    words = [[4]] * 40_000
    after = DropWords(0.2, WORDS)(words, generator(3))
    counts = Counter(id for (id,) in after)
    assert counts[WORDS.mask_id] / 40_000 == pytest.approx(0.1 + 0.02 / 10, abs=0.006)
    assert (40_000 - len(after)) / 40_000 == pytest.approx(0.08, abs=0.006)
    others = [counts[id] / 40_000 for id in range(10) if id not in (4, WORDS.mask_id)]
    assert others == pytest.approx([0.02 / 10] * 8, abs=0.001)


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_text_is_never_emptied(generator: Callable) -> None:
    drop, random = DropWords(0.95, WORDS), generator(0)
    for _ in range(300):
        assert len(drop([[4], [5]], random)) >= 1
        assert len(drop.ids([[4]], random)) == 3
        assert len(drop.ids([[4]], random, specials=True)) >= 1


def test_specials_are_touched_only_when_asked() -> None:
    drop, random = DropWords(0.9, WORDS), torch.Generator().manual_seed(0)
    plain = [drop.ids(WORDS.words(ZEBRA), random) for _ in range(50)]
    reference = [drop.ids(WORDS.words(ZEBRA), random, specials=True) for _ in range(50)]
    assert all((ids[0], ids[-1]) == (1, 2) for ids in plain)
    assert not all((ids[0], ids[-1]) == (1, 2) for ids in reference)


@pytest.mark.parametrize("specials", ["start", "none"])
def test_only_specials_that_are_there_are_touched(specials: str) -> None:
    words = Words(WORDS.vocabulary, specials=specials)
    drop, random = DropWords(0.9, words), torch.Generator().manual_seed(0)
    texts = [drop.ids([[4]], random, specials=True) for _ in range(100)]
    assert min(map(len, texts)) == 1
    assert max(map(len, texts)) == len(words.finish([[4]]))


@pytest.mark.parametrize("generator", GENERATORS)
def test_pictures_are_mirrored_as_often_as_asked(generator: Callable) -> None:
    pixels = Pixels(torch.rand(2000, 3, 2, 3))
    changed = ChangePictures(flip=0.3).mirrored(pixels, generator(0)).values
    mirrored = (changed == pixels.values.flip(-1)).flatten(1).all(1)
    assert (mirrored | (changed == pixels.values).flatten(1).all(1)).all()
    assert float(mirrored.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(ChangePictures(flip=1.0).mirrored(pixels, generator(0)).values, pixels.values.flip(-1))


def cut_boxes(change: ChangePictures, random: object, size: tuple[int, int], shown: tuple) -> torch.Tensor:
    cuts = change.cuts(2000, random)
    return torch.tensor([cut(size, shown) for cut in cuts], dtype=torch.float64)


@pytest.mark.parametrize("generator", GENERATORS)
def test_parts_cut_by_sides_lie_anywhere_in_what_is_shown_and_have_its_shape(generator: Callable) -> None:
    shown = (10.0, 0.0, 50.0, 60.0)
    left, top, right, bottom = cut_boxes(ChangePictures(crop=0.5), generator(1), (70, 60), shown).T
    share = (right - left) / 40
    torch.testing.assert_close(share, (bottom - top) / 60)
    assert (float(share.min()), float(share.max())) == pytest.approx((0.5, 1), abs=0.01)
    assert float(share.mean()) == pytest.approx(0.75, abs=0.02)
    assert left.min() >= 10
    assert top.min() >= 0
    assert right.max() <= 50
    assert bottom.max() <= 60
    place = (left - 10) / (40 * (1 - share))
    assert float(place.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(place.std()) == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize("generator", GENERATORS)
def test_parts_cut_by_area_lie_anywhere_in_the_picture_and_have_shapes_of_their_own(
    generator: Callable,
) -> None:
    left, top, right, bottom = cut_boxes(
        ChangePictures(area=0.08), generator(1), (100, 80), (10, 0, 90, 80)
    ).T
    share, aspect = (right - left) * (bottom - top) / 8000, (right - left) / (bottom - top)
    assert float(share.min()) == pytest.approx(0.08, abs=0.01)
    assert 0.9 < float(share.max()) <= 1
    assert (float(aspect.min()), float(aspect.max())) == pytest.approx((3 / 4, 4 / 3), abs=0.01)
    small = share < 0.3  # of which every shape fits
    assert float(aspect[small].log().mean()) == pytest.approx(0, abs=0.02)
    assert min(left.min(), top.min()) >= 0
    assert (right.max() <= 100, bottom.max() <= 80) == (True, True)
    assert left.min() < 2


@pytest.mark.parametrize(
    ("size", "largest"), [((900, 30), (430, 0, 470, 30)), ((30, 900), (0, 430, 30, 470))]
)
def test_where_no_shape_fits_it_is_the_largest_in_the_middle(size: tuple, largest: tuple) -> None:
    (cut,) = ChangePictures(area=0.9).cuts(1, torch.Generator())
    assert cut(size, (0, 0, *size)) == pytest.approx(largest)


def test_pictures_stay_whole_unless_asked() -> None:
    assert ChangePictures(flip=0.5).cuts(3, torch.Generator()) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip": 1.5}, r"flip is 1\.5; it is the share of pictures to mirror"),
        ({"crop": 0.0}, r"crop is 0\.0; it is the smallest share of each side"),
        ({"area": 1.5}, r"area is 1\.5; it is the smallest share of the area"),
        ({"crop": 0.5, "area": 0.5}, "parts are cut by one of them"),
    ],
)
def test_what_cannot_be_done_to_pictures_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChangePictures(**settings)


PICTURES = torch.rand(20, 3, 2, 3)


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_generator_alone_decides(generator: Callable) -> None:
    regions = Regions(torch.randn(4, 9, 2), None, torch.ones(4, 9, dtype=torch.bool))

    def run(seed: int) -> tuple:
        random = generator(seed)
        words = [DropWords(0.5, WORDS)(WORDS.words(ZEBRA), random) for _ in range(5)]
        parts = [ChangePictures(0.5, 0.5).cuts(3, random), ChangePictures(area=0.5).cuts(3, random)]
        parts.append(ChangePictures(0.5).mirrored(Pixels(PICTURES), random).values.tolist())
        return words, DropRegions(0.5)(regions, random).features.tolist(), parts

    state = torch.get_rng_state()
    assert run(1) == run(1) != run(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_words_given_are_not_changed() -> None:
    words = WORDS.words(ZEBRA)
    DropWords(0.9, WORDS)(words, torch.Generator().manual_seed(0))
    assert words == WORDS.words(ZEBRA)


def test_dropping_words_needs_a_mask() -> None:
    with pytest.raises(ValueError, match="mask = true"):
        DropWords(0.2, Words(Vocabulary((*SPECIALS, "a")), mask=False))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 20.0])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate is {rate}"):
        DropRegions(rate)
    with pytest.raises(ValueError, match=f"rate is {rate}"):
        DropWords(rate, WORDS)


def some_regions() -> Regions:
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False, True, False, True]])
    features = torch.arange(3 * 4 * 2.0).reshape(3, 4, 2) + 1
    features[~mask] = float("nan")  # padding may hold anything
    return Regions(features, torch.rand(3, 4, 4), mask)


def test_regions_kept_are_those_of_the_slow_loop() -> None:
    regions, draws = some_regions(), torch.rand(3, 4)
    draws[1] = torch.tensor(
        [0.1, 0.15, 0.99, 0.3]
    )  # all real ones dropped: the larger is kept, not the padding
    after = compact(regions, remaining_regions(draws, regions.mask, 0.2))
    for image in range(3):
        real = [k for k in range(4) if regions.mask[image, k]]
        kept = [k for k in real if draws[image, k] > 0.2] or [max(real, key=lambda k: draws[image, k])]
        assert after.mask[image].tolist() == [k < len(kept) for k in range(after.mask.shape[1])]
        assert torch.equal(after.features[image, : len(kept)], regions.features[image, kept])
        assert torch.equal(after.boxes[image, : len(kept)], regions.boxes[image, kept])
        assert (after.features[image, len(kept) :] == 0).all()
        assert (after.boxes[image, len(kept) :] == 0).all()


def test_the_padding_is_no_wider_than_the_largest_image() -> None:
    regions = Regions(torch.ones(2, 50, 1), None, torch.ones(2, 50, dtype=torch.bool))
    after = DropRegions(0.5)(regions, torch.Generator().manual_seed(0))
    assert after.mask.shape[1] == int(after.mask.sum(1).max()) < 50


@pytest.mark.parametrize("generator", GENERATORS)
def test_regions_are_dropped_at_the_rate_and_never_all(generator: Callable) -> None:
    regions = Regions(torch.ones(2000, 20, 1), None, torch.ones(2000, 20, dtype=torch.bool))
    kept = DropRegions(0.2)(regions, generator(0)).mask.sum()
    assert kept / 40_000 == pytest.approx(0.8, abs=0.008)
    assert DropRegions(0.999)(regions, generator(0)).mask.any(1).all()


def test_pad_ids_pads_to_the_longest() -> None:
    tokens = pad_ids([[1, 4, 2], [1, 4, 5, 6, 2]], pad_id=7)
    assert tokens.ids.tolist() == [[1, 4, 2, 7, 7], [1, 4, 5, 6, 2]]
    assert tokens.lengths.tolist() == [3, 5]
    with pytest.raises(ValueError, match="text 1 of the 2 to pad has no ids"):
        pad_ids([[1, 2], []])
