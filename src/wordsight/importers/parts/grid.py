"""The grid side of VSE-infinity in: a ResNet as Caffe has it, under three names; our parts and names out."""

from typing import Any

import torch

from wordsight.errors import InputError
from wordsight.importers.checkpoint_reader import Published, Weight
from wordsight.importers.parts import cnn
from wordsight.importers.system import Given, Tables, positive
from wordsight.importers.weight_map import Rule

CNN = "img.backbone.resnet."
ALIASES = {  # of the same weights, which the file holds twice
    "img.backbone.base.0.": "conv1.",
    "img.backbone.base.1.": "bn1.",
    "img.backbone.base.4.": "layer1.",
    "img.backbone.base.5.": "layer2.",
    "img.backbone.base.6.": "layer3.",
    "img.backbone.top.0.": "layer4.",
}
RULES = (
    Rule("img.image_encoder.fc.", "image_encoder.linear."),
    Rule("img.image_encoder.gpool.", "image_encoder.pool."),
    Rule("image_encoder.backbone.", "image_encoder.backbone."),
    Rule(f"{CNN}fc.", None, "the classifier of ImageNet, which no cell passes through"),
    *(
        Rule(start, None, f"the same weights as those of resnet.{name[:-1]}")
        for start, name in ALIASES.items()
    ),
)
DETECTOR = ("detector", "vsepp_detector")
CAFFE_MEAN = (122.7717, 115.9465, 102.9801)  # red, green, blue, of 255; nothing is divided by
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet's pictures
NOTES = (
    "pictures are resized by Pillow here, by OpenCV there: bilinear both, but their pixels differ a little",
)


def parts(published: Published, given: Given) -> Tables:
    """The [reader] and [image_encoder] tables; the network's strides are on the 1 x 1 convolutions."""
    config = cnn.resnet(published, CNN)[1]
    config |= {"downsample_in_bottleneck": True, "unpadded_pooling": True}
    image = {
        "name": "backbone", "model": cnn.write_config(config, given.work), "pretrained": False,
        "dim": published.size("img.image_encoder.fc.weight", 2)[0], "batch_norm": "frozen", "drop_cells": 0.2,
    }  # fmt: skip
    return {"reader": _reader(published), "image_encoder": image}


def _reader(published: Published) -> dict[str, Any]:
    if published.options is None:
        return {}
    side = round(256 * positive(published, "input_scale_factor", 1.0))
    if not _is_detector(published):
        return {"name": "pixels", "size": side, "mean": MEAN, "std": STD}
    return {"name": "pixels", "size": side, "mean": [part / 255 for part in CAFFE_MEAN], "std": [1 / 255] * 3}


def _is_detector(published: Published) -> bool:
    return published.option("backbone_source", "detector") in DETECTOR


def renamed(published: Published) -> Published:
    """The network under transformers' names; the detector's, which sees blue before red, turned around."""
    _check(published)
    names = cnn.resnet(published, CNN)[0]
    weights = {
        f"image_encoder.backbone.{names[name]}" if name in names else name: weight
        for name, weight in published.weights.items()
    }
    first = published.weights[f"{CNN}conv1.weight"]
    if _is_detector(published):
        turned = Weight(f"{first.source}, red before blue", first.tensor.flip(1))
        weights["image_encoder.backbone.embedder.embedder.convolution.weight"] = turned
    return published.with_weights(weights)


def _check(published: Published) -> None:
    """ResNeXt has groups, which transformers' ResNet has not; and the two names must be of one network."""
    outputs, inputs = published.size(f"{CNN}layer1.0.conv2.weight", 4)[:2]
    if inputs != outputs:
        raise InputError(
            f"{published.path} looks at grids through a ResNeXt, which transformers does not load; models of "
            "regions, and grids of a ResNet, can be imported"
        )
    for name, weight in published.weights.items():
        for start, own in ALIASES.items():
            twin = published.weights.get(f"{CNN}{own}{name.removeprefix(start)}")
            if name.startswith(start) and (twin is None or not torch.equal(weight.tensor, twin.tensor)):
                raise InputError(
                    f"{published.path} holds two networks: {weight.source} is not what is under resnet; "
                    "which of them is the model's is not known"
                )
