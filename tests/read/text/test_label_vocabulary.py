"""Semantic labels: the frequent nouns, what each image has of them, their file, and what is no such file."""

from pathlib import Path

import pytest
import torch

from wordsight.pairs import PairSet, PictureFiles, one_identity_per_image
from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.text.label_vocabulary import Labels, nouns
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_rules import split_words


def pairs(*texts: list[str]) -> PairSet:
    """Images with these texts."""
    names = [f"{row}.jpg" for row in range(len(texts))]
    rows = [row for row, own in enumerate(texts) for _ in own]
    flat = [text for own in texts for text in own]
    files = PictureFiles([Path(name) for name in names])
    return PairSet(files, names, flat, torch.tensor(rows), one_identity_per_image(len(texts)))


PAIRS = pairs(
    ["A man walks two dogs.", "Dogs walk near a truck."],
    ["A dog chases the red ball.", "Workers watch a dog."],
    ["It is raining.", "Nobody is there."],
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two young guys with shaggy hair look at their hands.", "guys hair hands"),
        ("A black dog runs through the green grass, chasing a soccer ball.", "dog grass soccer ball"),
        ("The woman in a red dress is sitting on a bench!", "woman dress bench"),
        ("3 men 's 22 ( ) '' are there", "men"),
    ],
)
def test_nouns_are_found_without_any_download(text: str, expected: str) -> None:
    assert list(nouns(split_words(text))) == expected.split()


def test_the_most_frequent_nouns_are_the_labels() -> None:
    texts = ["a dog and a cat .", "a dog and the hat .", "the zebra sees a dog and a cat ."]
    assert Labels.learn(texts).names == ("dog", "cat", "hat", "zebra")
    assert Labels.learn(texts, count=2).names == ("dog", "cat")
    with pytest.raises(ValueError, match="no nouns"):
        Labels.learn(["very , very quickly"])


def test_an_image_has_the_words_of_all_its_texts_whatever_they_are_there() -> None:
    labels = Labels(("dog", "dogs", "walk", "truck", "workers", "man"))
    expected = [[0, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]]
    assert labels.of_images(PAIRS).tolist() == expected


def test_texts_without_a_space_between_them_lose_labels_as_in_the_published_code() -> None:
    """The full stop of one text and the first word of the next become one word."""
    own = pairs(["a man with a truck", "workers in a boat .", "dogs"])
    labels = Labels(("truck", "workers", "dogs", "boat", "with", "man"))
    assert labels.of_images(own).tolist() == [[1, 1, 1, 1, 1, 1]]
    assert labels.of_images(own, concatenate_without_space=True).tolist() == [[0, 0, 0, 1, 1, 1]]


def test_the_file_is_that_of_casc(tmp_path: Path) -> None:
    path = tmp_path / "f30k_vocab_tag.json"
    Labels(("dog", "cat")).save(path)
    assert path.read_text() == (
        '{"word2idx": {"<unk>": 0, "dog": 1, "cat": 2}, '
        '"idx2word": {"0": "<unk>", "1": "dog", "2": "cat"}, "idx": 3}'
    )
    assert Labels.load(path).names == ("dog", "cat")


def test_a_file_that_holds_no_labels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="leave the file out to learn them"):
        Labels.load(tmp_path / "absent.json")
    Vocabulary.learn(["a dog"], min_count=1).save(tmp_path / "words.json")
    with pytest.raises(ValueError, match=r"starts with <pad>, .*is it the vocabulary of the words"):
        Labels.load(tmp_path / "words.json")
    (tmp_path / "cut.json").write_text('{"word2idx": {')
    with pytest.raises(ValueError, match=r"cut.json does not hold labels: it is not JSON, or cut short"):
        Labels.load(tmp_path / "cut.json")


def test_labels_of_another_corpus_are_an_error_that_names_some(tmp_path: Path) -> None:
    Labels(("surfer", "wave", "kite", "dog")).save(tmp_path / "coast.json")
    message = r"coast.json: only 1 of 4 labels occur in the texts .*; surfer, wave, kite do not"
    with pytest.raises(ValueError, match=message):
        Labels.load(tmp_path / "coast.json").of_images(PAIRS)


@pytest.mark.data
def test_labels_of_flickr8k(data: Path) -> None:
    pairs = Karpathy(data / "flickr8k" / "dataset_flickr8k.json").read("train")
    labels = Labels.learn(pairs.texts)
    assert len(labels.names) == 500
    assert {"dog", "man", "boy", "water", "ball", "beach"} <= set(labels.names[:60])
    of_images, projected = (labels.of_images(pairs, concatenate_without_space=join) for join in (False, True))
    assert 6 < of_images.sum(1).mean() < 10
    assert float((of_images.sum(1) == 0).float().mean()) < 0.01
    assert (projected <= of_images).all()
    assert 0.01 < 1 - float(projected.sum() / of_images.sum()) < 0.1
