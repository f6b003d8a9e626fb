"""The first search is quick: a sentence opens the text side of a model, and nothing of its vision side."""

import copy
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support import search_models

from wordsight import checkpoint
from wordsight.cli.main import COMMANDS, app, app_with
from wordsight.errors import InputError
from wordsight.lazy_matcher import open_lazily
from wordsight.matcher import Matcher
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index
from wordsight.search.index.manifest import MODEL
from wordsight.search.searcher import Searcher

SEARCH = """
import json, sys
from wordsight.cli.main import main
try:
    main(["search", sys.argv[1], "a red ball", "--json"])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
NEVER = {
    "transformers", "torchvision", "wordsight.encode.regions", "wordsight.read.pictures.backbone_reader",
    "wordsight.evaluation", "wordsight.learn", "wordsight.config", "wordsight.cli.train",
}  # fmt: skip
PIXELS = {
    "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 2,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 32, "width": 32},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved matcher as users have them: a frozen backbone reads regions, a BiGRU reads words."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_channels=3
    )
    transformers.ResNetModel(network).save_pretrained(folder / "backbone")
    (folder / "backbone" / "preprocessor_config.json").write_text(json.dumps(PIXELS))
    tables: dict[str, dict[str, Any]] = {
        "reader": {"name": "backbone", "model": str(folder / "backbone"), "grid": 2},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "regions", "dim": 8},
        "text_encoder": {"name": "recurrent", "word_dim": 4},
        "similarity": {"name": "max-sim"},
    }
    vocabulary = Vocabulary.learn(search_models.world().texts, min_count=1)
    Matcher.build(tables, vocabulary=vocabulary).eval().save_pretrained(folder / "saved")
    return folder / "saved"


@pytest.fixture(scope="module")
def index(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Index.create(tmp_path_factory.mktemp("made") / "photos.index", model)
    made.update([search_models.pictures()])
    return made.folder


def searched(where: Path) -> tuple[list[int], set[str]]:
    """The hits of a search by a sentence in a process of its own, and the modules that it loaded."""
    command = [sys.executable, "-c", SEARCH, str(where)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    hits = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    return hits, set(json.loads(done.stderr.splitlines()[-1]))


def test_a_sentence_loads_nothing_that_reads_pictures(index: Path) -> None:
    hits, modules = searched(index)
    assert hits == [hit.item.id for hit in Searcher(Index.open(index)).find_images("a red ball").hits]
    assert "wordsight.encode.recurrent" in modules
    assert not modules & NEVER


def test_a_plain_folder_in_which_nothing_changed_is_searched_as_lightly(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = shutil.copytree(search_models.pictures() / "odd", tmp_path / "pictures")
    app_with("search")(["search", str(pictures), "a ball", "--model", str(model)], standalone_mode=False)
    hits, modules = searched(pictures)
    assert hits
    assert "transformers" not in modules


def test_the_weights_of_the_vision_side_are_not_read_for_a_sentence(index: Path, tmp_path: Path) -> None:
    before = Searcher(Index.open(index)).find_images("a red ball")
    ruined = Index.open(shutil.copytree(index, tmp_path / "ruined"))
    weights = load_file(ruined.folder / MODEL / checkpoint.WEIGHTS)
    ruin = {name: torch.zeros(1) for name in weights if name.startswith("image_encoder.")}
    assert ruin
    save_file(weights | ruin, tmp_path / "weights")
    os.replace(tmp_path / "weights", ruined.folder / MODEL / checkpoint.WEIGHTS)
    searcher = Searcher(ruined)
    after = searcher.find_images("a red ball")
    assert [(hit.item.id, hit.score) for hit in after.hits] == [(h.item.id, h.score) for h in before.hits]
    assert not searcher.matcher.has_image_side
    with pytest.raises(InputError, match="belongs to another configuration"):
        searcher.similar(str(next((search_models.pictures() / "odd").glob("*.png"))))


def test_a_model_opened_lazily_is_the_model(model: Path) -> None:
    whole, picture = Matcher.from_pretrained(model), str(search_models.path_of(0))
    assert torch.equal(open_lazily(model).score([picture], ["a ball"]), whole.score([picture], ["a ball"]))
    weights = open_lazily(model).state_dict()
    assert weights.keys() == whole.state_dict().keys()
    assert all(torch.equal(weights[name], weight) for name, weight in whole.state_dict().items())
    assert len(list(open_lazily(model).parameters())) == len(list(whole.parameters()))
    doubled = open_lazily(model).double().image_encoder
    assert {weight.dtype for weight in doubled.parameters()} == {torch.float64}
    copied = copy.deepcopy(open_lazily(model))
    assert torch.equal(copied.score([picture], ["a ball"]), whole.score([picture], ["a ball"]))


def test_its_mode_is_also_that_of_what_opens_later(model: Path) -> None:
    matcher = open_lazily(model)
    assert not matcher.train().eval().has_image_side
    assert not matcher.image_encoder.training
    assert open_lazily(model).train().image_encoder.training


def test_threads_that_need_the_image_side_at_once_open_it_once(model: Path) -> None:
    matcher = open_lazily(model)
    with ThreadPoolExecutor(8) as pool:
        encoders = list(pool.map(lambda _: matcher.image_encoder, range(8)))
    assert all(encoder is encoders[0] for encoder in encoders)
    assert matcher.reader is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights | {"other.weight": torch.zeros(1)}, "other.weight has no place"),
        (lambda weights: weights | {"text_encoder.other": torch.zeros(1)}, "text_encoder.other has no place"),
        (lambda weights: {n: w for n, w in weights.items() if "text_encoder.words" not in n}, "is missing"),
    ],
)
def test_the_text_side_is_checked_when_it_opens(
    model: Path, tmp_path: Path, change: Any, message: str
) -> None:
    copied = shutil.copytree(model, tmp_path / "model")
    save_file(change(load_file(model / checkpoint.WEIGHTS)), tmp_path / "weights")
    os.replace(tmp_path / "weights", copied / checkpoint.WEIGHTS)
    with pytest.raises(InputError, match=message):
        open_lazily(copied)


def test_a_command_is_loaded_alone_and_every_command_is_known() -> None:
    def names(application: Any) -> list[str]:
        commands = [one.name or one.callback.__name__ for one in application.registered_commands]
        return commands + [group.name for group in application.registered_groups]

    listed = [command for commands in COMMANDS.values() for command in commands]
    assert sorted(names(app)) == sorted(listed)
    for commands in COMMANDS.values():
        assert sorted(names(app_with(commands[0]))) == sorted(commands)
    assert sorted(names(app_with("serach"))) == sorted(listed)
