"""Vocabulary: learned the same every time, SCAN's JSON in and out, and clear words about broken files."""

import json
import pickle
import re
from pathlib import Path

import pytest

from wordsight.read.text.vocabulary import SPECIALS, Vocabulary, count_words

SMALL = {"word2idx": {}, "idx2word": {}, "idx": 5}
for _place, _word in enumerate([*SPECIALS, "dog"]):
    SMALL["word2idx"][_word] = _place
    SMALL["idx2word"][str(_place)] = _word


def test_learned_words_are_ordered_by_count_then_alphabet() -> None:
    texts = ["a dog and a cat", "a bird and a dog", "cat dog zebra"]
    learned = Vocabulary.learn(texts, min_count=2)
    assert learned.entries == (*SPECIALS, "a", "dog", "and", "cat")
    assert Vocabulary.learn(reversed(texts), min_count=2) == learned


def test_nothing_frequent_enough_is_an_error_that_says_what_is() -> None:
    with pytest.raises(ValueError, match='no word is seen 4 times; the most frequent, "dog", 2 times'):
        Vocabulary.learn(["dog", "a dog"])
    with pytest.raises(ValueError, match="no words in the texts"):
        Vocabulary.learn([])


def test_a_single_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match="list of texts"):
        Vocabulary.learn("a dog")


@pytest.mark.data
def test_the_public_flickr8k_words_are_learned_again(data: Path) -> None:
    images = json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    texts = [one["raw"] for image in images if image["split"] != "test" for one in image["sentences"]]
    public = Vocabulary.load(data / "vocab" / "f8k_precomp_vocab.json")
    learned = Vocabulary.learn(texts, "karpathy", min_count=4)
    assert len(learned) == 3155 + 4
    assert set(learned.entries) == set(public.entries)
    assert public.unknown_rate(texts, "karpathy") == learned.unknown_rate(texts, "karpathy") < 0.02


@pytest.mark.data
@pytest.mark.parametrize(("name", "size"), [("f8k", 3159), ("f30k", 8481), ("coco", 11353)])
def test_public_vocabularies_round_trip(data: Path, tmp_path: Path, name: str, size: int) -> None:
    path = data / "vocab" / f"{name}_precomp_vocab.json"
    vocabulary = Vocabulary.load(path)
    vocabulary.save(tmp_path / "again.json")
    assert len(vocabulary) == size
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(path.read_text())


def test_mask_comes_last_and_once() -> None:
    plain = Vocabulary((*SPECIALS, "dog"))
    assert plain.mask_id is None
    assert plain.with_mask().entries == (*SPECIALS, "dog", "<mask>")
    assert plain.with_mask().mask_id == 5
    assert plain.with_mask().with_mask() == plain.with_mask()


def test_unknown_rate_counts_occurrences() -> None:
    vocabulary = Vocabulary((*SPECIALS, "dog", "a"))
    assert vocabulary.unknown_rate(["a dog", "a zebra and a dog"]) == 2 / 7
    assert vocabulary.unknown_rate([]) == 0


def test_specials_in_a_text_are_not_counted_and_not_known() -> None:
    assert count_words(["<unk> dog <pad>"], "karpathy") == {"dog": 1}
    assert Vocabulary((*SPECIALS, "dog")).ids(["dog", "<end>", "<unk>"]) == [4, 3, 3]


def _changed(**change: object) -> str:
    return json.dumps(SMALL | change)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (_changed()[:40], "it is not JSON, or cut short"),
        ("[1, 2]", "expected the keys word2idx, idx2word, idx; found list"),
        (json.dumps({"the": [0.1, 0.2]}), "expected the keys word2idx, idx2word, idx; found the"),
        (_changed(idx=6), "word2idx has 5 words, idx2word 5, and idx says 6"),
        (
            _changed(idx2word={**SMALL["idx2word"], "4": "cat"}),
            'id 4 is "cat" in idx2word, but word2idx says None',
        ),
        (_changed(word2idx=[]), "must be tables"),
        (
            _changed(
                idx2word={("7" if key == "4" else key): word for key, word in SMALL["idx2word"].items()}
            ),
            "idx2word has no id 4; ids run from 0 to 4",
        ),
        (
            json.dumps({"word2idx": {"dog": 0}, "idx2word": {"0": "dog"}, "idx": 1}),
            "starts with <pad>, <start>, <end>, <unk>; this one starts with dog",
        ),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path: Path, content: str, cause: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=re.escape(f"{path} is not a vocabulary: ") + ".*" + re.escape(cause)
    ):
        Vocabulary.load(path)


def test_a_pickled_vocabulary_is_recognized_and_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "f30k_precomp_vocab.pkl"
    path.write_bytes(pickle.dumps(SMALL))
    with pytest.raises(ValueError, match="pickled vocabulary has to be written as JSON"):
        Vocabulary.load(path)


def test_a_missing_file_says_what_to_do() -> None:
    with pytest.raises(FileNotFoundError, match=r"no vocabulary /nowhere/v\.json; learn one"):
        Vocabulary.load("/nowhere/v.json")


def test_the_same_word_twice_is_refused() -> None:
    with pytest.raises(ValueError, match='"dog" is in the vocabulary twice'):
        Vocabulary((*SPECIALS, "dog", "dog"))


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vocab.json"
    Vocabulary((*SPECIALS, "dog")).save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        Vocabulary((*SPECIALS, "cat")).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
