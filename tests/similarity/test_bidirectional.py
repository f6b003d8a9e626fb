"""Two directions averaged: CASC's golden numbers, a slow loop for LAPS, and what is no direction."""

import pytest
import torch
from support.golden_casc import CASC, GOLDEN, images, texts
from torch import Tensor

from wordsight.registry import build, describe
from wordsight.sets import EmbeddingSet
from wordsight.similarity.bidirectional import BothWays
from wordsight.similarity.cross_attention import CrossAttention


def test_golden_numbers_of_casc() -> None:
    scores = build("similarity", CASC)(images(), texts())
    torch.testing.assert_close(scores, torch.tensor(GOLDEN).double(), atol=1e-6, rtol=0)


def slow_laps(images: EmbeddingSet, texts: EmbeddingSet) -> Tensor:
    """Mean over words of the best region, and mean over regions of the best word, averaged."""
    rows = []
    for regions, there in zip(images.vectors, images.mask, strict=True):
        row = []
        for words, here in zip(texts.vectors, texts.mask, strict=True):
            cosines = [
                [float(region @ word / region.norm() / word.norm()) for word in words[here]]
                for region in regions[there]
            ]
            of_words = [max(column) for column in zip(*cosines, strict=True)]
            of_regions = [max(line) for line in cosines]
            row.append((sum(of_words) / len(of_words) + sum(of_regions) / len(of_regions)) / 2)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def test_hard_alignment_both_ways_is_the_slow_loop() -> None:
    laps = {"name": "max-sim", "pooling": "mean"}
    scores = BothWays(laps, laps)(images(), texts())
    torch.testing.assert_close(scores, slow_laps(images(), texts()), atol=1e-7, rtol=0)


def test_each_direction_explains_its_own_share_of_the_score() -> None:
    similarity = BothWays(weight=0.3)
    words, regions = similarity.align(images()[:2], texts())
    assert (words.direction, regions.direction) == ("word", "region")
    alone = CrossAttention("word").align(images()[:2], texts())[0]
    torch.testing.assert_close(words.score, 0.3 * alone.score)
    assert torch.equal(words.shares, alone.shares)
    whole = similarity(images(), texts())[:2].diagonal()
    torch.testing.assert_close(words.score + regions.score, whole)


def test_it_describes_itself_by_the_tables_that_build_it() -> None:
    described = describe(build("similarity", CASC))
    assert described["regions"]["direction"] == "region"
    assert described["regions"]["pooling"] == {"name": "log-sum-exp", "temperature": 0.2, "scaled": True}
    assert described == describe(build("similarity", described))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.5}, "weight = 1.5"),
        ({"regions": {"name": "max-sim", "direction": "word"}}, 'direction = "region" for its regions'),
        ({"words": {"name": "bidirectional", "direction": "word"}}, "direction is not a setting of BothWays"),
        ({"words": "cosinus"}, 'unknown .* "cosinus"'),
    ],
)
def test_what_is_no_direction_is_an_error(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("similarity", {"name": "bidirectional", **settings})
