"""`wordsight labels` and `wordsight vocab labels`, as a person uses them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.matcher import Matcher
from wordsight.read.text.label_vocabulary import Labels
from wordsight.read.text.vocabulary import Vocabulary

NAMES = ["dog", "cat", "bird"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", {"name": "label-agreement", "labels": NAMES})


def saved(folder: Path, similarity: dict[str, object]) -> Path:
    tables = {
        "reader": {"name": "pixels", "size": 32},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "grid-cnn", "dim": 16, "width": 8},
        "text_encoder": {"name": "recurrent", "word_dim": 8},
        "similarity": similarity,
    }
    vocabulary = Vocabulary.learn(["a dog runs on the grass"], min_count=1)
    Matcher.build(tables, vocabulary=vocabulary).save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def told(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_labels_of_pictures_and_texts(model: Path, picture: Path) -> None:
    lines = told("labels", model, picture, "a dog runs", "--json", "--top", "2").splitlines()
    of_picture, of_text = map(json.loads, lines)
    assert of_picture["picture"] == str(picture)
    assert of_text["text"] == "a dog runs"
    matcher = Matcher.from_pretrained(model)
    for each, encoded in (
        (of_picture, matcher.encode_images([picture])),
        (of_text, matcher.encode_texts(["a dog runs"])),
    ):
        expected = dict(zip(NAMES, matcher.similarity.predict(encoded)[0].tolist(), strict=True))
        assert len(each["labels"]) == 2
        for label in each["labels"]:
            assert label["probability"] == pytest.approx(expected[label["label"]], abs=1e-5)
        first, second = (label["probability"] for label in each["labels"])
        assert first >= second >= min(expected.values())


@pytest.mark.parametrize("name", ["gone.png", "gone.avif", "GONE.HEIC"])
def test_a_picture_that_is_not_there_is_no_text(model: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no picture {name}"):
        told("labels", model, name)


def test_labels_as_text(model: Path) -> None:
    head, *rest = told("labels", model, "a dog runs").splitlines()
    assert head == "a dog runs"
    assert sorted(line.split()[1] for line in rest) == sorted(NAMES)


def test_an_imported_model_gets_the_names_of_its_labels(tmp_path: Path) -> None:
    model = saved(tmp_path / "model", {"name": "label-agreement", "labels": 3})
    assert "label 2" in told("labels", model, "a dog")
    Labels(tuple(NAMES)).save(tmp_path / "vocab_tag.json")
    assert "bird" in told("labels", model, "a dog", "--names", tmp_path / "vocab_tag.json")
    Labels(("dog",)).save(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"other.json names 1 labels, but the model predicts 3"):
        told("labels", model, "a dog", "--names", tmp_path / "other.json")


def test_a_model_without_labels_and_a_picture_that_is_absent_are_errors(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match="MaxSim, predicts no labels"):
        told("labels", saved(tmp_path / "chan", {"name": "max-sim"}), "a dog")
    with pytest.raises(FileNotFoundError, match=r"there is no picture absent.jpg"):
        told("labels", model, "absent.jpg")


def test_labels_are_learned_from_texts(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("A dog and a cat.\nThe dog sleeps on a bench.\n")
    line = told("vocab", "labels", tmp_path / "texts.txt", "--out", tmp_path / "tag.json", "--count", "2")
    assert line.startswith(f"{tmp_path / 'tag.json'}: 2 labels, dog, bench")
    assert Labels.load(tmp_path / "tag.json").names == ("dog", "bench")
