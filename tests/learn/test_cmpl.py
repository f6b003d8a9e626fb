"""CMPL from pixels, small: its losses learn, in one stage or two, and a stopped run goes on bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.same_run import assert_same_run

from wordsight.builder import Builder
from wordsight.config import Config, load_config
from wordsight.learn.loss import Loss
from wordsight.learn.optimizers import make_optimizer, named_weights
from wordsight.learn.settings import Training
from wordsight.matcher import Matcher
from wordsight.runs.measuring import measure
from wordsight.runs.training import train

PICTURES = {"size": {"height": 64, "width": 64}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
RECIPES = ("cmpl-f30k-resnet152", "cmpl-f30k-mobilenet", "cmpl-coco-resnet152", "cmpl-cuhk-pedes-mobilenet")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small ResNet with random weights, in the layout in which models are published."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic"
    )
    transformers.ResNetModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    return str(folder)


def small(recipe: str, resnet: str, loss: dict[str, Any] | None = None, **training: Any) -> Config:
    """A published recipe with a small network and vectors, on 40 pictures of the generated world."""
    tables = {name: dict(table) for name, table in load_config(recipe).tables.items()}
    projection = {"dim": 32, "eps": tables["image_encoder"]["projection"]["eps"]}
    tables["data"] = {"name": "world", "images": 40, "validation": "train", "test": "train"}
    tables["reader"] = {"name": "model-pixels", "model": resnet}
    tables["vocabulary"] = {"min_count": 1}
    tables["image_encoder"] |= {"model": resnet, "dim": 32, "projection": projection}
    tables["text_encoder"] |= {"word_dim": 32, "dim": 64, "projection": projection, "dropout": 0.1}
    tables["loss"] |= loss or {}
    tables["training"] |= {"batch_size": 20, "device": "cpu", "workers": 0, "seed": 1} | training
    return Config(tables)


@pytest.mark.parametrize("cmpc", [0.0, 1.0], ids=["CMPM", "CMPM + CMPC"])
def test_it_learns_from_pixels(resnet: str, tmp_path: Path, cmpc: float) -> None:
    settings = {"epochs": 7, "learning_rate": 3e-3, "ema": 0.9, "flip_pictures": 0.0}
    config = small("cmpl-cuhk-pedes-mobilenet", resnet, {"cmpc": cmpc}, **settings)
    history = train(config, tmp_path / "run")
    losses = [epoch["loss"] for epoch in history.epochs]
    assert losses[-1] < 0.8 * losses[0]
    assert losses == sorted(losses, reverse=True)
    best = Matcher.from_pretrained(tmp_path / "run/best")
    recalls = measure(config, best, Builder(config).pairs("train"), protocol="all", intervals=False)
    assert min(recalls.i2t.recall[1], recalls.t2i.recall[1]) > 15  # chance is 2.5
    assert not any(name.startswith("loss") for name in load_file(tmp_path / "run/best/weights.safetensors"))


def test_two_stages_go_on_to_the_same_bits(resnet: str, tmp_path: Path) -> None:
    stages = {"frozen_epochs": {"image_encoder.backbone": 1}, "milestones": [1], "learning_rate": 1e-3}
    whole = small("cmpl-f30k-resnet152", resnet, epochs=2, **stages)
    train(whole, tmp_path / "whole")
    train(small("cmpl-f30k-resnet152", resnet, epochs=1, **stages), tmp_path / "run")
    frozen = load_file(tmp_path / "run/last/weights.safetensors")
    train(whole, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    published = transformers.AutoModel.from_pretrained(resnet).state_dict()
    trained = load_file(tmp_path / "run/last/weights.safetensors")
    for name, start in published.items():
        if start.is_floating_point():
            assert torch.equal(frozen[f"image_encoder.backbone.{name}"], start)
            assert not torch.equal(trained[f"image_encoder.backbone.{name}"], start)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_the_published_arrangement(recipe: str, resnet: str) -> None:
    config = small(recipe, resnet)
    pairs = Builder(config).pairs("train").numbered()
    matcher = Builder(config).matcher(pairs)
    loss = Builder(config).loss(pairs, matcher)
    assert (matcher.tokenizer.finish([]), loss.classes, loss.dim) == ([1], 40, 32)
    assert matcher.image_encoder.linear is None
    assert matcher.encode_images(pairs.images.read([0, 1])).vectors.shape == (2, 1, 32)
    assert matcher.encode_texts(pairs.texts[:3]).vectors.shape == (3, 1, 32)
    settings = load_config(recipe).training
    assert (settings.optimizer, settings.eps, settings.clip, settings.ema) == ("adam", 1e-8, 0.0, 0.9999)
    assert penalized(matcher, loss, settings) == {
        name
        for name, _ in matcher.named_parameters()
        if name.startswith("image_encoder.backbone.") or name.endswith("joint_layer.linear.weight")
    }


def penalized(matcher: Matcher, loss: Loss, settings: Training) -> set[str]:
    """The weights that have an L2 penalty."""
    weights = named_weights(matcher, loss)
    groups = make_optimizer(weights, settings).param_groups
    some = {id(weight) for group in groups if group["weight_decay"] for weight in group["params"]}
    return {name for name, weight in weights.items() if id(weight) in some}
