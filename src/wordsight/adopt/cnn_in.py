"""The networks of PyTorch code under their usual names in; transformers' names and config.json out."""

import re
from typing import Any

from wordsight.adopt.published import Published


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
    # PyTorch code pads both sides alike, does not cap its ReLUs at 6, and its norms add 1e-5.
    config = {
        "model_type": "mobilenet_v1", "tf_padding": False, "hidden_act": "relu", "layer_norm_eps": 1e-5,
    }  # fmt: skip
    return names, config


def resnet(published: Published, start: str) -> tuple[dict[str, str], dict[str, Any]]:
    """ResNet-50, -101 or -152 under torchvision's names: new names, config."""
    names: dict[str, str] = {}
    depths = [0, 0, 0, 0]
    for name in published.weights:
        inner = name.removeprefix(start)
        found = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)", inner)
        stem = re.fullmatch(r"(conv|bn)1\.(\w+)", inner)
        if inner != name and stem:
            names[name] = f"embedder.embedder.{_kind(stem[1])}.{stem[2]}"
        elif inner != name and found:
            stage, layer, kind, number, part = (
                int(found[1]) - 1,
                int(found[2]),
                found[3],
                int(found[4]),
                found[5],
            )
            depths[stage] = max(depths[stage], layer + 1)
            shortcut = kind == "downsample."
            what = _kind("bn" if number else "conv") if shortcut else _kind(kind)
            place = "shortcut" if shortcut else f"layer.{number - 1}"
            names[name] = f"encoder.stages.{stage}.layers.{layer}.{place}.{what}.{part}"
    return names, {
        "model_type": "resnet",
        "layer_type": "bottleneck",
        "depths": depths,
        **_widths(published, start),
    }


def _widths(published: Published, start: str) -> dict[str, Any]:
    stages = [published.size(f"{start}layer{stage}.0.conv3.weight")[0] for stage in (1, 2, 3, 4)]
    return {"embedding_size": published.size(f"{start}conv1.weight")[0], "hidden_sizes": stages}


def _kind(name: str) -> str:
    return {"conv": "convolution", "bn": "normalization"}[name]
