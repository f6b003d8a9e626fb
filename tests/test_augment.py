"""Size augmentation: the published rule draw by draw, nothing ever emptied, the same again from a seed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from wordsight.read.augment import ChangePictures, DropRegions, DropWords, compact, drop_words, kept_regions
from wordsight.read.padding import pad_ids
from wordsight.read.vocabulary import SPECIALS, Vocabulary
from wordsight.read.wordpieces import WordPieces
from wordsight.read.words import Words
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


def gradient(count: int, height: int = 8, width: int = 12) -> Pixels:
    """Pictures whose red tells the row and whose green the column of each pixel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return Pixels(torch.stack([rows, columns, rows * 0]).float().expand(count, 3, height, width).contiguous())


@pytest.mark.parametrize("generator", GENERATORS)
def test_pictures_are_mirrored_as_often_as_asked(generator: Callable) -> None:
    pixels = gradient(2000)
    changed = ChangePictures(flip=0.3)(pixels, generator(0)).values
    mirrored = (changed == pixels.values.flip(-1)).flatten(1).all(1)
    assert (mirrored | (changed == pixels.values).flatten(1).all(1)).all()
    assert float(mirrored.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(ChangePictures(flip=1.0)(pixels, generator(0)).values, pixels.values.flip(-1))


@pytest.mark.parametrize("generator", GENERATORS)
def test_parts_lie_anywhere_inside_and_show_at_least_their_share(generator: Callable) -> None:
    changed = ChangePictures(crop=0.5)(gradient(2000, 40, 60), generator(1)).values
    assert changed.shape == (2000, 3, 40, 60)
    high, wide = changed[:, 0, -1, 0] - changed[:, 0, 0, 0], changed[:, 1, 0, -1] - changed[:, 1, 0, 0]
    assert high.min() >= 0.5 * 40 - 2
    assert high.max() <= 39
    torch.testing.assert_close(high / 40, wide / 60, atol=0.03, rtol=0)  # one share for both sides
    assert float((high / 40).mean()) == pytest.approx(0.75 - 1 / 40, abs=0.02)
    top = changed[:, 0, 0, 0]
    assert (top.min(), top.max()) == (0, 20)
    assert float(top.mean()) == pytest.approx(5, abs=0.4)  # in the middle on average


def test_what_cannot_be_done_to_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"flip is 1\.5; it is the share of pictures to mirror"):
        ChangePictures(flip=1.5)
    with pytest.raises(ValueError, match=r"crop is 0\.0; it is the smallest share of each side"):
        ChangePictures(crop=0.0)


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_generator_alone_decides(generator: Callable) -> None:
    regions = Regions(torch.randn(4, 9, 2), None, torch.ones(4, 9, dtype=torch.bool))

    def run(seed: int) -> tuple:
        random = generator(seed)
        words = [DropWords(0.5, WORDS)(WORDS.words(ZEBRA), random) for _ in range(5)]
        parts = ChangePictures(0.5, 0.5)(gradient(3), random).values.tolist()
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
    after = compact(regions, kept_regions(draws, regions.mask, 0.2))
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
