"""What a model did not read of a query, or does not know, is said (CLIP#212, ultralytics#22647)."""

import json
from pathlib import Path

import pytest
from support.published_dual_encoders import publish
from support.search_models import searcher
from support.small_index import draw
from support.small_problem import wordsight

from wordsight.read.text.clip_tokenizer import DualTokenizer
from wordsight.read.text.vocabulary import SPECIALS, Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.search.query.encoded import probable_typos, words_of
from wordsight.search.query.spelling import closest_word
from wordsight.search.query.unread import unread_end


def test_a_slip_in_a_word_that_is_spelt_from_pieces_is_seen(tmp_path: Path) -> None:
    """CLIP and BERT know every word by its letters, so none is unknown."""
    tokenizer = DualTokenizer(publish(tmp_path / "clip", "clip"))
    assert "dogs" in tokenizer.whole_words()
    slips = probable_typos(tokenizer, "a dgos runs on the bech", {"bech"}, ())
    assert [(one.word, one.instead) for one in slips] == [("dgos", "dogs")]
    assert probable_typos(tokenizer, "a dog runs", (), ()) == ()
    assert probable_typos(tokenizer, "a dgosx", (), ()) == (), "two slips, as any rare word may have"


def test_rare_words_are_no_slips_and_slips_are_compared_with_words_of_captions(tmp_path: Path) -> None:
    """A schnauzer is no Schneider, though only that is a word of one piece."""
    tokenizer = DualTokenizer(publish(tmp_path / "clip", "clip"))
    slips = probable_typos(tokenizer, "frisbe kayaks", (), ["frisbee", "kayak", "kayaker"])
    assert [(one.word, one.instead) for one in slips] == [("frisbe", "frisbee")]


FREQUENT = (
    "a",
    "the",
    "dog",
    "of",
    "do",
    "go",
    "tea",
    "grass",
    "bras",
    "running",
    "tuning",
    "cat",
    "cart",
    "two",
)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("dgo", "dog"), ("teh", "the"), ("gras", "grass"), ("catt", "cat"), ("runing", "running"),
        ("DOGG", "dog"), ("xylophone", None), ("qz", None), ("12", None), ("x" * 1000, None), ("", None),
    ],
)  # fmt: skip
def test_the_word_that_was_meant_is_one_slip_away(word: str, meant: str | None) -> None:
    assert closest_word(word, (*SPECIALS, *FREQUENT)) == meant


def test_a_search_asks_whether_these_words_were_meant(tmp_path: Path) -> None:
    folder = searcher().index.folder
    done = wordsight("search", folder, "a rde stra and a girafffe -circel")
    assert "did you mean red, star, circle instead of rde, stra, circel?" in done.stderr
    assert "did you mean" not in wordsight("search", folder, "a red star and an emu").stderr
    assert "did you mean star instead of satr?" in wordsight("similar", folder, 1, "--words", "a satr").stderr
    for kind in ("max-sim", "cosine"):  # also where the sentence is one vector
        hits = searcher(kind).find_images("a rde star")
        assert [(one.word, one.instead) for one in hits.suggestions] == [("rde", "red")]


def words(count: int) -> str:
    return " ".join(["dog", "dogs", "runs", "the"][n % 4] for n in range(count))


def test_the_end_that_was_not_read_begins_with_the_first_word_that_was_cut(tmp_path: Path) -> None:
    clip = DualTokenizer(publish(tmp_path / "clip", "clip"))  # reads 22 pieces between its marks
    assert clip.max_length == 24
    for text, rest in (
        (words(22), ""),
        (words(22) + " ...", ""),
        (words(23), "runs"),
        (words(160), " ".join(words(160).split()[22:])),
        (words(20) + " giraffe of", "giraffe of"),  # seven pieces, of which two are read
        (words(21) + "   Café!", "Café!"),
    ):
        assert unread_end(clip, text, words_of(clip, text)) == rest
    cutting = Words(Vocabulary((*SPECIALS, "dog")), max_length=5, truncate=True)
    assert unread_end(cutting, "a dog runs far away", words_of(cutting, "a dog runs far away")) == "far away"
    assert unread_end(cutting, "a dog runs", words_of(cutting, "a dog runs")) == ""


@pytest.mark.parametrize("regions", ["clip", "siglip"])
def test_what_a_published_model_did_not_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regions: str
) -> None:
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "cache"))
    model, pictures = publish(tmp_path / "model", regions), tmp_path / "pictures"
    draw(pictures, range(3))
    done = wordsight("search", pictures, words(160), "--model", model)
    assert done.exit_code == 0, done.exception
    assert "longer than this model reads; its last 1" in done.stderr
    assert done.stderr.rstrip().endswith("... dog dogs runs the")
    assert "longer than" not in wordsight("search", pictures, "a dog runs").stderr
    explained = wordsight("explain", pictures, words(160), pictures / "000.png")
    assert "longer than this model reads" in explained.stdout
    told = json.loads(wordsight("explain", pictures, words(40), pictures / "000.png", "--json").stdout)
    assert told["unread"].endswith("dog dogs runs the")
    (tmp_path / "texts.txt").write_text(f"a dog\n{words(160)}\n{words(90)}\n")
    index = ("index", "--texts", tmp_path / "texts.txt", "--model", model, "--out", tmp_path / "texts.index")
    made = wordsight(*index)
    assert "3 added" in made.stdout
    assert (
        '2 texts are longer than this model reads, and their ends do not count; the first: "dog'
        in made.stderr
    )
