"""R@K is the field's, by a named protocol; matrices and matchers agree; words point where they say."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_problem import SpacedWords
from torch import Tensor, nn

from wordsight.evaluation import (
    PROTOCOLS,
    NonFiniteScoresError,
    Protocol,
    ProtocolMismatchError,
    Recalls,
    evaluate,
    evaluate_scores,
    keep_texts,
    pointing_accuracy,
    write_scores,
)
from wordsight.evaluation.pointing import can_point
from wordsight.evaluation.recall import FoldRanks, bootstrap
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet, WordBox
from wordsight.read.text.base import word_starts
from wordsight.sets import EmbeddingSet, Regions, Tokens
from wordsight.similarity.max_sim import MaxSim


def golden_scores() -> np.ndarray:
    """N = 12: sin(1.7 i + 0.61 j), and 0.9 more for the five true texts."""
    i, j = np.arange(12)[:, None], np.arange(60)[None]
    return np.sin(1.7 * i + 0.61 * j) + 0.9 * (j // 5 == i)


def recalls_of(scores: np.ndarray, **settings: Any) -> Recalls:
    return evaluate_scores(scores, intervals=False, **settings)


def slow_ranks(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reference's loop: argsort reversed, position of the best of five, position of the image."""
    images = len(scores)
    orders = [np.argsort(row, kind="stable")[::-1].tolist() for row in scores]
    i2t = [min(orders[i].index(c) for c in range(5 * i, 5 * i + 5)) for i in range(images)]
    columns = [np.argsort(column, kind="stable")[::-1].tolist() for column in scores.T]
    return np.array(i2t), np.array([columns[c].index(c // 5) for c in range(5 * images)])


@pytest.mark.parametrize("ties", ["pessimistic", "reference"])
def test_golden_numbers_of_a_sine_matrix(ties: str) -> None:
    recalls = recalls_of(golden_scores(), ties=ties)
    assert list(recalls.i2t.recall.values()) == pytest.approx([75.0, 75.0, 75.0])
    assert (recalls.i2t.medr, recalls.i2t.meanr) == (1, 5.0)
    assert list(recalls.t2i.recall.values()) == pytest.approx([46.6667, 65.0, 100.0], abs=1e-4)
    assert recalls.t2i.medr == 2
    assert recalls.t2i.meanr == pytest.approx(3.6)
    assert recalls.rsum == pytest.approx(75 * 3 + 46.66667 + 165)


def test_golden_numbers_of_equal_scores_in_the_reference_order() -> None:
    recalls = recalls_of(np.zeros((2, 10)), ties="reference")
    assert list(recalls.i2t.recall.values()) == [50, 50, 100]
    assert (recalls.i2t.medr, recalls.i2t.meanr) == (3, 3.5)
    assert list(recalls.t2i.recall.values()) == [50, 100, 100]
    assert (recalls.t2i.medr, recalls.t2i.meanr) == (1, 1.5)


def test_equal_scores_count_against_the_query_by_default() -> None:
    recalls = recalls_of(np.zeros((20, 100)))
    assert recalls.rsum == 0
    assert "ties count against the query" in recalls.headline


def test_nan_is_an_error_that_counts_and_places() -> None:
    scores = golden_scores()
    scores[7, 31] = np.nan
    scores[9, 2] = -np.inf
    with pytest.raises(NonFiniteScoresError, match=r"2 of 720 scores .* image row 7, text column 31 \(nan\)"):
        evaluate_scores(scores)
    with pytest.raises(NonFiniteScoresError, match="20 of 20 scores"):
        evaluate_scores(np.full((2, 10), np.nan))


scores_of_any_size = st.integers(1, 9).flatmap(
    lambda images: st.lists(st.integers(-3, 3), min_size=5 * images**2, max_size=5 * images**2).map(
        lambda values: np.array(values, dtype=np.float32).reshape(images, 5 * images)
    )
)


@settings(max_examples=40, deadline=None)
@given(scores_of_any_size)
def test_reference_ties_are_the_reference_loops(scores: np.ndarray) -> None:
    i2t, t2i = slow_ranks(scores)
    recalls = recalls_of(scores, ties="reference")
    for direction, ranks in ((recalls.i2t, i2t), (recalls.t2i, t2i)):
        assert list(direction.recall.values()) == pytest.approx(
            [100 * (ranks < k).mean() for k in (1, 5, 10)]
        )
        assert direction.medr == np.floor(np.median(ranks)) + 1
        assert direction.meanr == pytest.approx(ranks.mean() + 1)


@settings(max_examples=40, deadline=None)
@given(scores_of_any_size, st.randoms(use_true_random=False))
def test_recalls_grow_with_k_and_forget_the_order_of_images(scores: np.ndarray, random: Any) -> None:
    recalls = recalls_of(scores)
    for direction in (recalls.i2t, recalls.t2i):
        assert list(direction.recall.values()) == sorted(direction.recall.values())
    order = list(range(len(scores)))
    random.shuffle(order)
    columns = [5 * image + caption for image in order for caption in random.sample(range(5), 5)]
    assert recalls_of(scores[order][:, columns]) == recalls


@settings(max_examples=20, deadline=None)
@given(scores_of_any_size)
def test_pessimism_never_helps(scores: np.ndarray) -> None:
    assert recalls_of(scores).rsum <= recalls_of(scores, ties="reference").rsum + 1e-9


def test_a_perfect_matrix_sums_to_600() -> None:
    perfect = np.repeat(np.eye(40), 5, axis=1)
    recalls = evaluate_scores(perfect)
    assert recalls.rsum == 600
    assert recalls.intervals is not None
    assert recalls.intervals["rsum"] == (600, 600)


def test_identities_say_what_belongs_together() -> None:
    """Two pictures of one person: each description of the person is right for both."""
    scores = np.array([[0.1, 0.9, 0.2], [0.8, 0.3, 0.1], [0.2, 0.1, 0.7]])
    recalls = evaluate_scores(scores, [7, 7, 9], [7, 7, 9])
    assert recalls.rsum == 600
    by_picture = evaluate_scores(scores, [0, 1, 2], [0, 1, 2])
    assert by_picture.i2t.recall[1] == pytest.approx(100 / 3)


@pytest.mark.parametrize("kind", ["float16", "float32", ">f8", "int32"])
def test_a_file_is_measured_as_the_array_it_holds(tmp_path: Path, kind: str) -> None:
    scores = (100 * golden_scores()).astype(kind)
    np.save(tmp_path / "S.npy", scores)
    assert recalls_of(tmp_path / "S.npy", split="") == recalls_of(scores)


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    scores = golden_scores()
    with pytest.raises(ProtocolMismatchError, match=r"60 x 12 .*N x 5N.*transposed.*scores\.T"):
        evaluate_scores(scores.T)
    with pytest.raises(ProtocolMismatchError, match=r"scores\[::5\].*captions_per_image=1"):
        evaluate_scores(np.repeat(scores, 5, axis=0))
    with pytest.raises(ProtocolMismatchError, match=r"12 x 59 does not fit protocol f30k, 1000 x 5000"):
        evaluate_scores(scores[:, 1:], protocol="f30k")
    with pytest.raises(
        ProtocolMismatchError, match=r"12 x 60 does not fit 60 image and 12 text .*transposed"
    ):
        evaluate_scores(scores, range(60), range(12))
    with pytest.raises(ProtocolMismatchError, match="12 images with 60 captions were given; f8k"):
        evaluate_scores(scores, protocol="f8k")
    with pytest.raises(ValueError, match=r"shape \(60,\) is no score matrix"):
        evaluate_scores(scores[0])


def test_files_that_hold_no_matrix_are_explained(tmp_path: Path) -> None:
    (tmp_path / "table.npy").write_text("image,caption\n")
    with pytest.raises(ValueError, match=r"table\.npy cannot .* it begins with b'image,caption\\n'; save"):
        evaluate_scores(tmp_path / "table.npy")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.npy"):
        evaluate_scores(tmp_path / "absent.npy")
    (tmp_path / "cut.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cut\.npy cannot be read as a \.npy matrix"):
        evaluate_scores(tmp_path / "cut.npy")


@pytest.mark.parametrize("name", ["f30k", "f8k", "coco-5k", "coco-1k-5fold"])
def test_a_protocol_accepts_its_counts_only(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.check(torch.full((protocol.images,), 5)) == ""
    with pytest.raises(ProtocolMismatchError, match="strict=False"):
        protocol.check(torch.full((protocol.images,), 1))
    six = torch.full((protocol.images,), 5)
    six[3] = 6
    with pytest.raises(ProtocolMismatchError, match=r"1 images have more than 5 .*keep_texts\(pairs, 5\)"):
        protocol.check(six)


@pytest.mark.parametrize("name", ["coco-5k", "coco-1k-5fold"])
def test_the_first_thousand_images_of_coco_are_refused(name: str) -> None:
    with pytest.raises(ProtocolMismatchError, match="first 1000 images alone are another and easier test"):
        PROTOCOLS[name].check(torch.full((1000,), 5))
    assert "1000 images with 5000 captions" in PROTOCOLS[name].check(torch.full((1000,), 5), strict=False)


def test_an_unknown_protocol_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match='"coco-1k" is not known; known: f30k, f8k, coco-5k, coco-1k-5fold'):
        evaluate_scores(golden_scores(), protocol="coco-1k")


def test_folds_are_consecutive_and_averaged() -> None:
    scores = golden_scores()
    thirds = Protocol("thirds", "three folds of four", 12, 5, folds=3)
    recalls = evaluate_scores(scores, protocol=thirds)
    folds = [recalls_of(scores[s : s + 4, 5 * s : 5 * (s + 4)]) for s in (0, 4, 8)]
    assert recalls.rsum == pytest.approx(np.mean([fold.rsum for fold in folds]))
    assert recalls.t2i.meanr == pytest.approx(np.mean([fold.t2i.meanr for fold in folds]))
    assert recalls.rsum != pytest.approx(recalls_of(scores).rsum)
    assert (recalls.folds, recalls.images, recalls.texts) == (3, 12, 60)
    assert "average of 3 folds" in recalls.headline
    low, high = recalls.intervals["rsum"]  # type: ignore[index]
    assert low < recalls.rsum < high


def test_the_five_folds_of_coco_are_thousands() -> None:
    rows = PROTOCOLS["coco-1k-5fold"].rows(5000)
    assert rows == [range(start, start + 1000) for start in range(0, 5000, 1000)]
    assert PROTOCOLS["coco-5k"].rows(5000) == [range(5000)]


def test_what_is_not_the_protocol_says_so() -> None:
    recalls = evaluate_scores(golden_scores(), protocol="f30k", strict=False)
    assert "protocol not f30k: 12 images, 60 texts" in recalls.headline
    assert "f30k*" in recalls.to_text()
    assert "is measured on 1000 images" in recalls.to_dict()["deviation"]


def test_the_table_names_protocol_split_and_ties_first_and_protocol_in_each_row() -> None:
    text = evaluate_scores(golden_scores(), split="my test split").to_text()
    first, _, *table = text.splitlines()
    assert first == ("protocol all: 12 images, 60 texts; my test split; ties count against the query")
    rows = table[: table.index("")]
    assert [row.split()[0] for row in rows if not row.startswith(" ")] == ["all"] * 4
    assert "1000 resamples of the images with their texts" in text
    assert len({len(row.rstrip()) for row in table if "->" in row}) == 1


def test_a_result_is_json() -> None:
    told = json.loads(json.dumps(evaluate_scores(golden_scores()).to_dict()))
    assert told["protocol"] == "all"
    assert told["i2t"]["R@1"] == 75
    low, high = told["intervals"]["i2t R@1"]
    assert low <= 75 <= high


def test_intervals_repeat_and_shrink_with_more_images() -> None:
    def width(images: int) -> float:
        ranks = np.arange(images) % 2  # every other query is answered first
        fold = FoldRanks(ranks, ranks, np.arange(images), np.arange(images))
        assert bootstrap([fold]) == bootstrap([fold])
        low, high = bootstrap([fold])["i2t R@1"]
        assert low < 50 < high
        return high - low

    # the binomial's own 95 % interval: 2 x 1.96 x 50 / sqrt(n)
    assert width(100) == pytest.approx(19.6, rel=0.15)
    assert width(400) == pytest.approx(9.8, rel=0.15)


def test_intervals_keep_the_texts_of_an_image_together() -> None:
    """Five texts that always agree are worth one: the interval is that of the images alone."""
    hits = np.arange(100) % 2
    together = FoldRanks(hits, np.repeat(hits, 5), np.arange(100), np.repeat(np.arange(100), 5))
    intervals = bootstrap([together])
    assert intervals["t2i R@1"] == pytest.approx(intervals["i2t R@1"])


def short_pieces(word: str) -> list[int]:
    """Words of more than four letters are two pieces."""
    pieces = [word[:4], word[4:]] if len(word) > 4 else [word]
    return [3 + sum(map(ord, piece)) % 500 for piece in pieces]


class AsTheyAre(nn.Module):
    """Regions are their own embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.calls: list[bool] = []

    def forward(self, regions: Regions) -> EmbeddingSet:
        self.calls.append(self.training or torch.is_grad_enabled())
        return EmbeddingSet(self.dropout(regions.features), regions.mask, regions.boxes)


class Table(nn.Module):
    """One vector per id."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(512, dim)

    def forward(self, tokens: Tokens) -> EmbeddingSet:
        return EmbeddingSet(self.vectors(tokens.ids), tokens.mask)


class RowCache:
    """Regions in memory, that remember how many were asked for together."""

    def __init__(self, regions: Regions) -> None:
        self.regions, self.most = regions, 0

    def __len__(self) -> int:
        return len(self.regions)

    def read(self, rows: Sequence[int]) -> Regions:
        self.most = max(self.most, len(rows))
        return self.regions[rows]


BOXES = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])


def quarters(count: int, dim: int = 8) -> Regions:
    """So many images of four quarters."""
    return Regions(torch.randn(count, 4, dim), BOXES.expand(count, 4, 4), torch.ones(count, 4).bool())


def small_matcher(dim: int = 8) -> Matcher:
    return Matcher(None, SpacedWords(short_pieces), AsTheyAre(), Table(dim), MaxSim("word", "mean")).eval()


def some_pairs(images: int = 13) -> PairSet:
    """Two texts for even images, three for odd ones."""
    image_of = [image for image in range(images) for _ in range(2 + image % 2)]
    return PairSet(
        images=RowCache(quarters(images)),
        names=[f"{image}.jpg" for image in range(images)],
        texts=[f"picture {image} told {text}" + " again" * (text % 3) for text, image in enumerate(image_of)],
        image_of=torch.tensor(image_of),
        identities=torch.arange(images),
        source="quarters",
    )


def test_a_matcher_is_measured_as_its_matrix(tmp_path: Path) -> None:
    matcher, pairs = small_matcher(), some_pairs()
    scores = matcher.score(pairs.images.regions, pairs.texts)  # type: ignore[attr-defined]
    by_matrix = evaluate_scores(scores.numpy(), pairs.identities, pairs.text_identities, split="quarters")
    assert evaluate(matcher, pairs, batch_size=4) == by_matrix
    assert evaluate(matcher, pairs, batch_size=5, save_scores=tmp_path / "S.npy") == by_matrix
    saved = np.load(tmp_path / "S.npy")
    assert saved.dtype == np.float32
    np.testing.assert_allclose(saved, scores.numpy(), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["S.npy"]


def test_measuring_reads_in_batches_without_gradients_and_leaves_each_mode_as_it_was() -> None:
    matcher, pairs = small_matcher(), some_pairs()
    matcher.train()
    matcher.text_encoder.eval()  # frozen
    seen: list[tuple[str, int, int]] = []
    evaluate(matcher, pairs, batch_size=4, progress=lambda *told: seen.append(told))
    assert pairs.images.most == 4  # type: ignore[attr-defined]
    assert not any(matcher.image_encoder.calls)  # type: ignore[union-attr,arg-type]
    assert matcher.training
    assert matcher.image_encoder.training
    assert not matcher.text_encoder.training
    assert ("images", 13, 13) in seen
    assert ("texts", len(pairs), len(pairs)) in seen


def test_folds_of_a_matcher_are_the_folds_of_its_matrix(tmp_path: Path) -> None:
    matcher, pairs = small_matcher(), some_pairs(12)
    halves = Protocol("halves", "two halves", 12, 2, folds=2)
    by_matcher = evaluate(matcher, pairs, halves, strict=False)
    by_file = evaluate(matcher, pairs, halves, strict=False, save_scores=tmp_path / "S.npy")
    assert by_matcher == by_file
    assert by_matcher.folds == 2


def test_a_matcher_of_another_protocol_is_refused_before_anything_is_read() -> None:
    matcher, pairs = small_matcher(), some_pairs()
    with pytest.raises(ProtocolMismatchError, match="13 images with 32 captions"):
        evaluate(matcher, pairs, "f8k")
    assert pairs.images.most == 0  # type: ignore[attr-defined]


def test_non_finite_weights_are_an_error() -> None:
    matcher = small_matcher()
    with torch.no_grad():
        matcher.text_encoder.vectors.weight[5:] = torch.nan  # type: ignore[union-attr,index,operator]
    with pytest.raises(ValueError, match="finite"):
        evaluate(matcher, some_pairs())


def test_a_full_disk_leaves_no_file_and_spares_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "S.npy"
    path.write_text("the scores of yesterday")
    full = os.open("/dev/full", os.O_WRONLY)
    opened = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda descriptor, mode: opened(os.dup2(full, descriptor), mode))
    with pytest.raises(OSError, match="No space left"):
        write_scores(small_matcher(), some_pairs(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["S.npy"]
    assert path.read_text() == "the scores of yesterday"


def test_keep_texts_keeps_the_first_of_each_image() -> None:
    pairs = some_pairs(4)
    kept = keep_texts(pairs, 2)
    assert kept.image_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert kept.texts[:4] == [*pairs.texts[:4]]


def pointing_pairs() -> PairSet:
    """One image whose quarters look like "red", "green", "blue" and nothing; three object words."""
    return PairSet(
        images=RowCache(quarters(1, dim=4)),
        names=["quarters"],
        texts=["a red and green and blue"],
        image_of=torch.tensor([0]),
        identities=torch.tensor([0]),
        objects=[
            [
                WordBox(1, (0.0, 0.0, 0.5, 0.5)),  # red, on its quarter
                WordBox(3, (0.5, 0.0, 1.0, 1.0)),  # green, on the right half
                WordBox(5, (0.0, 0.0, 1.0, 0.5)),  # blue lies below, so this box misses it
            ]
        ],
    )


def pointing_matcher(similarity: nn.Module) -> Matcher:
    """Its words are the quarters' one-hot vectors."""
    tokenizer = SpacedWords(short_pieces)
    matcher = Matcher(None, tokenizer, AsTheyAre(), Table(4), similarity).eval()
    vectors = matcher.text_encoder.vectors.weight  # type: ignore[union-attr]
    with torch.no_grad():
        vectors.fill_(0)  # type: ignore[operator]
        for quarter, word in enumerate(("red", "green", "blue")):
            vectors[tokenizer.words(word)[0][0]] = torch.eye(4)[quarter]  # type: ignore[index,operator]
    return matcher


@pytest.mark.parametrize("direction", ["word", "region"])
def test_pointing_counts_words_on_their_objects_next_to_chance(direction: str) -> None:
    pairs = pointing_pairs()
    pairs.images.regions.features[:] = torch.eye(4)  # type: ignore[attr-defined]
    pointing = pointing_accuracy(pointing_matcher(MaxSim(direction, "mean")), pairs)  # type: ignore[arg-type]
    assert pointing.words == 3
    assert pointing.share == pytest.approx(2 / 3)
    assert pointing.chance == pytest.approx((1 / 4 + 2 / 4 + 2 / 4) / 3)
    assert pointing.centre == 1  # all three boxes reach to the middle
    expected = "66.7 % of 3 object words (a region picked at random: 41.7 %, the picture's centre: 100.0 %)"
    assert pointing.to_text() == f"pointing accuracy {expected}"


def test_chance_is_what_random_regions_reach() -> None:
    images = 300
    pairs = PairSet(
        images=RowCache(quarters(images)),
        names=[str(image) for image in range(images)],
        texts=[f"word{image} x{image}" for image in range(images)],
        image_of=torch.arange(images),
        identities=torch.arange(images),
        objects=[[WordBox(0, (0.0, 0.0, 0.5, 0.5)), WordBox(1, (0.0, 0.0, 1.0, 0.6))] for _ in range(images)],
    )
    pointing = pointing_accuracy(small_matcher(), pairs)
    assert pointing.chance == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert pointing.share == pytest.approx(pointing.chance, abs=0.06)


def test_padded_regions_are_neither_picked_nor_counted() -> None:
    pairs = pointing_pairs()
    regions = pairs.images.regions  # type: ignore[attr-defined]
    regions.features[:] = torch.eye(4)
    regions.mask[:, 0] = False
    pointing = pointing_accuracy(pointing_matcher(MaxSim("word", "mean")), pairs)
    assert pointing.share == pytest.approx(1 / 3)
    assert pointing.chance == pytest.approx((0 / 3 + 2 / 3 + 1 / 3) / 3)


def test_pointing_says_what_it_lacks() -> None:
    matcher, pairs = pointing_matcher(MaxSim("word", "mean")), pointing_pairs()
    with pytest.raises(ValueError, match="no word's object is known"):
        pointing_accuracy(matcher, some_pairs())
    assert not can_point(matcher, some_pairs())
    unplaced = RowCache(Regions(torch.randn(1, 4, 4), None, torch.ones(1, 4).bool()))
    with pytest.raises(ValueError, match="regions without boxes"):
        pointing_accuracy(matcher, pairs.with_images(unplaced))
    pairs.objects[0][0] = WordBox(9, (0.0, 0.0, 1.0, 1.0))  # type: ignore[index]
    with pytest.raises(ValueError, match="has 6 words, but an object is said to be at word 9"):
        pointing_accuracy(matcher, pairs)


def test_pooled_words_cannot_point() -> None:
    class Pooled(Table):
        def forward(self, tokens: Tokens) -> EmbeddingSet:
            vectors: Tensor = self.vectors(tokens.ids).mean(1, keepdim=True)
            return EmbeddingSet(vectors, torch.ones(len(vectors), 1).bool())

    matcher = pointing_matcher(MaxSim("word", "mean"))
    assert can_point(matcher, pointing_pairs())
    matcher.text_encoder = Pooled(4)
    matcher.text_encoder.pool = nn.Identity()  # type: ignore[assignment]
    assert not can_point(matcher, pointing_pairs())
    with pytest.raises(ValueError, match="the text encoder returns 1 per text"):
        pointing_accuracy(matcher, pointing_pairs())


def test_a_word_of_several_pieces_starts_at_its_first() -> None:
    assert word_starts(SpacedWords(short_pieces), "a bicycle leans here") == [1, 2, 4, 6]
