"""Texts made wrong on purpose: what is swapped, and that a model trained with them tells them apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.small_problem import SETTINGS, small_matcher, small_pairs

from wordsight.errors import InputError
from wordsight.learn.batches import Batches, make_batches
from wordsight.learn.contrastive import InfoNCE
from wordsight.learn.processes import Processes
from wordsight.learn.projection import Projection
from wordsight.learn.swap_words import GROUPS, SwapWords
from wordsight.learn.training import fit
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words

SENTENCE = "a man in a red shirt and two dogs in a blue car"
WORDS = Words(Vocabulary.learn([SENTENCE, "green woman", "three cats"], min_count=1))


def swapped(text: str, seed: int) -> str | None:
    ids = SwapWords(WORDS)(WORDS.words(text), np.random.default_rng(seed))
    return None if ids is None else " ".join(WORDS.vocabulary.entries[one] for word in ids for one in word)


def test_one_word_is_replaced_within_its_group_or_two_change_places() -> None:
    made = {swapped(SENTENCE, seed) for seed in range(200)}
    assert "a man in a blue shirt and two dogs in a red car" in made
    assert "a woman in a red shirt and two dogs in a blue car" in made
    assert "a man in a red shirt and three dogs in a blue car" in made
    assert "a man in a red shirt and two cats in a blue car" in made
    groups = [set(line.split()) for line in GROUPS.strip().splitlines()]
    for text in made:
        assert text is not None
        pairs = [pair for pair in zip(SENTENCE.split(), text.split(), strict=True) if pair[0] != pair[1]]
        assert 1 <= len(pairs) <= 2
        assert all(any({*pair} <= group for group in groups) for pair in pairs)


def test_a_text_without_such_words_stays_alone_and_a_vocabulary_without_them_is_said() -> None:
    assert swapped("a shirt and", 0) is None  # of its group, the vocabulary has only this one
    with pytest.raises(InputError, match="no two colours"):
        SwapWords(Words(Vocabulary.learn(["a shirt"], min_count=1)))


def test_no_word_stands_in_two_groups() -> None:
    words = GROUPS.split()
    assert len(words) == len(set(words))


def test_a_batch_has_wrong_copies_of_a_share_of_its_texts() -> None:
    settings = replace(SETTINGS, drop_words=0.0, swap_words=0.5, batch_size=20)
    made: Batches = make_batches(small_matcher(), small_pairs(), settings, Processes())
    rows = made.rows(0)[0]
    batch, again, other = made.make(0, 0, rows), made.make(0, 0, rows), made.make(0, 1, rows)
    assert batch.negative_texts is not None
    assert again.negative_texts is not None
    assert other.negative_texts is not None
    assert torch.equal(batch.negative_texts.ids, again.negative_texts.ids)
    assert 0 < len(batch.negative_texts) < 20
    plain = make_batches(small_matcher(), small_pairs(), replace(settings, swap_words=0.0), Processes())
    assert plain.make(0, 0, rows).negative_texts is None
    assert torch.equal(plain.make(0, 0, rows).texts.ids, batch.texts.ids)


def test_negatives_change_no_score_of_the_pairs() -> None:
    matcher = small_matcher(dropout=0.0)
    settings = replace(SETTINGS, drop_words=0.0, drop_regions=0.0, swap_words=1.0, texts_per_image=2)
    made = make_batches(matcher, small_pairs(), settings, Processes())
    batch = made.make(0, 0, made.rows(0)[0])
    assert batch.image_of is not None
    assert batch.negative_texts is not None
    with torch.no_grad():
        both, alone = matcher(batch), matcher(replace(batch, negative_texts=None))
        wrong = matcher.similarity(both.images, matcher.encode_texts(batch.negative_texts))
    assert alone.negative_scores is None
    assert torch.allclose(both.scores, alone.scores, atol=1e-6)
    assert torch.allclose(both.negative_scores, wrong, atol=1e-6)


def test_a_run_counts_wrong_copies_as_further_negatives(tmp_path: Path) -> None:
    settings = replace(SETTINGS, swap_words=1.0, epochs=2)
    whole = fit(small_matcher(), InfoNCE(0.05), small_pairs(), settings, tmp_path / "whole")
    without_them = replace(settings, swap_words=0.0)
    plain = fit(small_matcher(), InfoNCE(0.05), small_pairs(), without_them, tmp_path / "plain")
    losses = [[epoch["loss"] for epoch in run.epochs] for run in (whole, plain)]
    assert all(with_them > without for with_them, without in zip(*losses, strict=True))


def test_a_loss_that_takes_no_further_negatives_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="swap_words: the loss Projection takes no further negatives"):
        fit(small_matcher(), Projection(), small_pairs(), replace(SETTINGS, swap_words=1.0), tmp_path)
