"""A query is read as it is documented; what is no query is refused with its position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordsight.search.query.parser import MAX_CHARACTERS, Query, QueryError, Term, parse


def terms(typed: str) -> dict[str, tuple[bool, int]]:
    query = parse(typed)
    return {query.sentence[term.start : term.stop]: (term.required, term.weight) for term in query.terms}


def test_a_plain_sentence_stays_as_it_is() -> None:
    assert parse("A dog, on the grass.") == Query("A dog, on the grass.", "A dog, on the grass.")


def test_operators_belong_to_the_word_they_touch() -> None:
    assert terms("a dog +running red^3 +wet^2 ball") == {
        "running": (True, 1),
        "red": (False, 3),
        "wet": (True, 2),
    }
    assert parse("a dog -person").sentence == "a dog"
    assert parse("a dog -person -cat").excluded == ("person", "cat")


def test_quotes_hold_words_together_and_take_operators_literally() -> None:
    assert terms('+"red hat" "a+b"^2') == {"red hat": (True, 1), "a+b": (False, 2)}
    assert parse('dog -"red hat"').excluded == ("red hat",)
    assert parse(r'"say \"+1\" \\"').sentence == 'say "+1" \\'


def test_quotes_may_be_those_of_a_telephone() -> None:
    assert terms("+\u201cred hat\u201d") == {"red hat": (True, 1)}
    assert parse("the dog\u2019s \u2018ball\u2019").sentence == "the dog's 'ball'"


@pytest.mark.parametrize("typed", ["a - b", "dog +", "t-shirt", "rock+roll", "it's -", "50% + more"])
def test_signs_inside_and_between_words_are_plain(typed: str) -> None:
    query = parse(typed)
    assert (query.sentence, query.terms, query.excluded) == (typed, (), ())


@pytest.mark.parametrize(
    "typed",
    [
        '12" pizza', "a 5'10\" man", '12 " pizza', 'a 12"x16" print', 'a "dog', 'a dog"', 'do"g',
        '+ " -', 'a 12"x16" print of a do"g', r'"a dog\"', '24" tv and a 12" pizza', "5\u201910\u201d",
    ],
)  # fmt: skip
def test_a_quote_after_a_digit_or_without_its_pair_is_a_character(typed: str) -> None:
    """owntone#1734."""
    query = parse(typed)
    assert query.sentence == typed.replace("\u2019", "'").replace("\u201d", '"')
    assert (query.terms, query.excluded) == ((), ())


def test_inches_do_not_disturb_operators_and_quotes_around_them() -> None:
    query = parse('+12" pizza "route 66" -"red hat" 5"^2')
    assert (query.sentence, query.excluded) == ('12" pizza route 66 5"', ("red hat",))
    assert [(query.sentence[term.start : term.stop], term.weight) for term in query.terms] == [
        ('12"', 1),
        ('5"', 2),
    ]


@pytest.mark.parametrize(
    ("typed", "position", "reason"),
    [
        ("a ++dog", 4, "two operators"),
        ('a ""', 3, "nothing in these quotes"),
        ("dog^", 4, "whole number"),
        ("dog^0", 4, "whole number"),
        ("dog^2.5", 4, "whole number"),
        ("^2", 1, "no word before"),
        ("-dog^2 cat", 5, "no weight"),
        ('a do"g"', 5, "a quote inside a word"),
        ('"a"b', 4, "put a space"),
        ("a\0b", 2, "U+0000"),
        ("a\ud800", 2, "U+D800"),
    ],
)
def test_errors_say_where(typed: str, position: int, reason: str) -> None:
    with pytest.raises(QueryError, match=reason.replace("+", r"\+")) as caught:
        parse(typed)
    assert caught.value.position == position
    assert str(caught.value).startswith(f"position {position} ")


@pytest.mark.parametrize("typed", ["", "  \n ", '"', "-dog", '-"a b" -c'])
def test_a_query_needs_something_to_look_for(typed: str) -> None:
    with pytest.raises(QueryError, match=r"type a word|only excludes") as caught:
        parse(typed)
    assert caught.value.position is None


def test_a_query_of_100000_characters_is_refused_with_the_limit() -> None:
    with pytest.raises(QueryError, match=f"100000 characters, and the limit is {MAX_CHARACTERS}"):
        parse("a" * 100_000)


@given(st.text(max_size=60) | st.text(st.sampled_from('+-^"\\ ab\t2'), max_size=30))
def test_any_text_is_a_query_or_a_query_error(typed: str) -> None:
    try:
        query = parse(typed)
    except QueryError as refused:
        error = refused
    else:
        error = None
    if error is not None:
        assert error.position is None or 1 <= error.position <= len(typed) + 1
        return
    assert query.sentence.strip()
    for term in query.terms:
        assert isinstance(term, Term)
        assert 0 <= term.start < term.stop <= len(query.sentence)
        assert query.sentence[term.start : term.stop].strip()


@given(st.lists(st.text(st.characters(categories=["L", "P", "S", "N"]), min_size=1, max_size=8), min_size=1))
def test_a_quoted_text_is_taken_literally(words: list[str]) -> None:
    sentence = " ".join(words)[:400]
    escaped = sentence.replace("\\", "\\\\").replace('"', '\\"')
    query = parse(f'"{escaped}"')
    assert (query.sentence, query.terms, query.excluded) == (sentence.strip(), (), ())
