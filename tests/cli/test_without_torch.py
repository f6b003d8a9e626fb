"""Commands where torch is not installed: they index, search and measure with an exported model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_without_torch import without_torch
from support.published_dual_encoders import photos, publish
from support.small_index import small_model

from wordsight.exporters.onnx_export import export_onnx
from wordsight.matcher import Matcher


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and an exported model."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "pictures").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "pictures" / f"{number}.png")
    export_onnx(small_model(folder))
    return folder


def test_pictures_are_indexed_searched_and_compared(home: Path) -> None:
    made = without_torch("index", home / "pictures", "--model", home / "model", "--out", home / "index")
    assert made.returncode == 0, made.stderr
    found = without_torch("search", home / "index", "a red ball", "--json")
    assert len([json.loads(line) for line in found.stdout.splitlines()]) == 4, found.stderr
    like = without_torch("similar", home / "index", home / "pictures" / "1.png", "--json")
    assert len(like.stdout.splitlines()) == 3, like.stderr


def test_stored_scores_are_measured(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.eye(8, dtype=np.float32).repeat(5, 1))
    measured = without_torch("evaluate", "--scores", tmp_path / "scores.npy", "--json")
    assert json.loads(measured.stdout)["rsum"] == 600, measured.stderr


def test_what_needs_torch_says_how_to_get_it() -> None:
    refused = without_torch("train", "chan-flickr8k")
    assert refused.returncode == 1
    assert refused.stderr == "wordsight: this needs the package torch: pip install 'wordsight[train]'\n"


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
def test_a_published_dual_encoder_indexes_and_searches(family: str, tmp_path: Path) -> None:
    matcher = Matcher.from_published(publish(tmp_path / "published", family), "patches")
    matcher.save_pretrained(tmp_path / "model")
    export_onnx(tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(photos(4)):
        picture.save(tmp_path / "pictures" / f"{number}.png")
    made = without_torch(
        "index", tmp_path / "pictures", "--model", tmp_path / "model", "--out", tmp_path / "i"
    )
    assert made.returncode == 0, made.stderr
    query = "the red dog's ball, on a café!"
    found = without_torch("search", tmp_path / "i", query, "--json")
    hits = {Path(hit["path"]).stem: hit["score"] for hit in map(json.loads, found.stdout.splitlines())}
    scores = matcher.score(photos(4), [query])[:, 0].tolist()
    assert [hits[str(n)] for n in range(4)] == pytest.approx(scores, abs=0.05), found.stderr  # of float16
