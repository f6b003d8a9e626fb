"""Each command on a pretended GPU finds what it finds on the processor; no tensor is on the wrong device."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from support import search_models
from support.fake_gpu import Gpu, fake_gpu
from support.published_backbones import photos, publish
from support.small_problem import untrained_run
from typer.testing import CliRunner

from wordsight.cli import demo
from wordsight.cli.main import app
from wordsight.evaluation import evaluate
from wordsight.experiments.grid import read_grid
from wordsight.matcher import Matcher
from wordsight.presence.saved import load_presence
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.sets import EmbeddingSet
from wordsight.similarity.cosine import Cosine
from wordsight.similarity.ranking.exact import rank_matches

LABELS = "label-agreement"


def said(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def on_both(act: Callable[[str], Any]) -> tuple[Any, Any, Gpu]:
    """What is found on the processor and on the pretended GPU, which must have computed something."""
    here = act("cpu")
    with fake_gpu() as gpu:
        there = act("cuda")
    assert gpu.operations > 20
    return here, there, gpu


def alike(one: Any, other: Any) -> None:
    """Equal but for roundings of numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            alike(*pair)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-3)
    else:
        assert one == other


def test_labels() -> None:
    def found(device: str) -> list[Any]:
        items = search_models.path_of(0), "a red ball"
        lines = said("labels", search_models.model(LABELS), *items, "--json", "--device", device)
        return [json.loads(line) for line in lines.splitlines()]

    here, there, _ = on_both(found)
    alike(here, there)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    rows = [[search_models.path_of(row), search_models.texts_of(row)[0], "train"] for row in range(8)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption", "split"], *rows])
    return path


def test_audit(table: Path) -> None:
    def found(device: str) -> Any:
        model = search_models.model("max-sim")
        return json.loads(said("audit", table, "--model", model, "--json", "--device", device))

    here, there, _ = on_both(found)
    alike(here, there)


def test_features_extract(tmp_path: Path) -> None:
    network = publish(tmp_path / "hub", "resnet")
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(photos()):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")

    def found(device: str) -> dict[str, np.ndarray]:
        out = tmp_path / device
        where = "--out", out, "--model", network, "--device", device
        said("features", "extract", tmp_path / "photos", "--grid", "2", *where)
        return {path.name: np.load(path) for path in sorted(out.rglob("*.npy"))}

    here, there, _ = on_both(found)
    assert here.keys() == there.keys()
    for name, stored in here.items():
        np.testing.assert_allclose(stored, there[name], atol=1e-3)


def test_calibrate(tmp_path: Path) -> None:
    """The numbers equal those of the processor: see test_device.py."""
    run = untrained_run(tmp_path, images=100)
    with fake_gpu() as gpu:
        said("calibrate", run, "--set", "training.calibration_pictures=100", "--device", "cuda")
    assert gpu.operations > 100
    presence = load_presence(run / "best")
    assert presence is not None
    assert len(presence.words) > 5


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains and measures on the device, and gives it to the commands that index and search."""
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    small = "data.images=4", "image_encoder.dim=16", "image_encoder.width=8", "text_encoder.word_dim=8"
    short = "training.epochs=1", "training.batch_size=16", "training.warmup_steps=0"
    changes = [part for change in (*small, *short) for part in ("--set", change)]

    given: list[str] = []
    for verb, options in (("index", "how"), ("search", "source")):  # which have tests of their own
        note = partial(lambda key, *_, **how: given.append(how[key].device), options)
        monkeypatch.setattr(demo, verb, note)
    with fake_gpu() as gpu:
        found = said("demo", "--out", tmp_path / "demo", "--device", "cuda", *changes)
    assert gpu.operations > 1000
    assert given == ["cuda"] * 4
    assert found.startswith("protocol all: 4 images, 20 texts; generated world, seed 0, test")
    assert (tmp_path / "demo" / "report.html").is_file()
    assert 'device = "cuda"' in (tmp_path / "demo" / "run" / "config.toml").read_text()


def test_export_stays_on_the_processor(tmp_path: Path) -> None:
    """ONNX's exporter traces on the processor: a tensor on the GPU, which torch says is there, would fail."""
    with patch.object(torch.cuda, "is_available", lambda: True):
        said("export", search_models.model("max-sim"), "--out", tmp_path / "onnx")
    assert list((tmp_path / "onnx").rglob("*.onnx"))


def test_compare_gives_each_cell_the_device(tmp_path: Path) -> None:
    with fake_gpu():
        _, cells = read_grid(["chan-flickr8k", "demo"], None, trust_remote_code=False, device="cuda")
    assert {cell.config.training.device for cell in cells} == {"cuda"}


def test_serve() -> None:
    """The page's own requests, whose searches run on threads of the server."""
    pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")
    from starlette.testclient import TestClient

    from wordsight.web.app import create_app

    def found(device: str) -> Any:
        searchers = [
            Searcher(Index.open(folder), device=device)
            for folder in (search_models.index().folder, search_models.texts_index().folder)
        ]
        with TestClient(create_app(*searchers), base_url="http://localhost") as client:
            answer = client.get("/v1/search", params={"query": "a red ball", "k": 3})
            assert answer.status_code == 200, answer.text
            hits: list[Any] = answer.json()["hits"]
            return [(hit["item"]["path"], hit["score"]) for hit in hits]

    here, there, _ = on_both(found)
    assert len(here) == 3
    assert [path for path, _ in here] == [path for path, _ in there]


@pytest.mark.parametrize("kind", ["max-sim", "cross-attention", "order"])
def test_evaluation_goes_on_in_halves_on_a_gpu_that_is_too_small(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The pretended GPU takes no tensor of all pictures; ranks are the same, lines say what was halved."""
    world = search_models.world()
    here = evaluate(Matcher.from_pretrained(search_models.model(kind)), world, intervals=False)
    with fake_gpu(most_numbers=72_000) as gpu:
        matcher = Matcher.from_pretrained(search_models.model(kind))
        there = evaluate(matcher, world, intervals=False, device="cuda")
        assert gpu.refused > 0
    assert there.by_name() == here.by_name()
    assert "out of memory with 24 pictures at once; going on with 12" in caplog.text


def test_ranks_of_any_similarity_survive_an_error_of_memory(caplog: pytest.LogCaptureFixture) -> None:
    draw = torch.Generator().manual_seed(0)
    whole = torch.ones(12, 1, dtype=torch.bool)
    images, texts = (EmbeddingSet(torch.randn(12, 1, 8, generator=draw), whole) for _ in range(2))
    arguments = images, texts, torch.arange(12), torch.arange(12)
    expected, forward = rank_matches(Cosine(), *arguments), Cosine.forward

    def limited(self: Cosine, some: EmbeddingSet, others: EmbeddingSet) -> torch.Tensor:
        if len(some) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, some, others)

    with patch.object(Cosine, "forward", limited):
        found = rank_matches(Cosine(), *arguments)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert "out of memory with 12 images of a block at once; going on with 6" in caplog.text
