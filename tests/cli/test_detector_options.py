"""index and features extract with a detector that reads text: its phrases are remembered and shown."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.published_backbones import photos, publish
from support.published_prompted import publish_prompted
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.matcher import Matcher
from wordsight.read.features.store import FeatureStore
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

PHRASES = ["dog", "red frisbee", "cat"]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def save_matcher(folder: Path, eye: Path) -> Path:
    words = Vocabulary.learn(["a red green blue ball dog runs"], min_count=1)
    tables = {
        "reader": {"name": "backbone", "model": str(eye), "grid": 1},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "regions", "dim": 8},
        "text_encoder": {"name": "recurrent", "dim": 8, "word_dim": 4},
        "similarity": {"name": "max-sim"},
    }
    Matcher.build(tables, vocabulary=words).save_pretrained(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number, photo in enumerate(photos(6)):
        Image.fromarray(photo).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def test_an_index_remembers_phrases_and_shows_them(tmp_path: Path, pictures: Path) -> None:
    """Made by a command with a model that had no detector; later commands need neither model nor words."""
    eyes = publish_prompted(tmp_path / "finder", "grounding-dino")
    model = save_matcher(tmp_path / "model", publish(tmp_path / "eye", "resnet"))
    out = tmp_path / "index"
    found = ("--detector", eyes, "--detect", "Dog, red frisbee,cat", "--detector-threshold", 0.0)
    made = run("index", pictures, "--model", model, "--out", out, "--detections", 4, *found)
    assert made.exit_code == 0, made.output
    for gone in ("eye", "finder", "model"):
        shutil.rmtree(tmp_path / gone)
    table = json.loads((out / "model" / "config.json").read_text())["parts"]["reader"]
    assert (table["detect"], table["detections"], table["detector_threshold"]) == (PHRASES, 4, 0.0)
    Image.fromarray(photos(8, 40, 90)[7]).save(pictures / "tall.png")
    again = run("index", pictures, "--out", out)
    assert again.exit_code == 0, again.output
    assert "1 added" in again.output
    assert run("index", "--out", out, "--verify").exit_code == 0
    index = Index.open(out)
    searcher = Searcher(index)
    reader = Index.open(out).matcher.reader
    seen = set()
    for hit in searcher.find_images("a red dog", k=7).hits:
        expected = reader([hit.item.path])
        real = expected.labels[expected.mask].tolist()
        explained = searcher.explain("a red dog", hit.item.id)
        assert list(explained.phrases) == [PHRASES[label - 1] if label else "" for label in real]
        named = set(zip(explained.regions, explained.phrases, strict=True))
        for word in [*hit.words, *(one.word for one in explained.words)]:
            assert (word.box, word.phrase) in named
            seen.add(word.phrase)
    assert seen & set(PHRASES)
    pictured = next(hit for hit in searcher.find_images("dog", k=7).hits if hit.words[0].phrase)
    shown = run("explain", out, "dog", pictured.item.id)
    assert f'(found as "{pictured.words[0].phrase}")' in shown.output


def test_phrases_survive_a_compaction(tmp_path: Path, pictures: Path) -> None:
    eyes = publish_prompted(tmp_path / "finder", "owlv2")
    model = save_matcher(tmp_path / "model", publish(tmp_path / "eye", "resnet"))
    out = tmp_path / "index"
    found = ("--detector", eyes, "--detect", "dog, cat", "--detector-threshold", 0.0)
    assert run("index", pictures, "--model", model, "--out", out, *found).exit_code == 0
    (pictures / "2.png").unlink()
    done = run("index", pictures, "--out", out, "--compact", "--verify")
    assert done.exit_code == 0, done.output
    searcher = Searcher(Index.open(out))
    for hit in searcher.find_images("dog", k=7).hits:
        expected = searcher.index.matcher.reader([hit.item.path])
        real = expected.labels[expected.mask].tolist()
        named = [("", "dog", "cat")[label] for label in real]
        assert list(searcher.explain("dog", hit.item.id).phrases) == named


def test_features_are_extracted_with_phrases(tmp_path: Path, pictures: Path) -> None:
    eyes = publish_prompted(tmp_path / "finder", "owlvit")
    eye, out = publish(tmp_path / "eye", "resnet"), tmp_path / "store"
    found = ("--detector", eyes, "--detect", "dog, cat", "--detector-threshold", 0, "--detections", 3)
    made = run("features", "extract", pictures, "--model", eye, "--grid", 1, "--out", out, *found)
    assert made.exit_code == 0, made.output
    store = FeatureStore.open(out)
    assert store.settings["detect"] == ["dog", "cat"]
    labels = store.read(range(6)).labels
    assert labels is not None
    assert labels.shape == (6, 4)
    assert labels.any()
    again = run("features", "extract", pictures, "--out", out)
    assert "6 already there" in again.output, again.output


def test_words_without_a_model_are_one_sentence(tmp_path: Path, pictures: Path) -> None:
    model = save_matcher(tmp_path / "model", publish(tmp_path / "eye", "resnet"))
    made = ("index", pictures, "--model", model, "--out", tmp_path / "index")
    for given, message in (
        (("--detector", "dog, frisbee"), '--detect "dog, frisbee"'),
        (("--detect", "dog"), "no detector is given to find it"),
        (("--detections", 3), "need a --detector"),
    ):
        refused = run(*made, *given)
        assert refused.exit_code != 0
        assert message in " ".join(refused.output.replace("│", "").split()) or message in str(
            refused.exception
        )
    assert not (tmp_path / "index").exists()


def test_a_model_without_regions_takes_no_detector(tmp_path: Path, pictures: Path) -> None:
    from support.published_dual_encoders import publish as publish_dual

    clip = publish_dual(tmp_path / "clip", "clip")
    eyes = publish_prompted(tmp_path / "finder", "owlv2")
    refused = run("index", pictures, "--model", clip, "--out", tmp_path / "index", "--detector", eyes)
    assert "has no place for a detector's boxes" in str(refused.exception)
