"""CMPL as its authors publish it: the network and its checkpoint."""

import pickle
from pathlib import Path
from typing import Any

import torch
from support.published_checkpoints import State, random

RANKED = [
    "a",
    "and",
    "<START>",
    "black",
    "<END>",
    "The",
    "the",
    "tshirt",
    "wears",
    "man",
]  # by how often they are seen
ROWS, WORD, UNITS, JOINT = 14, 6, 5, 7


def text_state(version: str) -> State:
    starts = {"last": ["0.weight_{}_l0", "1.weight_{}_l0"], "first": ["weight_{}_l0", "weight_{}_l0_reverse"]}
    weights = {
        f"bilstm.bilstm.{name.format(kind)}": random(4 * UNITS, width)
        for name in starts[version]
        for kind, width in (("ih", WORD), ("hh", UNITS))
    }
    return {"bilstm.embed.weight": random(ROWS, WORD), **weights}


def network(image: State, version: str, channels: int) -> State:
    start = {"last": "image_model.", "first": "mobilenet_v1."}[version]
    projection = {"conv_images.weight": random(JOINT, channels, 1, 1), "conv_images.bias": random(JOINT)}
    projection |= {"conv_text.weight": random(JOINT, 2 * UNITS, 1, 1), "conv_text.bias": random(JOINT)}
    state = {f"{start}{name}": tensor for name, tensor in image.items()} | text_state(version) | projection
    return {f"module.{name}": tensor for name, tensor in state.items()}


def write(tmp_path: Path, state: State, average: State | None = None) -> tuple[Path, Path]:
    """The file of the port: no options, an optimizer's state, the classes beside the network."""
    content: dict[str, Any] = {"network": state, "W": torch.nn.Parameter(random(JOINT, 4)), "epoch": 299}
    content |= {} if average is None else {"network_ema": average}
    content["optimizer"] = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    torch.save(content, tmp_path / "299.pth.tar")
    (tmp_path / "word_to_index.pkl").write_bytes(pickle.dumps({word: n for n, word in enumerate(RANKED)}))
    return tmp_path / "299.pth.tar", tmp_path / "word_to_index.pkl"
