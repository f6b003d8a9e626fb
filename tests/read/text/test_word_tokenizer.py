"""Words: the rules that vocabularies were made with, met word for word, and what the tokenizer refuses."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer

from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_rules import RULES, split_sentences
from wordsight.read.text.word_tokenizer import Words, split_words

NLTK = NLTKWordTokenizer()
VOCABULARY = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "a", "man", "rides", "horse", "."))
PIECES = [
    *" .,!?;:'\"`()[]{}<>-*@#$%&/_«»“”‘’„–—…\n\t",
    *("'s", "'ll", "'re", "n't", "'d", "'m", "...", "--", "''", "``", "cannot", "gonna", "gimme", "wanna"),
    *(
        "d'ye",
        "more'n",
        "'tis",
        "'twas",
        "u.s.",
        "mr.",
        "st.",
        "3,500",
        "5",
        "a",
        "dog",
        "man's",
        "not",
        "can",
        "é",
    ),
    *" " * 12,
]


def nltk_words(text: str) -> list[str]:
    return [word for sentence in split_sentences(text) for word in NLTK.tokenize(sentence)]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_treebank_words_are_those_of_nltk(text: str) -> None:
    assert split_words(text) == nltk_words(text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*" ,.-'", ", ", "dog", "t-shirt", "can", "not", "5", " "]), max_size=12).map(
        "".join
    )
)
def test_plain_texts_take_no_wrong_shortcut(text: str) -> None:
    assert split_words(text) == nltk_words(text)


@pytest.fixture(scope="module")
def flickr30k(data: Path) -> list[dict]:
    with gzip.open(data / "flickr30k_text" / "dataset_flickr30k_captions_only.json.gz") as file:
        images: list[dict] = json.load(file)["images"]
    return images


@pytest.mark.data
def test_treebank_words_are_those_of_nltk_on_real_captions(flickr30k: list[dict], data: Path) -> None:
    images = flickr30k + json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    usual = [one["raw"].lower() for image in images[::80] for one in image["sentences"]]
    unusual = [
        one["raw"].lower()
        for image in images
        for one in image["sentences"]
        if not {*"\"'`;:()&$#!?"}.isdisjoint(one["raw"])
    ]
    assert min(len(usual), len(unusual)) > 2000
    assert [text for text in usual + unusual if split_words(text) != nltk_words(text)] == []


@pytest.mark.data
def test_treebank_words_of_flickr30k_are_its_public_vocabulary_but_for_three(
    flickr30k: list[dict], data: Path
) -> None:
    texts = [one["raw"] for image in flickr30k if image["split"] != "test" for one in image["sentences"]]
    learned = Vocabulary.learn(texts, "treebank", min_count=4)
    public = Vocabulary.load(data / "vocab" / "f30k_precomp_vocab.json")
    # the public one was made with an older NLTK, which left "`" and "''" at their words
    assert {*public.entries} ^ {*learned.entries} == {".`", "''", "`"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog can't sit.", "a man 's dog ca n't sit ."),
        ("He wears jeans. She wears a hat.", "he wears jeans . she wears a hat ."),
        ("Mr. Smith, in the U.S. team, waves", "mr. smith , in the u.s. team , waves"),
        ("a sign says J. Crew. people walk by", "a sign says j. crew . people walk by"),
        ('He reads "stop." Then he stops!', "he reads `` stop . '' then he stops !"),
        ("They cannot ride... or can they?", "they can not ride ... or can they ?"),
    ],
)
def test_treebank_words_of_one_and_several_sentences(text: str, words: str) -> None:
    assert split_words(text) == words.split()


def test_karpathy_words() -> None:
    words = split_words('A black-and-white dog\'s "ball", see: (it)!', "karpathy")
    assert " ".join(words) == "a black and white dogs ball see (it)"


def test_cmpl_words() -> None:
    assert " ".join(split_words("She wears a t-shirt, & boots (#5).", "cmpl")) == "she wears a tshirt boots 5"
    assert split_words("She wears a T-shirt.", "cmpl-cased") == ["She", "wears", "a", "Tshirt"]


@pytest.mark.data
def test_karpathy_words_are_the_tokens_of_flickr8k(data: Path) -> None:
    images = json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    sentences = [sentence for image in images for sentence in image["sentences"]]
    assert [split_words(one["raw"], "karpathy") for one in sentences] == [one["tokens"] for one in sentences]


def test_an_unknown_rule_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match='"punkt" is not known; known: cmpl, cmpl-cased, karpathy, treebank'):
        split_words("a man", "punkt")
    with pytest.raises(ValueError, match="punkt"):
        Words(VOCABULARY, word_splitter="punkt")


@pytest.mark.parametrize("word_splitter", sorted(RULES))
def test_long_odd_texts_end(word_splitter: str) -> None:
    for odd in ("a-", "mr. ", ". ", "'", ".' ", "a, ", '"'):
        assert split_words(odd * 4_000 + "!", word_splitter) is not None


def test_tokens_are_ids_between_start_and_end_padded_with_zero() -> None:
    tokens = Words(VOCABULARY)(["A man rides a zebra.", "horse"])
    assert tokens.ids.tolist() == [[1, 4, 5, 6, 4, 3, 8, 2], [1, 7, 2, 0, 0, 0, 0, 0]]
    assert torch.equal(tokens.mask, tokens.ids != 0)


def test_words_and_finish_are_the_two_halves_of_a_call() -> None:
    tokenizer = Words(VOCABULARY)
    assert tokenizer.words("a man.") == [[4], [5], [8]]
    assert tokenizer.finish(tokenizer.words("a man.")) == tokenizer(["a man."]).ids[0].tolist()
    assert tokenizer.finish([]) == [1, 2]


def test_labels_name_every_token_also_unknown_ones() -> None:
    assert " ".join(Words(VOCABULARY).labels("A man rides a zebra.")) == "<start> a man rides a zebra . <end>"
    assert Words(VOCABULARY, max_length=4, truncate=True).labels("A man rides") == [
        "<start>",
        "a",
        "man",
        "<end>",
    ]


@pytest.mark.parametrize(
    ("specials", "ids", "labels"),
    [
        ("both", [1, 4, 5, 2], "<start> a man <end>"),
        ("start", [1, 4, 5], "<start> a man"),
        ("none", [4, 5], "a man"),
    ],
)
def test_specials_around_the_words(specials: str, ids: list[int], labels: str) -> None:
    tokenizer = Words(
        VOCABULARY, specials=specials, max_length=len(ids) if len(ids) > 2 else 3, truncate=True
    )
    assert tokenizer(["a man"]).ids.tolist() == [ids]
    assert tokenizer.finish(tokenizer.words("a man")) == ids
    assert " ".join(tokenizer.labels("a man")) == labels
    assert tokenizer(["a man rides a horse"]).ids.shape == (1, tokenizer.max_length)
    with pytest.raises(ValueError, match='specials "end" is not known; known: both, none, start'):
        Words(VOCABULARY, specials="end")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_without_words_is_an_error_that_quotes_it(text: str) -> None:
    with pytest.raises(ValueError, match=r'the text "\s*" has no words'):
        Words(VOCABULARY)(["a man", text])


def test_a_text_of_punctuation_has_no_words_by_karpathys_rule() -> None:
    with pytest.raises(ValueError, match=r'the text "!\?" has no words'):
        Words(VOCABULARY, word_splitter="karpathy")(["!?"])


def test_a_too_long_text_is_an_error_that_quotes_it_and_the_limit() -> None:
    with pytest.raises(
        ValueError, match=r'"a man rides a horse" has 7 tokens .* limit is 6; .*truncate = true'
    ):
        Words(VOCABULARY, max_length=6)(["a man rides a horse"])
    assert Words(VOCABULARY, max_length=7)(["a man rides a horse"]).ids.shape == (1, 7)


def test_truncation_keeps_the_first_words_and_the_end() -> None:
    tokenizer = Words(VOCABULARY, max_length=4, truncate=True)
    assert tokenizer(["a man rides a horse"]).ids.tolist() == [[1, 4, 5, 2]]


def test_a_single_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match=r'give \["a man"\]'):
        Words(VOCABULARY)("a man")


def test_a_word_spelt_like_a_special_is_unknown() -> None:
    assert Words(VOCABULARY, word_splitter="karpathy").words("<end> <mask> man") == [[3], [3], [5]]


def test_the_mask_is_added_last_unless_it_is_not_wanted() -> None:
    assert (Words(VOCABULARY).mask_id, len(Words(VOCABULARY))) == (9, 10)
    assert (Words(VOCABULARY, mask=False).mask_id, len(Words(VOCABULARY, mask=False))) == (None, 9)
    assert len(Words(VOCABULARY.with_mask())) == 10


def test_saved_words_come_back_the_same(tmp_path: Path) -> None:
    tokenizer = Words(VOCABULARY, word_splitter="cmpl", max_length=7, truncate=True, specials="start")
    table = tokenizer.save(tmp_path)
    again = Words(**table | {"vocabulary": tmp_path / table["vocabulary"]})
    assert json.loads(json.dumps(table)) == table
    assert again.vocabulary == tokenizer.vocabulary
    assert vars(again) == vars(tokenizer)
