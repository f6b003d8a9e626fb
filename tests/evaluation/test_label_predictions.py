"""CASC's labels among the images and texts of a split, as its own evaluation reads them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from wordsight.builder import Builder
from wordsight.cli.main import app
from wordsight.config import CONFIG, load_config
from wordsight.evaluation.label_predictions import row_of
from wordsight.matcher import Matcher
from wordsight.read.export.precomputed import write_precomp

NAMES, IMAGES = ["dog", "cat", "bird"], 4
TEXTS = ["a dog .", "a cat runs .", "the bird", "two dogs and a cat", "a bird and a cat"]
TOML = """
[data]
name = "precomp"
path = "{}"
[reader]
name = "precomputed"
[tokenizer]
name = "words"
[vocabulary]
min_count = 1
[image_encoder]
name = "regions"
dim = 8
[text_encoder]
name = "recurrent"
dim = 8
word_dim = 8
[similarity]
name = "label-agreement"
labels = ["dog", "cat", "bird"]
[loss]
name = "triplet"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on precomputed features, as training would leave it after no step."""
    home, random = tmp_path_factory.mktemp("casc"), np.random.default_rng(0)
    features = [random.normal(size=(3, 6)).astype(np.float32) for _ in range(IMAGES)]
    for split in ("train", "test"):
        ids = [f"10{row}" for row in range(IMAGES)]
        write_precomp(home / "tiny_precomp", split, features, [TEXTS] * IMAGES, ids)
    (home / CONFIG).write_text(TOML.format(home / "tiny_precomp"))
    config = load_config(str(home))
    torch.manual_seed(1)
    Builder(config).matcher(Builder(config).pairs("train")).save_pretrained(home / "best")
    return home


def told(*arguments: object) -> Any:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_an_images_labels_are_the_mean_over_its_best_sentences(run: Path) -> None:
    """CASC (evaluation_.py): mean over the top-3 captions of what each finds in the image."""
    found = json.loads(told("labels", run, "102", "--split", "test", "--json"))
    matcher = Matcher.from_pretrained(run / "best")
    pairs = Builder(load_config(str(run))).pairs("test")
    image = matcher.encode_images(pairs.images.read([2]))
    each = []
    for text in pairs.texts:
        encoded = matcher.encode_texts([text])
        seen = matcher.similarity.label_logits(image, encoded)[0].sigmoid()
        each.append((float(matcher.similarity(image, encoded)), text, seen.detach()))
    best = sorted(each, key=lambda one: -one[0])[:3]
    mean = torch.stack([seen[0] for _, _, seen in best]).mean(0)
    assert found["picture"] == "102"
    for label in found["labels"]:
        assert label["probability"] == pytest.approx(float(mean[NAMES.index(label["label"])]), abs=1e-5)
    for match, (score, _, seen) in zip(found["matches"], best, strict=True):
        assert match["score"] == pytest.approx(score, abs=1e-4)
        assert match["labels"][0]["probability"] == pytest.approx(float(seen[1].max()), abs=1e-5)


def test_by_its_own_vectors_or_a_text_among_pictures(run: Path) -> None:
    matcher = Matcher.from_pretrained(run / "best")
    own = json.loads(told("labels", run, "101", "--split", "test", "--scores", "own", "--json"))
    image = matcher.encode_images(Builder(load_config(str(run))).pairs("test").images.read([1]))
    assert own["labels"][0]["probability"] == pytest.approx(
        float(matcher.similarity.predict(image).max()), abs=1e-5
    )
    text = json.loads(told("labels", run, "a dog", "--split", "test", "--matches", "2", "--json"))
    assert all(match["picture"] in ("100", "101", "102", "103") for match in text["matches"])
    assert len(text["matches"]) == 2


def test_what_cannot_be_read_is_said_in_the_words_of_the_command(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"wordsight labels MODEL ID --split test"):
        told("labels", run, tmp_path / "photo.jpg")
    with pytest.raises(ValueError, match=r"has no image 999; its images are 100, \.\.\."):
        told("labels", run, "999", "--split", "test")
    done = CliRunner().invoke(app, ["labels", str(run), "101", "--scores", "own"])
    assert done.exit_code == 2


def test_a_report_without_pictures_is_written_and_says_how_to_show_them(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(run), "--report", str(tmp_path / "rep.html")])
    assert done.exit_code == 0
    assert "the data holds features and no pictures; give their folder with --pictures" in done.stderr
    assert f"report written to {tmp_path / 'rep.html'}" in done.stderr
    assert "Recall at K" in (tmp_path / "rep.html").read_text()


def test_an_image_is_found_by_its_name_or_its_last_part(run: Path) -> None:
    pairs = Builder(load_config(str(run))).pairs("test")
    assert row_of(pairs, "103") == 3
    object.__setattr__(pairs, "names", ["train/1.jpg", "val/1.jpg", "val/2.png", "3"])
    assert (row_of(pairs, "2"), row_of(pairs, "val/1.jpg"), row_of(pairs, "x")) == (2, 1, None)
    with pytest.raises(ValueError, match="1 is the name of 2 images"):
        row_of(pairs, "1")
