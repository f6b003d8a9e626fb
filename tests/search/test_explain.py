"""What is explained is what was scored: shares, boxes and parts come from the similarity's own alignment."""

from pathlib import Path

import pytest
import torch
from support.search_models import KINDS, PICTURES, WORD_KINDS, build, index, searcher
from support.small_problem import SpacedWords

from wordsight.read.text.base import Tokenizer
from wordsight.search.explain import describe_evidence, evidence
from wordsight.search.query.encoded import words_of
from wordsight.search.query.parser import parse
from wordsight.sets import EmbeddingSet

SENTENCE = "a red^2 star beside a small circle"


@pytest.mark.parametrize("kind", KINDS)
def test_the_explanation_adds_up_to_the_score(kind: str) -> None:
    sentence = SENTENCE if kind in WORD_KINDS else parse(SENTENCE).sentence
    for hit in searcher(kind).find_images(sentence, k=3).hits:
        explained = searcher(kind).explain(sentence, hit.item.id)
        assert explained.score == pytest.approx(hit.score, abs=1e-5)
        assert sum(part.score for part in explained.parts) == pytest.approx(explained.score, abs=1e-6)
        for one, word in zip(explained.words, hit.words, strict=True):
            assert (one.word.word, one.word.box, one.word.level) == (word.word, word.box, word.level)
            assert one.word.found == pytest.approx(word.found, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hit_names_the_evidence_of_its_explanation(kind: str) -> None:
    hits = searcher(kind).find_images("a red star", k=3).hits
    kinds = [searcher(kind).explain("a red star", hit.item.id).kind for hit in hits]
    assert [hit.evidence for hit in hits] == kinds == ["whole" if kind in ("cosine", "order") else "cell"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_those_of_the_alignment(kind: str) -> None:
    text = "a red star"
    explained = searcher(kind).explain(text, 1)
    matcher = searcher(kind).matcher
    with index(kind).snapshot() as snapshot, torch.no_grad():
        picture = snapshot.gather([snapshot.row_of(1)])
        aligned = matcher.similarity.align(picture, matcher.encode_texts([text]))[0]
    shares = torch.tensor([one.shares for one in explained.words])
    found = [one.word.found for one in explained.words]
    if kind in ("cosine", "order"):
        assert shares.tolist() == [[1.0]]
        assert found == pytest.approx(aligned.found[0].tolist())
    elif aligned.direction == "word":
        assert torch.allclose(shares, aligned.shares[0].T[1:4])  # without <start> and <end>
        assert torch.allclose(shares.sum(1), torch.ones(3))
        assert found == pytest.approx(aligned.found[0, 1:4].tolist())
    else:
        assert torch.allclose(shares, aligned.shares[0][1:4])
        given = aligned.shares[0][1:4] * aligned.found[0]
        assert found == pytest.approx(given.amax(1).tolist())


@pytest.mark.parametrize("kind", WORD_KINDS)
def test_a_word_s_box_is_that_of_the_region_with_its_largest_share(kind: str) -> None:
    for one in searcher(kind).explain("a red star", 2).words:
        explained = searcher(kind).explain("a red star", 2)
        largest = max(one.shares)
        if largest == 0:
            assert one.word.box is None
        else:
            places = [place for place, share in enumerate(one.shares) if share == largest]
            assert one.word.box in [explained.regions[place] for place in places]


def test_evidence_is_named_for_what_it_is() -> None:
    assert searcher("max-sim").explain("a star", 1).kind == "cell"
    assert "16 cells of a grid" in searcher("max-sim").explain("a star", 1).sentence
    assert (
        "was compared with the words; a word's box"
        in searcher("max-sim regions").explain("a star", 1).sentence
    )
    assert (
        "each region was compared with the words, too"
        in searcher("bidirectional").explain("a star", 1).sentence
    )
    assert "labels on which both agree" in searcher("label-agreement").explain("a star", 1).sentence
    for kind in ("cosine", "order"):
        whole = searcher(kind).explain("a star", 1)
        assert whole.kind == "whole"
        assert "the sentence with the whole picture" in whole.sentence
        assert [one.word.word for one in whole.words] == ["a star"]


def test_overlapping_boxes_are_regions_and_one_vector_is_the_whole_picture() -> None:
    asking = searcher()
    asked = asking_of("a star")
    boxes = torch.tensor([[[0.0, 0.0, 0.6, 1.0], [0.3, 0.0, 1.0, 0.5]]])
    vectors, mask = torch.randn(1, 2, 16), torch.ones(1, 2, dtype=torch.bool)
    assert evidence(asked, EmbeddingSet(vectors, mask, boxes)) == "region"
    assert evidence(asked, EmbeddingSet(vectors[:, :1], mask[:, :1], boxes[:, :1])) == "whole"
    one = EmbeddingSet(vectors[:, :1], mask[:, :1], boxes[:, :1])
    aligned = asking.matcher.similarity.align(one, asked.set)
    assert "each word with the whole picture" in describe_evidence("whole", aligned, one, asked)


def asking_of(text: str):  # type: ignore[no-untyped-def]
    from wordsight.search.query.encoded import encode_query

    return encode_query(searcher().matcher, parse(text))


def test_pieces_of_a_word_are_one_word() -> None:
    """Its strength and its shares are the means over its pieces; its letters those of the text."""
    pieces = SpacedWords(lambda word: [10 + ord(letter) for letter in word[::2]])
    words = words_of(Spelled(pieces), "Red BICYCLE Ärger")
    assert [word.text for word in words] == ["Red", "BICYCLE", "Ärger"]
    assert [word.items for word in words] == [(1, 2), (3, 4, 5, 6), (7, 8, 9)]


class Spelled(Tokenizer):
    """Wordpieces of two letters, lower-cased and without accents, as BERT's are."""

    max_length = 64

    def __init__(self, inner: SpacedWords) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __call__(self, texts):  # type: ignore[no-untyped-def]
        return self.inner(texts)

    def words(self, text: str) -> list[list[int]]:
        return self.inner.words(text)

    def finish(self, words: list[list[int]]) -> list[int]:
        return self.inner.finish(words)

    def labels(self, text: str) -> list[str]:
        import unicodedata

        bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
        pieces = [
            ("##" if n else "") + word[n : n + 2] for word in bare.split() for n in range(0, len(word), 2)
        ]
        return ["[CLS]", *pieces, "[SEP]"]

    def save(self, folder: Path) -> dict[str, object]:
        return {}


def test_a_word_of_several_pieces_is_required_as_a_whole() -> None:
    from wordsight.search.query.encoded import encode_query

    matcher = build("max-sim")
    matcher.tokenizer = Spelled(SpacedWords(lambda word: [4 + ord(letter) % 60 for letter in word[::2]]))
    asked = encode_query(matcher, parse("red +bicycle^2"))
    assert [(word.text, word.required, word.weight) for word in asked.words] == [
        ("red", False, 1),
        ("bicycle", True, 2),
    ]
    assert asked.set.vectors.shape[1] == 1 + 2 + 4 + 1 + 4  # <start> red bicycle <end> and bicycle again
    assert torch.equal(asked.set.vectors[:, -4:], asked.set.vectors[:, 3:7])


def test_an_item_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="item 999 is not in this index of 24 items"):
        searcher().explain("a star", 999)


def test_a_picture_of_an_index_of_pictures_is_not_explained_by_a_picture() -> None:
    with pytest.raises(ValueError, match="with a sentence"):
        searcher().explain(Path("photo.jpg"), 1)


def test_each_hit_carries_its_words() -> None:
    hits = searcher().find_images("a red star", k=PICTURES).hits
    for hit in hits:
        assert [word.word for word in hit.words] == ["a", "red", "star"]
        assert hit.missing == sum(word.found < word.level for word in hit.words[1:])
        assert all(word.is_found == (word.found >= word.level) for word in hit.words)
