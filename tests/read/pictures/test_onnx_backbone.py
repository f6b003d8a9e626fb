"""Backbones in ONNX files: the features of the exported network, and its JSON, layouts and faults."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from wordsight.errors import InputError
from wordsight.pretrained.models import MissingModel, load_vision
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.onnx_backbone import IMAGENET, OnnxBackbone
from wordsight.read.pictures.onnx_session import open_session

pytest.importorskip("onnxruntime", reason="ONNX files are read where wordsight[onnx] is installed")
onnx = pytest.importorskip("onnx", reason="makes the networks of these tests")

MOBILENET = Path(os.environ.get("WORDSIGHT_DATA", "../shared/data")) / "weights" / "mobilenet_v2_1.0_224"


def stripes(path: Path, shape: str = "batch,3,8,8", node: str = "channels first") -> Path:
    """A network that returns its pictures at half the size: the mean of 2 x 2 pixels."""
    from onnx import TensorProto, helper

    dims = [int(side) if side.isdigit() else side for side in shape.split(",")]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    if node == "channels first":
        nodes = [helper.make_node("AveragePool", ["images"], ["map"], **pool)]
    else:
        nodes = [
            helper.make_node("Transpose", ["images"], ["a"], perm=[0, 3, 1, 2]),
            helper.make_node("AveragePool", ["a"], ["b"], **pool),
            helper.make_node("Transpose", ["b"], ["map"], perm=[0, 2, 3, 1]),
        ]
    nodes.append(helper.make_node("GlobalAveragePool", ["map"], ["pooled"]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, dims)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("map", "pooled")
    ]
    graph = helper.make_graph(nodes, "stripes", [images], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def describe(path: Path, **settings: Any) -> None:
    path.with_suffix(".json").write_text(json.dumps(settings))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)


def expected(picture: np.ndarray, mean: Any, std: Any) -> np.ndarray:
    """The cells of the network ``stripes``, row by row: the mean of 2 x 2 normalized pixels."""
    values = (picture / 255 - mean) / std
    return np.asarray(values.reshape(4, 2, 4, 2, 3).mean((1, 3)).reshape(16, 3), np.float32)


@pytest.mark.parametrize("shape", ["batch,3,8,8", "1,3,8,8", "batch,3,height,width"])
def test_regions_are_the_cells_of_the_map(tmp_path: Path, picture: np.ndarray, shape: str) -> None:
    path = stripes(tmp_path / "net.onnx", shape)
    describe(path, size=8, mean=[0.5] * 3, std=[0.25] * 3)
    regions = BackboneReader(str(path))([picture, picture[::-1].copy()])
    assert regions.features.shape == (2, 16, 3)
    for row, given in enumerate((picture, picture[::-1])):
        np.testing.assert_allclose(regions.features[row], expected(given, 0.5, 0.25), atol=1e-5)
    assert regions.boxes is not None
    assert regions.boxes[0, 1].tolist() == [0.25, 0, 0.5, 0.25]


def test_without_a_json_the_size_is_the_files_and_the_normalization_imagenets(
    tmp_path: Path, picture: np.ndarray
) -> None:
    features = BackboneReader(str(stripes(tmp_path / "net.onnx")))([picture]).features[0]
    np.testing.assert_allclose(features, expected(picture, IMAGENET["mean"], IMAGENET["std"]), atol=1e-5)


def test_channels_last(tmp_path: Path, picture: np.ndarray) -> None:
    path = stripes(tmp_path / "net.onnx", "batch,8,8,3", "channels last")
    describe(path, mean=[0] * 3, std=[1] * 3, output="map")
    np.testing.assert_allclose(
        BackboneReader(str(path))([picture]).features[0], expected(picture, 0, 1), atol=1e-5
    )


def test_blue_before_red(tmp_path: Path, picture: np.ndarray) -> None:
    path = stripes(tmp_path / "net.onnx")
    describe(path, mean=[0] * 3, std=[1] * 3, channels="bgr")
    features = BackboneReader(str(path))([picture]).features[0]
    np.testing.assert_allclose(features, expected(picture, 0, 1)[:, ::-1], atol=1e-5)


def test_a_saved_reader_is_whole(tmp_path: Path, picture: np.ndarray) -> None:
    path = stripes(tmp_path / "net.onnx")
    describe(path, mean=[0.1] * 3)
    reader = BackboneReader(str(path), grid=[1, 2])
    settings, identity = reader.save(tmp_path / "model"), reader.identity
    path.unlink()
    again = BackboneReader(**settings | {"model": str(tmp_path / "model" / settings["model"])})
    torch.testing.assert_close(again([picture]).features, reader([picture]).features)
    assert again.identity == identity
    describe(tmp_path / "model" / "reader" / "backbone.onnx", mean=[0.2] * 3)
    changed = BackboneReader(**settings | {"model": str(tmp_path / "model" / settings["model"])})
    assert changed.identity != identity


@pytest.mark.data
@pytest.mark.filterwarnings("ignore")  # of torch's exporter
def test_an_exported_network_has_the_features_of_the_original(tmp_path: Path) -> None:
    """MobileNetV2 by onnxruntime and by transformers, on photographs."""

    class Map(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = load_vision(MOBILENET)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.network(pixel_values=images).last_hidden_state
            return found

    path = tmp_path / "mobilenet.onnx"
    torch.onnx.export(Map(), (torch.zeros(1, 3, 224, 224),), path, input_names=["images"], dynamo=False,
                      dynamic_axes={"images": {0: "batch"}})  # fmt: skip
    describe(path, mean=[0.5] * 3, std=[0.5] * 3, resample="bilinear")
    photographs = sorted((MOBILENET.parents[1] / "flickr8k" / "images").iterdir())[:3]
    theirs = BackboneReader(str(MOBILENET), grid=[1, 3], signed_sqrt=True)
    ours = BackboneReader(str(path), grid=[1, 3], signed_sqrt=True)
    torch.testing.assert_close(ours(photographs).features, theirs(photographs).features, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(ours(photographs).boxes, theirs(photographs).boxes)


@pytest.mark.parametrize(
    ("settings", "description", "fault"),
    [
        ({}, {"colour": 1}, "'colour'; known"),
        ({}, {"channels": "grey"}, "channels 'grey'"),
        ({}, {"output": "nothing"}, "no output 'nothing'; it has map, pooled"),
        ({}, {"size": 16}, "8 x 8 pixels, not of size = 16"),
        ({}, {"mean": [1]}, "mean"),
        ({"layers": [-1]}, {}, 'only "last"'),
        ({"precision": "bfloat16"}, {}, "precision"),
        ({"fit": "published"}, {}, "whole picture"),
        ({"grid": 5}, {}, "4 x 4 cells"),
    ],
)
def test_faults_say_what_is_known(
    tmp_path: Path, settings: dict[str, Any], description: dict[str, Any], fault: str
) -> None:
    path = stripes(tmp_path / "net.onnx")
    describe(path, **description)
    with pytest.raises(InputError, match=fault):
        BackboneReader(str(path), **settings)


def test_an_open_size_needs_the_json(tmp_path: Path) -> None:
    path = stripes(tmp_path / "net.onnx", "batch,3,height,width")
    with pytest.raises(InputError, match=r"net\.json"):
        BackboneReader(str(path))
    assert BackboneReader(str(path), size=8).native == (4, 4)


def test_files_that_are_no_network(tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match="there is no file"):
        OnnxBackbone(tmp_path / "none.onnx")
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        OnnxBackbone(tmp_path / "torn.onnx")


@pytest.mark.parametrize("kind", ["above the folder", "absolute", "a link"])
def test_weights_in_another_folder_are_not_read(tmp_path: Path, kind: str) -> None:
    """A model made by others opens no file but its own."""
    from onnx import TensorProto, helper

    secret, folder = tmp_path / "secret.bin", tmp_path / "model"
    folder.mkdir()
    secret.write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(secret)
    place = {"above the folder": "../secret.bin", "absolute": str(secret), "a link": "link.bin"}[kind]
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", place), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "sum", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        open_session(folder / "net.onnx")


def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The runtime would try again on its own, and say so on stdout, where answers are."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString().replace(b"Relu", b"R\x85lu"))
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        open_session(tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")
