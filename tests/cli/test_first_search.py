"""The first search by a sentence is quick: it builds no vision model and reads none of its weights."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support import published_dual_encoders, search_models

from wordsight.matcher import Matcher
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

SEARCH = """
import contextlib, gc, json, sys
from wordsight import checkpoint
from wordsight.cli.main import main

weights, open_file = [], checkpoint.safe_open

@contextlib.contextmanager
def recording(*given, **options):
    with open_file(*given, **options) as file:
        class Recorded:
            keys = file.keys
            def get_tensor(self, name):
                weights.append(name)
                return file.get_tensor(name)
        yield Recorded()

checkpoint.safe_open = recording
try:
    main(["search", sys.argv[1], "a red ball", "--json"])
except SystemExit as end:
    assert not end.code
torch = sys.modules["torch"]
built = {type(one).__name__ for one in gc.get_objects() if isinstance(one, torch.nn.Module)}
seen = {"weights": weights, "built": sorted(built), "modules": sorted(sys.modules)}
print(json.dumps(seen), file=sys.stderr)
"""
NEVER = {
    "torchvision", "pandas", "scipy", "sklearn", "fastapi",
    "wordsight.evaluation", "wordsight.learn", "wordsight.config", "wordsight.read.datasets", "wordsight.web",
    "wordsight.report.gallery", "wordsight.search.index.sync",
}  # fmt: skip
PIXELS = {
    "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 2,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 32, "width": 32},
}  # fmt: skip


def words_and_backbone(folder: Path) -> Matcher:
    """The flagship's kinds of parts: a frozen backbone reads regions, a BiGRU reads words."""
    torch.manual_seed(0)
    network = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_channels=3
    )
    transformers.ResNetModel(network).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PIXELS))
    tables: dict[str, dict[str, Any]] = {
        "reader": {"name": "backbone", "model": str(folder), "grid": 2},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "regions", "dim": 8},
        "text_encoder": {"name": "recurrent", "word_dim": 4},
        "similarity": {"name": "max-sim"},
    }
    return Matcher.build(tables, vocabulary=Vocabulary.learn(search_models.world().texts, min_count=1))


def clip(folder: Path) -> Matcher:
    return Matcher.from_published(published_dual_encoders.publish(folder, "clip"))


@pytest.fixture(scope="module", params=[words_and_backbone, clip])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp(request.param.__name__)
    request.param(folder / "published").eval().save_pretrained(folder / "model")
    made = Index.create(folder / "photos.index", folder / "model")
    made.update([search_models.pictures()])
    return made


def test_a_sentence_loads_nothing_of_the_vision_side(index: Index) -> None:
    command = [sys.executable, "-c", SEARCH, str(index.folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert found == [hit.item.id for hit in Searcher(index).find_images("a red ball").hits]
    seen = json.loads(done.stderr.splitlines()[-1])
    assert any(name.startswith("text_encoder.") for name in seen["weights"])
    assert not [name for name in seen["weights"] if name.startswith(("image_encoder.", "reader."))]
    assert not [name for name in seen["built"] if "Vision" in name or "Conv" in name or "Region" in name]
    assert sorted(NEVER & set(seen["modules"])) == []
    if "clip" not in str(index.folder):
        assert not {"transformers", "huggingface_hub", "PIL", "torch.onnx.ops"} & set(seen["modules"])
