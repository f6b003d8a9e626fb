"""VSE-infinity's checkpoints score here as its formulas say they do."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.published_bert import IDS, bert, publish_bert, text_state
from support.published_bert import TEXTS as PIECED
from support.published_checkpoints import (
    DIM,
    TEXTS,
    State,
    doubled,
    gru,
    gru_words,
    ids,
    linear_state,
    pictures,
    random,
    unit,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)
from support.published_networks import resnet_cells, resnet_state
from support.published_vse_infinity import OPTIONS, gpo_state, image_state, words_state
from support.published_vsepp import MEAN, STD
from torch import Tensor

from wordsight.importers.convert import import_checkpoint
from wordsight.matcher import Matcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_bert(tmp_path)


__all__ = ["folder"]  # a fixture


def gpo(vectors: Tensor, state: State) -> Tensor:
    """The codes of the places through a BiGRU to weights; every dimension sorted alone."""
    codes = torch.zeros(len(vectors), 32, dtype=torch.float64)
    for place in range(len(vectors)):
        for i in range(16):
            angle = place / 10000 ** (2 * i / 32)
            codes[place, 2 * i], codes[place, 2 * i + 1] = math.sin(angle), math.cos(angle)
    states = (gru(codes, state, "_l0", "gpool.gru.") + gru(codes, state, "_l0_reverse", "gpool.gru.")) / 2
    weights = ((states @ state["gpool.linear.weight"][0]) / 0.1).softmax(0)
    return weights @ vectors.sort(0, descending=True).values


def image(features: Tensor, state: State) -> Tensor:
    inner = features @ state["mlp.layers.0.weight"].T + state["mlp.layers.0.bias"]
    spread = (state["mlp.bns.0.running_var"] + 1e-5).sqrt()
    inner = (inner - state["mlp.bns.0.running_mean"]) / spread * state["mlp.bns.0.weight"]
    inner = (inner + state["mlp.bns.0.bias"]).relu()
    found = inner @ state["mlp.layers.1.weight"].T + state["mlp.layers.1.bias"]
    return gpo(found + features @ state["fc.weight"].T + state["fc.bias"], state)


def parallel(state: State) -> State:
    """As DataParallel names it."""
    return {f"module.{name}": tensor for name, tensor in state.items()}


def check(tmp_path: Path, state: State, texts: list[str], vectors: list[Tensor]) -> None:
    matcher, regions = Matcher.from_pretrained(tmp_path / "out"), pictures()
    images = torch.stack([image(features, state) for features in regions.features.double()])
    expected = unit(images) @ unit(torch.stack(vectors)).T
    torch.testing.assert_close(matcher.score(regions, texts).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bigru_scores_as_published(tmp_path: Path, wrapped: bool) -> None:
    states = [image_state(), words_state()]
    saved = [parallel(state) for state in states] if wrapped else states
    path = write_checkpoint(tmp_path / "model_best.pth", saved, OPTIONS)
    vocabulary = write_vocabulary(tmp_path / "v.json")
    report = import_checkpoint(path, "vse-infinity", tmp_path / "out", vocabulary)
    state, text = doubled(states)
    vectors = [gpo(gru_words(ids(words, vocabulary_table()), text), text) for words in TEXTS]
    check(tmp_path, state, TEXTS, vectors)
    start = "module." if wrapped else ""
    unused = {line.source: line.reason for line in report.lines if line.target is None}
    assert {name for name in unused if "mlp.bns.1" in name} == set(unused)
    assert "never applies" in unused[f"img.{start}mlp.bns.1.weight"]


def test_a_batch_norm_that_did_not_count_its_batches_yet(tmp_path: Path) -> None:
    """Before PyTorch 0.4.1 there was no such number, and nothing reads it."""
    image = {name: tensor for name, tensor in image_state().items() if "num_batches" not in name}
    path = write_checkpoint(tmp_path / "model_best.pth", [image, words_state()], OPTIONS)
    report = import_checkpoint(path, "vse-infinity", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    made = [line.target for line in report.lines if line.source == "(none)"]
    assert made == ["image_encoder.residual.1.num_batches_tracked"]


def test_a_bert_scores_as_published(tmp_path: Path, folder: Path) -> None:
    model = bert(3)
    states = [image_state(), text_state(model) | gpo_state()]
    path = write_checkpoint(tmp_path / "model_best.pth", [parallel(state) for state in states], OPTIONS)
    import_checkpoint(path, "vse-infinity", tmp_path / "out", bert=folder)
    state, text = doubled(states)
    with torch.no_grad():
        hidden = [model(torch.tensor([row]))[0][0].double() for row in IDS]
    vectors = [gpo(h @ text["linear.weight"].T + text["linear.bias"], text) for h in hidden]
    check(tmp_path, state, PIECED, vectors)


DEPTHS = (1, 2, 1, 1)
ALIASES = {"conv1": "base.0", "bn1": "base.1", "layer1": "base.4", "layer2": "base.5", "layer3": "base.6"}


def grid_state() -> State:
    """The network's weights twice: as a resnet, and as base and top."""
    cnn = resnet_state(DEPTHS) | {"fc.weight": random(10, 128), "fc.bias": random(10)}
    state = {f"backbone.resnet.{name}": tensor for name, tensor in cnn.items()}
    for name, tensor in cnn.items():
        first, _, rest = name.partition(".")
        if first != "fc":
            state[f"backbone.{ALIASES.get(first, 'top.0')}.{rest}"] = tensor
    return state | {f"image_encoder.{n}": t for n, t in (linear_state(128, DIM, "fc.") | gpo_state()).items()}


@pytest.mark.parametrize("source", ["detector", "imagenet_res50"])
def test_grids_score_as_published(tmp_path: Path, source: str) -> None:
    """The detector's network sees blue, green, red from 0 to 255, less a mean; the others as ImageNet's."""
    states = [grid_state(), words_state()]
    options = OPTIONS | {
        "precomp_enc_type": "backbone", "backbone_source": source, "input_scale_factor": 0.5,
    }  # fmt: skip
    path = write_checkpoint(tmp_path / "grid.pth", [parallel(state) for state in states], options)
    report = import_checkpoint(path, "vse-infinity", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    shown = list(np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8))
    values = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).double()
    if source == "detector":
        values = values.flip(1) - torch.tensor([102.9801, 115.9465, 122.7717]).view(3, 1, 1).double()
    else:
        mean, std = (torch.tensor(three).view(3, 1, 1).double() for three in (MEAN, STD))
        values = (values / 255 - mean) / std
    state, text = doubled(states)
    cnn = {
        n.removeprefix("backbone.resnet."): t for n, t in state.items() if n.startswith("backbone.resnet.")
    }
    head = {n.removeprefix("image_encoder."): t for n, t in state.items() if n.startswith("image_encoder.")}
    with torch.no_grad():
        cells = resnet_cells(values, cnn, DEPTHS, caffe=True).flatten(2).transpose(1, 2)
    images = torch.stack([gpo(one @ head["fc.weight"].T + head["fc.bias"], head) for one in cells])
    vectors = [gpo(gru_words(ids(words, vocabulary_table()), text), text) for words in TEXTS]
    expected = unit(images) @ unit(torch.stack(vectors)).T
    found = Matcher.from_pretrained(tmp_path / "out").score(shown, TEXTS)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
    unused = {line.source for line in report.lines if line.target is None}
    assert unused == {
        f"img.module.{name}" for name in states[0] if name.startswith(("backbone.base", "backbone.top"))
    } | {"img.module.backbone.resnet.fc.weight", "img.module.backbone.resnet.fc.bias"}


def test_grids_that_cannot_be_carried_over_are_refused(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path / "v.json")
    options = OPTIONS | {"precomp_enc_type": "backbone"}
    grid = grid_state()
    grid["backbone.base.4.0.bn1.bias"] = grid["backbone.base.4.0.bn1.bias"] + 1
    path = write_checkpoint(tmp_path / "two.pth", [grid, words_state()], options)
    with pytest.raises(ValueError, match=r"two networks: img\.backbone\.base\.4\.0\.bn1\.bias is not what"):
        import_checkpoint(path, "vse-infinity", tmp_path / "out", vocabulary)
    grid["backbone.resnet.layer1.0.conv2.weight"] = random(4, 1, 3, 3)
    path = write_checkpoint(tmp_path / "next.pth", [grid, words_state()], options)
    with pytest.raises(ValueError, match="through a ResNeXt, which transformers does not load"):
        import_checkpoint(path, "vse-infinity", tmp_path / "out", vocabulary)
    assert not (tmp_path / "out").exists()
