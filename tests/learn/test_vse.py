"""VSE++ and VSE-infinity, small: their recipes learn from features and, in stages, from pixels."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.world_texts import WORDS, texts_of

from wordsight.builder import Builder
from wordsight.config import Config, configs_folder, load_config
from wordsight.matcher import Matcher
from wordsight.read.export.precomputed import write_precomp
from wordsight.runs.measuring import measure_model
from wordsight.runs.training import train

REGIONS = [f"vse-infinity-{data}-{text}" for data in ("f30k", "coco") for text in ("gru", "bert")]
PIXELS = [f"vse-infinity-{data}-grid-{text}" for data in ("f30k", "coco") for text in ("gru", "bert")]
PIXELS += ["vsepp-f30k-cnn", "vsepp-coco-cnn"]
VECTORS = ["vsepp-f30k", "vsepp-coco"]
IMAGES = 18
BERT = {
    "model_type": "bert", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
PICTURES = {"size": {"shortest_edge": 64}, "crop_pct": 0.875, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of regions, features of whole images, and two published models with random weights."""
    home = tmp_path_factory.mktemp("published")
    random = np.random.default_rng(0)
    texts, ids = [texts_of(row) for row in range(IMAGES)], [str(row) for row in range(IMAGES)]
    write_precomp(
        home / "regions", "train", random.normal(size=(IMAGES, 6, 12)).astype(np.float32), texts, ids
    )
    (home / "vectors").mkdir()
    np.save(home / "vectors" / "train_ims.npy", random.normal(size=(IMAGES, 24)).astype(np.float32))
    lines = [text for row in texts for text in row]
    (home / "vectors" / "train_caps.txt").write_text("\n".join(lines) + "\n")
    _publish(home)
    return home


def _publish(home: Path) -> None:
    (home / "bert").mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", *WORDS]
    (home / "bert" / "vocab.txt").write_text("\n".join(pieces))
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(home / "bert")
    resnet = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic"
    )
    transformers.ResNetModel(resnet).save_pretrained(home / "resnet")
    (home / "resnet" / "preprocessor_config.json").write_text(json.dumps(PICTURES))


def small(recipe: str, home: Path, changes: tuple[str, ...] = (), **training: Any) -> Config:
    """A published recipe with small networks, on 18 images of the tests or 24 pictures of the world."""
    loaded = load_config(recipe, changes)
    tables = {name: dict(table) for name, table in loaded.tables.items()}
    splits = {"train": "train", "validation": "train", "test": "train"}
    tables["evaluation"]["protocol"] = "all"
    if recipe in PIXELS:
        tables["data"] = {"name": "world", "images": 24, **splits}
        tables["reader"] |= {"model": str(home / "resnet"), "size": 64}
        tables["image_encoder"] |= {"model": str(home / "resnet")}
    else:
        folder = "vectors" if recipe in VECTORS else "regions"
        tables["data"] = {"name": "precomp", "path": str(home / folder), **splits}
    tables["image_encoder"]["dim"] = 16
    if tables["text_encoder"]["name"] == "bert":
        tables["text_encoder"]["model"] = tables["tokenizer"]["model"] = str(home / "bert")
    else:
        tables["text_encoder"]["word_dim"] = 8
        del tables["tokenizer"]["vocabulary"]
        tables["vocabulary"] = {"min_count": 1}
    usual = {"batch_size": 18, "milestones": [], "device": "cpu", "workers": 0, "seed": 1}
    tables["training"] |= usual | training
    return Config(tables, loaded.source)


def head(recipe: str) -> str:
    return (configs_folder() / f"{recipe}.toml").read_text().split("[data]")[0]


def variants(recipe: str) -> dict[str, tuple[str, ...]]:
    """What the head of a recipe says of other variants: their --set options."""
    lines = re.sub(r"\\\n#\s*", "", head(recipe)).splitlines()
    told = [line.split() for line in lines if "--set" in line]
    return {words[1]: tuple(words[3::2]) for words in told}


@pytest.mark.parametrize("recipe", REGIONS + PIXELS + VECTORS)
def test_published_numbers_add_up(recipe: str) -> None:
    rows = re.findall(
        r"((?:\d+\.\d ){3}\| (?:\d+\.\d ){3}).*rsum (\d+\.\d)", head(recipe).replace("   ", " ")
    )
    assert rows
    for numbers, rsum in rows:
        assert sum(map(float, numbers.replace("|", "").split())) == pytest.approx(float(rsum), abs=0.05)


@pytest.mark.parametrize("variant", ["VSE++", "VSE0", "Order++", "Order0"])
def test_the_four_of_vsepp_learn_from_one_vector_per_image(variant: str, home: Path, tmp_path: Path) -> None:
    told = variants("vsepp-f30k")
    assert set(told) == {"VSE0", "Order++", "Order0"}
    config = small("vsepp-f30k", home, told.get(variant, ()), epochs=12, learning_rate=2e-2)
    assert config.complete().tables["similarity"]["name"] == ("cosine" if "VSE" in variant else "order")
    assert variants("vsepp-coco-cnn") == told
    train(config, tmp_path / "run")
    measured = measure_model(str(tmp_path / "run"), None, (), "test", {})
    assert measured.recalls.rsum > 300  # chance is about 180
    matcher = Matcher.from_pretrained(tmp_path / "run/best")
    assert not matcher.text_encoder.options.bidirectional
    assert matcher.encode_texts(["a red dog"]).vectors.shape == (1, 1, 16)


@pytest.mark.parametrize("recipe", ["vse-infinity-f30k-gru", "vse-infinity-f30k-bert"])
def test_vse_infinity_learns_from_regions(recipe: str, home: Path, tmp_path: Path) -> None:
    config = small(recipe, home, epochs=12, learning_rate=2e-2, drop_words=0.05)
    train(config, tmp_path / "run")
    measured = measure_model(str(tmp_path / "run"), None, (), "test", {})
    assert measured.recalls.rsum > 300
    start, end = (
        Builder(config).matcher(Builder(config).pairs("train")),
        Matcher.from_pretrained(tmp_path / "run/best"),
    )
    for encoder in ("image_encoder", "text_encoder"):  # both pools are learned
        sizes = torch.tensor([6])
        before, after = (getattr(one, encoder).pool.weights(sizes, 6) for one in (start, end))
        assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("recipe", [recipe for recipe in PIXELS if "f30k" in recipe])
def test_recipes_from_pixels_train_in_their_stages(recipe: str, home: Path, tmp_path: Path) -> None:
    """One epoch with the network frozen, one with all weights, on pictures that are cut and mirrored."""
    stages = {"frozen_epochs": {"image_encoder.backbone": 1}, "learning_rate": 1e-3}
    assert list(load_config(recipe).training.frozen_epochs) == ["image_encoder.backbone"]
    train(small(recipe, home, epochs=1, **stages), tmp_path / "run")
    published = transformers.AutoModel.from_pretrained(home / "resnet").state_dict()
    learned = {name for name in published if name.endswith(("weight", "bias"))}
    norms = {name for name in learned if "normalization" in name}
    weights = load_file(tmp_path / "run/last/weights.safetensors")
    assert all(torch.equal(weights[f"image_encoder.backbone.{name}"], published[name]) for name in learned)
    train(small(recipe, home, epochs=2, **stages), tmp_path / "run", resume=True)
    weights = load_file(tmp_path / "run/last/weights.safetensors")
    same = {
        name for name in learned if torch.equal(weights[f"image_encoder.backbone.{name}"], published[name])
    }
    assert same == (norms if "infinity" in recipe else set())  # there batch norms stay as published
    assert Matcher.from_pretrained(tmp_path / "run/best").image_encoder.dim == 16


@pytest.mark.parametrize("recipe", PIXELS)
def test_grids_have_many_cells_and_vsepp_one(recipe: str, home: Path) -> None:
    config = small(recipe, home)
    pairs = Builder(config).pairs("train")
    matcher = Builder(config).matcher(pairs).eval()
    encoder = matcher.image_encoder
    assert matcher.encode_images(pairs.images.read([0, 1])).vectors.shape == (2, 1, 16)
    assert encoder.options.normalize_input == ("vsepp" in recipe)
    assert matcher.reader.keep_aspect == ("vsepp" in recipe)
    encoder.pool = None
    cells = matcher.encode_images(pairs.images.read([0])).vectors.shape[1]
    assert cells == (1 if "vsepp" in recipe else 64)


@pytest.mark.parametrize("recipe", REGIONS + VECTORS)
def test_recipes_are_the_published_arrangement(recipe: str, home: Path) -> None:
    config = small(recipe, home)
    matcher = Builder(config).matcher(Builder(config).pairs("train"))
    assert (matcher.image_encoder.residual is not None) == ("infinity" in recipe)
    loss, settings = (
        Builder(config).loss(Builder(config).pairs("train"), matcher),
        load_config(recipe).training,
    )
    assert (loss.margin, loss.negatives, loss.warmup_epochs) == (0.2, "hardest", int("infinity" in recipe))
    assert (settings.batch_size, settings.clip, settings.milestones) == (128, 2.0, [15])
    assert settings.learning_rate == (5e-4 if "infinity" in recipe else 2e-4)
