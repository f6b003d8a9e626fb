"""The networks of PyTorch code under their usual names in; transformers' names and config.json out."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight.importers.checkpoint_reader import Published

KINDS = {"conv": "convolution", "bn": "normalization"}


def write_config(config: Mapping[str, Any], work: Path) -> str:
    """The folder of an architecture without weights, which an encoder is built from."""
    folder = work / "cnn"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def is_mobilenet(published: Published, start: str) -> bool:
    return published.has(f"{start}model.0.0.")


def mobilenet(published: Published, start: str) -> tuple[dict[str, str], dict[str, Any]]:
    """MobileNet v1 as a list of blocks (convolution, batch norm, ReLU, once or twice): new names, config."""
    names = {}
    for name in published.weights:
        found = re.fullmatch(rf"{re.escape(start)}model\.(\d+)\.(\d+)\.(\w+)", name)
        if found:
            block, place, part = int(found[1]), int(found[2]), found[3]
            kind = ("convolution", "normalization")[place % 3]
            layer = "conv_stem" if block == 0 else f"layer.{2 * block - 2 + place // 3}"
            names[name] = f"{layer}.{kind}.{part}"
    # PyTorch code pads both sides alike, and its norms add 1e-5; its ReLUs end at 6, as TensorFlow's do.
    config = {
        "model_type": "mobilenet_v1", "tf_padding": False, "hidden_act": "relu6", "layer_norm_eps": 1e-5,
    }  # fmt: skip
    return names, config


def resnet(published: Published, start: str) -> tuple[dict[str, str], dict[str, Any]]:
    """A ResNet of any depth under torchvision's names: new names, config."""
    names: dict[str, str] = {}
    depths = [0, 0, 0, 0]
    for name in published.weights:
        inner = name.removeprefix(start) if name.startswith(start) else ""
        if stem := re.fullmatch(r"(conv|bn)1\.(\w+)", inner):
            names[name] = f"embedder.embedder.{KINDS[stem[1]]}.{stem[2]}"
        elif found := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)\.(\w+)", inner):
            stage, layer = int(found[1]) - 1, int(found[2])
            depths[stage] = max(depths[stage], layer + 1)
            names[name] = f"encoder.stages.{stage}.layers.{layer}.{_place(found[3])}.{found[4]}"
    return names, {"model_type": "resnet", "depths": depths, **_shapes(published, start)}


def _place(name: str) -> str:
    """conv2 -> layer.1.convolution, bn2 -> layer.1.normalization; downsample.0 and .1 are the shortcut's."""
    if name.startswith("downsample."):
        return f"shortcut.{('convolution', 'normalization')[int(name[-1])]}"
    return f"layer.{int(name[-1]) - 1}.{KINDS[name[:-1]]}"


def _shapes(published: Published, start: str) -> dict[str, Any]:
    bottleneck = f"{start}layer1.0.conv3.weight" in published.weights
    last = "conv3" if bottleneck else "conv2"
    return {
        "layer_type": "bottleneck" if bottleneck else "basic",
        "embedding_size": published.size(f"{start}conv1.weight", 4)[0],
        "hidden_sizes": [published.size(f"{start}layer{n}.0.{last}.weight", 4)[0] for n in (1, 2, 3, 4)],
    }
