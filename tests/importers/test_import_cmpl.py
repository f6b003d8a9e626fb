"""Checkpoints of CMPL's PyTorch port score here as the port does with one caption at a time."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from support.published_checkpoints import State, random
from support.published_cmpl import ROWS, UNITS, network, write
from support.published_networks import kernel, norm, norm_state, resnet, resnet_state
from torch import Tensor
from torch.nn import functional as F

from wordsight.importers.convert import import_checkpoint
from wordsight.matcher import Matcher

TEXTS = ["The man wears a black T-shirt, and", "the man.", "a zebra"]
IDS = [
    [5, 9, 8, 0, 3, 10, 1],
    [6, 9],
    [0, 10],
]  # 10: not known; "T-shirt" becomes "Tshirt", which is not "tshirt"
MOBILE = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)  # channels out of each block
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def mobilenet_state() -> State:
    state = {"model.0.0.weight": kernel(32, 3, 3), **norm_state(32, "model.0.1.")}
    inputs = 32
    for block, outputs in enumerate(MOBILE, 1):
        state[f"model.{block}.0.weight"] = kernel(inputs, 1, 3)
        state[f"model.{block}.3.weight"] = kernel(outputs, inputs, 1)
        state |= norm_state(inputs, f"model.{block}.1.") | norm_state(outputs, f"model.{block}.4.")
        inputs = outputs
    return state


def mobilenet(x: Tensor, state: State) -> Tensor:
    """Every ReLU ends at 6."""
    x = norm(F.conv2d(x, state["model.0.0.weight"], stride=2, padding=1), state, "model.0.1.").clamp(0, 6)
    for block, stride in enumerate(STRIDES, 1):
        depthwise = state[f"model.{block}.0.weight"]
        x = F.conv2d(x, depthwise, stride=stride, padding=1, groups=len(depthwise))
        x = norm(x, state, f"model.{block}.1.").clamp(0, 6)
        x = norm(F.conv2d(x, state[f"model.{block}.3.weight"]), state, f"model.{block}.4.").clamp(0, 6)
    return x.mean((2, 3))


def lstm(items: Tensor, from_input: Tensor, from_state: Tensor) -> Tensor:
    """Without biases, from zeros."""
    h = c = torch.zeros(UNITS, dtype=items.dtype)
    out = []
    for x in items:
        i, f, g, o = (from_input @ x + from_state @ h).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        out.append(h)
    return torch.stack(out)


def text(ids: list[int], state: State, version: str) -> Tensor:
    """The maximum over the words of both readers; in the last version both read forwards."""
    items = state["bilstm.embed.weight"][ids]
    weights = [tensor for name, tensor in state.items() if "weight_" in name]
    first = lstm(items, *weights[:2])
    second = lstm(items.flip(0), *weights[2:]).flip(0) if version == "first" else lstm(items, *weights[2:])
    return torch.cat([first, second], 1).max(0).values


def picture_batch(count: int = 2) -> tuple[list[np.ndarray], Tensor]:
    """Pictures of the size that needs no resizing, and as the port normalizes them."""
    pictures = list(np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8))
    values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).double() / 255
    return pictures, (values - 0.5) / 0.5


def check(tmp_path: Path, state: State, version: str, images: Tensor, pictures: list[np.ndarray]) -> None:
    plain = {name.removeprefix("module."): tensor.double() for name, tensor in state.items()}
    projection = {side: plain[f"conv_{side}.weight"].flatten(1) for side in ("images", "text")}
    vectors = images @ projection["images"].T + plain["conv_images.bias"]
    texts = (
        torch.stack([text(ids, plain, version) for ids in IDS]) @ projection["text"].T
        + plain["conv_text.bias"]
    )
    expected = F.normalize(vectors, dim=1) @ F.normalize(texts, dim=1).T
    matcher = Matcher.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(matcher.score(pictures, TEXTS).double(), expected, atol=1e-5, rtol=1e-4)


def mobilenet_check(tmp_path: Path, image: State, state: State, version: str = "last") -> None:
    """The imported model scores pictures as this network does."""
    pictures, values = picture_batch()
    with torch.no_grad():
        found = mobilenet(values, {name: tensor.double() for name, tensor in image.items()})
    check(tmp_path, state, version, found, pictures)


@pytest.mark.parametrize("version", ["last", "first"])
def test_mobilenet_scores_as_published(tmp_path: Path, version: str) -> None:
    image = mobilenet_state()
    state = network(image, version, 1024)
    checkpoint, vocabulary = write(tmp_path, state)
    report = import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary)
    mobilenet_check(tmp_path, image, state, version)
    sources = " ".join(line.source for line in report.lines)
    assert all(name in sources for name in state)
    assert [line.source for line in report.lines if line.target is None] == ["W"]


@pytest.mark.parametrize("block", [0, 6, 13])
def test_activations_end_at_6(tmp_path: Path, block: int) -> None:
    """A block whose batch norms scale by 8 passes that limit; in all of them, rounding would grow too."""
    image = mobilenet_state()
    names = [name for name in (f"model.{block}.1.weight", f"model.{block}.4.weight") if name in image]
    image |= {name: 8 * image[name] for name in names}
    state = network(image, "last", 1024)
    checkpoint, vocabulary = write(tmp_path, state)
    import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary)
    mobilenet_check(tmp_path, image, state)


@pytest.mark.parametrize("asked", [None, True, False])
def test_the_average_of_the_weights_is_imported_unless_the_last_ones_are_wanted(
    tmp_path: Path, asked: bool | None
) -> None:
    """network_ema holds what is trained, and no statistics of batch norms; test.py lays it over network."""
    last, mean = mobilenet_state(), mobilenet_state()
    state, averaged = network(last, "last", 1024), network(mean, "last", 1024)
    trained = {name: tensor for name, tensor in averaged.items() if "running" not in name}
    checkpoint, vocabulary = write(tmp_path, state, trained)
    report = import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary, average=asked)
    told = json.loads((tmp_path / "out" / "import.json").read_text())
    kept = {name: tensor for name, tensor in last.items() if "running" in name}
    if asked is False:
        mobilenet_check(tmp_path, last, state)
        assert (told["weights_from"], "--ema imports" in " ".join(report.notes)) == ("network", True)
    else:
        mobilenet_check(tmp_path, mean | kept, state | trained)
        assert (told["weights_from"], "--no-ema" in " ".join(report.notes)) == ("network_ema", True)


def test_an_average_that_is_not_there_cannot_be_imported(tmp_path: Path) -> None:
    checkpoint, vocabulary = write(tmp_path, network(resnet_state((1, 1, 1, 1)), "last", 128))
    with pytest.raises(
        ValueError, match=r"holds no running average of its weights \(network_ema\); leave --ema"
    ):
        import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary, average=True)
    assert (
        "weights_from"
        not in import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary).to_dict()
    )


def test_resnet_scores_as_published(tmp_path: Path) -> None:
    depths = (2, 1, 2, 1)
    image = resnet_state(depths) | {"fc.weight": random(10, 128), "fc.bias": random(10)}
    state = network(image, "last", 128)
    checkpoint, vocabulary = write(tmp_path, state)
    report = import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary)
    pictures, values = picture_batch()
    with torch.no_grad():
        found = resnet(values, {name: tensor.double() for name, tensor in image.items()}, depths)
    check(tmp_path, state, "last", found, pictures)
    unused = [line.source for line in report.lines if line.target is None]
    assert unused == ["module.image_model.fc.weight", "module.image_model.fc.bias", "W"]


def test_the_vocabulary_must_fit(tmp_path: Path) -> None:
    checkpoint, vocabulary = write(tmp_path, network(resnet_state((1, 1, 1, 1)), "last", 128))
    with pytest.raises(
        ValueError, match=r"give the vocabulary .* the word_to_index\.pkl that the port's preprocess"
    ):
        import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out")
    vocabulary.write_bytes(pickle.dumps({f"w{n}": n for n in range(ROWS)}))
    with pytest.raises(
        ValueError, match=r"has 14 words, but the word table .* has 14 rows, of which one is for"
    ):
        import_checkpoint(checkpoint, "cmpl-pytorch", tmp_path / "out", vocabulary)
    assert not (tmp_path / "out").exists()
