"""Singular and plural: one form counts for both, and COCO's categories get their plurals."""

import pytest

from wordsight.inflection import IRREGULAR, lemma, plural


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("Dogs", "dog"), ("men", "man"), ("people", "person"), ("dresses", "dress"), ("bus", "bus"),
        ("buses", "bus"), ("grass", "grass"), ("parties", "party"), ("benches", "bench"),
        ("glasses", "glasses"), ("dog", "dog"), ("dog's", "dog"), ("gentlemen", "gentleman"),
    ],
)  # fmt: skip
def test_singular_and_plural_are_one_word(word: str, form: str) -> None:
    assert lemma(word) == form


@pytest.mark.parametrize(
    ("noun", "many"),
    [("dog", "dogs"), ("bus", "buses"), ("bench", "benches"), ("pony", "ponies"), ("boy", "boys"),
     ("knife", "knives"), ("person", "persons"), ("sheep", "sheep")],
)  # fmt: skip
def test_plurals(noun: str, many: str) -> None:
    assert plural(noun) == many


@pytest.mark.parametrize("noun", [*IRREGULAR, "dog", "bus", "pony", "bench"])
def test_a_plural_and_its_noun_are_counted_as_one(noun: str) -> None:
    assert lemma(plural(noun)) == lemma(noun) == noun
