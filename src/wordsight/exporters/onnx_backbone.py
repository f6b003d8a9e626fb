"""A reader with a backbone of transformers -> its network as ONNX, and the table of a reader that runs it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wordsight.errors import InputError
from wordsight.exported import FOLDER
from wordsight.exporters.onnx_graphs import write_graph
from wordsight.pretrained import feature_maps, naflex
from wordsight.pretrained.models import patches
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.backbones import TransformersBackbone
from wordsight.read.pictures.onnx_backbone import OnnxBackbone
from wordsight.read.pictures.pixel_reader import FrameReader

NAME = "backbone"
MAX_DIFFERENCE = 1e-4  # of a map, as a share of its largest value


class _Map(nn.Module):
    """The network's last map, laid out as it lies in the picture."""

    def __init__(self, network: nn.Module, cut: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.cut = network, cut

    def forward(self, values: Tensor) -> Tensor:
        states = self.network(pixel_values=values).last_hidden_state
        return feature_maps.feature_map(states, self.cut)


def export_reader(reader: Any, table: dict[str, Any], folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The table of a reader that needs no torch, or None and the reason; a network goes to ``folder``."""
    if isinstance(reader, FrameReader):
        return table, ""
    if not isinstance(reader, BackboneReader):
        return None, f"its reader, {type(reader).__name__}, reads stored features, no pictures"
    reason = _reason(reader)
    if reason:
        return None, reason
    if isinstance(reader.backbone, OnnxBackbone):
        return table, ""
    _write(reader, folder / f"{NAME}.onnx")
    plain = {"model": f"{FOLDER}/{NAME}.onnx", "revision": None, "size": None, "fit": "squash"}
    return table | plain, ""


def _reason(reader: BackboneReader) -> str:
    """Why a reader's network cannot be one file; empty if it can."""
    options = reader.options
    if options.detector is not None and not options.detector.endswith(".onnx"):
        return f"its detector {Path(options.detector).name} runs in torch"
    if isinstance(reader.backbone, OnnxBackbone):
        return ""
    if not isinstance(reader.backbone, TransformersBackbone):
        return f"its backbone {type(reader.backbone).__name__} runs in torch"
    if naflex.is_naflex(reader.backbone.network.config):
        return "its backbone reads each picture in its own shape"
    if list(options.layers) != ["last"]:
        return f"its reader takes layers = {list(options.layers)}, and an ONNX backbone has only the last"
    if options.precision != "float32":
        return f"its reader computes in {options.precision}"
    if options.high_res_size is not None or reader.backbone.other_sizes:
        return "its reader shows pictures in other sizes than the published one"
    return ""


def _write(reader: BackboneReader, path: Path) -> None:
    """The network at its own size, and its JSON. Raises InputError if it computes something else."""
    backbone, pixels = reader.backbone, reader.pixels
    assert isinstance(backbone, TransformersBackbone)
    cut = patches(backbone.network.config, *pixels.square)
    example = torch.rand(2, 3, *pixels.square, generator=torch.Generator().manual_seed(0))
    axes = {"pixels": {0: "image"}, "map": {0: "image"}}
    write_graph(_Map(backbone.network, cut), [example], path, ["pixels"], ["map"], axes)
    settings = {key: value for key, value in pixels.settings.items() if value not in (None, False)}
    path.with_suffix(".json").write_text(
        json.dumps(settings | {"output": "map"}, indent=2) + "\n", encoding="utf-8"
    )
    right = backbone.maps(example[:1], ["last"], "float32")[0]
    written = OnnxBackbone(path).maps(example[:1], ["last"], "float32")[0]
    difference = float((right - written).abs().max() / right.abs().max().clamp_min(1e-12))
    if not difference <= MAX_DIFFERENCE:
        raise InputError(
            f"the exported backbone differs from torch by {difference:.1e} of its largest value; the limit "
            f"is {MAX_DIFFERENCE:.0e}",
            "index pictures with torch",
        )
