"""What a person is told where no picture matches: nothing is denied that the closest picture may show."""

import pytest

from wordsight.search.index.database import Item
from wordsight.search.query.parser import parse
from wordsight.search.results import Hit, Hits, WordFound
from wordsight.search.verdict_text import verdict_text

ITEM = Item(1, "a.jpg", "hash", 1, 0.0, 1, 1, "")


def word(name: str, probability: float) -> WordFound:
    return WordFound(
        name, 0.3, 0.4, probability >= 0.5, probability=probability, is_weak=0.2 <= probability < 0.5
    )


def said(text: str, chance: float, words: tuple[WordFound, ...]) -> str:
    hit = Hit(ITEM, 0, 0.3, 99.0, words, False, probability=chance)
    return verdict_text(Hits((hit,), 0, 8000, True, parse(text), 0.0, min_probability=0.5), "pictures")


@pytest.mark.parametrize(
    ("words", "chance", "sentence"),
    [
        ({"violin": 0.42}, 0.42, "No picture surely shows it; the likeliest has a probability of 42 %"),
        ({"violin": 0.05}, 0.05, "No picture matches"),
        ({"cat": 0.3, "sofa": 0.1}, 0.06, "No picture shows all of it; the closest are missing *sofa*"),
        ({"cat": 0.9, "sofa": 0.1}, 0.2, "No picture shows all of it; the closest are missing *sofa*"),
        (
            {"laptop": 0.3, "table": 0.9},
            0.35,
            "No picture surely shows all of it; the likeliest has a probability of 35 %",
        ),
        ({"cat": 0.1, "sofa": 0.1}, 0.01, "No picture matches"),
        ({"rainbow": 0.17}, 0.17, "No picture surely matches; the likeliest has a probability of 17 %"),
    ],
)
def test_a_word_that_is_perhaps_there_is_not_called_missing(
    words: dict[str, float], chance: float, sentence: str
) -> None:
    found = tuple(word(name, probability) for name, probability in words.items())
    assert said(" ".join(words), chance, found) == sentence


def test_the_likeliest_picture_need_not_be_the_first() -> None:
    """The order is that of the scores; a probability weighs the words as well."""
    chances = (0.29, 0.37, 0.31)
    hits = tuple(
        Hit(ITEM, n, 0.3, 99.0, (word("cake", chance),), False, probability=chance)
        for n, chance in enumerate(chances)
    )
    found = Hits(hits, 0, 8000, True, parse("cake"), 0.0, min_probability=0.5)
    sentence = "No picture surely shows it; the likeliest has a probability of 37 %"
    assert verdict_text(found, "pictures") == sentence
