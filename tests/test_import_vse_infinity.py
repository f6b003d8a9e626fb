"""VSE-infinity's checkpoints score here as its formulas say they do."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from published import (
    TEXTS,
    State,
    doubled,
    gru,
    gru_state,
    gru_words,
    ids,
    linear_state,
    random,
    unit,
    vocabulary_table,
    write_checkpoint,
    write_vocabulary,
)
from test_import_bert import IDS, bert, folder, text_state
from test_import_bert import TEXTS as PIECED
from test_import_chan import DIM, IN, WORD, pictures
from torch import Tensor

from wordsight.adopt.importing import import_checkpoint
from wordsight.matcher import Matcher

__all__ = ["folder"]  # a fixture
OPTIONS: dict[str, Any] = {
    "embed_size": DIM, "img_dim": IN, "word_dim": WORD, "vocab_size": 14, "precomp_enc_type": "basic",
    "backbone_source": "detector", "no_imgnorm": False, "no_txtnorm": False, "data_name": "f30k_precomp",
}  # fmt: skip


def gpo_state() -> State:
    gates = gru_state(32, 32, start="gru.")
    return {f"gpool.{name}": tensor for name, tensor in gates.items()} | {
        "gpool.linear.weight": random(1, 32)
    }


def image_state() -> State:
    hidden = DIM // 2
    state = linear_state(IN, DIM, "fc.") | linear_state(IN, hidden, "mlp.layers.0.")
    state |= linear_state(hidden, DIM, "mlp.layers.1.")
    for place, size in enumerate((hidden, DIM)):
        state |= {
            f"mlp.bns.{place}.weight": 1 + random(size), f"mlp.bns.{place}.bias": random(size),
            f"mlp.bns.{place}.running_mean": random(size),
            f"mlp.bns.{place}.running_var": 0.5 + torch.rand(size),
            f"mlp.bns.{place}.num_batches_tracked": torch.tensor(12),
        }  # fmt: skip
    return state | gpo_state()


def words_state() -> State:
    return {"embed.weight": random(14, WORD), **gru_state(WORD, DIM), **gpo_state()}


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


def test_a_network_of_its_own_is_refused_with_the_reason(tmp_path: Path) -> None:
    grid = {"backbone.resnet.conv1.weight": random(4, 3, 7, 7)}
    grid |= {f"image_encoder.{name}": tensor for name, tensor in image_state().items()}
    path = write_checkpoint(tmp_path / "grid.pth", [parallel(grid), words_state()], OPTIONS)
    with pytest.raises(ValueError, match="looks at grids through a ResNet of its own"):
        import_checkpoint(path, "vse-infinity", tmp_path / "out", write_vocabulary(tmp_path / "v.json"))
    assert not (tmp_path / "out").exists()
