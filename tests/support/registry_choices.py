"""Every choice that makes another system, as tables of a configuration, and which may stand together.

``FACTORS`` names the choices of each factor; ``tables`` turns one of each into a configuration's tables for
pictures (or their regions) of one thing each on one of three grounds, and captions that name both.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import transformers
from PIL import Image
from support.pairwise import Row
from support.published_dual_encoders import publish_clip

from wordsight.encode.attention import LAYERS
from wordsight.read.export.precomputed import write_precomp
from wordsight.registry import REGISTRY
from wordsight.similarity.cross_attention import Normalize

THINGS = [
    "dog", "cat", "bird", "truck", "boat", "tree", "horse", "bench", "car", "ball", "hat", "lamp", "clock",
    "chair", "table", "cow", "sheep", "bike",
]  # fmt: skip
GROUNDS = ["grass", "sand", "snow"]
WORDS = ["a", "the", "on", "under", *THINGS, *GROUNDS]
CORNERS = np.array([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])
SIZE = 16  # pixels of a picture's sides; a cell has 8
DIM, JOINT = 32, 24
TINY_BERT = {
    "model_type": "bert", "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2,
}  # fmt: skip
PREPROCESSING = {"size": {"height": SIZE, "width": SIZE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
NONE = "none"

IMAGES: dict[str, dict[str, Any]] = {
    "regions": {"name": "regions"},
    **{f"regions, {layer}": {"name": "regions", "attention": layer, "heads": 2} for layer in LAYERS},
    "regions, MLP": {"name": "regions", "mlp": True, "positions": True, "normalize_input": True},
    "regions, backbone": {"name": "regions"},  # what a frozen network makes of the pictures
    "grid-cnn": {"name": "grid-cnn", "width": 8},
    "grid-cnn, surroundings": {"name": "grid-cnn", "width": 8, "context": "surroundings"},
    "backbone": {"name": "backbone"},
    "dual": {"name": "dual", "items": "both", "head": True},
}
TEXTS: dict[str, dict[str, Any]] = {
    "gru": {"name": "recurrent", "word_dim": DIM},
    "gru, one way": {"name": "recurrent", "word_dim": DIM, "bidirectional": False, "init": "uniform"},
    "gru, two layers": {"name": "recurrent", "word_dim": DIM, "merge": "concat", "layers": 2},
    "lstm": {
        "name": "recurrent", "word_dim": DIM, "cell": "lstm", "learned_start": True, "forget_bias": 1.0,
    },
    "bert": {"name": "bert", "pretrained": False},
    "bert, frozen, GRU": {
        "name": "bert", "pretrained": False, "freeze": True, "recurrent": True, "drop_states": 0.1,
        "cache_mb": 1,
    },
    "dual": {"name": "dual", "items": "both", "head": True},
}  # fmt: skip
SLOWER = 0.15
USES = {  # encoder -> the published model that it is
    "backbone": "resnet", "bert": "bert", "bert, frozen, GRU": "bert", "dual": "clip",
}  # fmt: skip
LOSSES: dict[str, dict[str, Any]] = {
    "triplet, hardest": {"name": "triplet"},
    "triplet, all": {"name": "triplet", "negatives": "all", "reduction": "mean"},
    "triplet, warm-up": {"name": "triplet", "warmup_epochs": 1, "ramp_epochs": 1},
    "info-nce": {"name": "info-nce", "temperature": 0.1},
    "info-nce, learned": {"name": "info-nce", "temperature": 0.2, "learn_temperature": True},
    "consistency": {"name": "consistency", "ranking": {"name": "triplet", "warmup_epochs": 1}, "weight": 2.0},
    "projection": {"name": "projection"},
    "projection, classes": {"name": "projection", "cmpc": 1.0},
}
ONE_VECTOR = ("cosine", "order")  # of sets of one
WHOLES = ("cosine", "order", "dual")  # without pooling
HARD = ("max-sim, words", "max-sim, regions")
SOFT = ("cross-attention, words", "cross-attention, regions", "bidirectional", "label-agreement")
FACTORS: dict[str, Sequence[str]] = {
    "image": list(IMAGES),
    "text": list(TEXTS),
    "image pool": [NONE, *(pool for pool in REGISTRY["pool"] if pool != "last")],  # regions have no last one
    "text pool": [NONE, *REGISTRY["pool"]],
    "projection": ["projection", NONE],
    "similarity": [*HARD, *SOFT, *WHOLES],
    "pooling": [NONE, *REGISTRY["pooling"]],
    "normalize": ["not asked", *get_args(Normalize)],
    "loss": list(LOSSES),
}


def fits(row: Row) -> bool:
    """Whether these choices, as far as they are made, can be one system."""
    similarity, pools = row.get("similarity"), [row.get("image pool"), row.get("text pool")]
    norm = row.get("normalize")
    if (similarity in ONE_VECTOR or row.get("loss", "").startswith("projection")) and NONE in pools:
        return False
    if similarity == "dual" and not all(_begins_with_the_whole(row, side) for side in ("image", "text")):
        return False
    if similarity and row.get("loss") == "consistency" and similarity != "label-agreement":
        return False
    if similarity and "pooling" in row and (row["pooling"] == NONE) != (similarity in WHOLES):
        return False
    return not (similarity and norm and (norm != "not asked") != (similarity in SOFT))


def _begins_with_the_whole(row: Row, side: str) -> bool:
    """Whether the first vector of the sets of this side knows all of it, or may yet do so."""
    return row.get(side, "dual") == "dual" or row.get(f"{side} pool", "mean") != NONE


def tables(row: Row, world: Path) -> dict[str, Any]:
    """The tables of a configuration for the world that ``make_world`` has written."""
    models = {name: str(world / name) for name in ("resnet", "bert", "clip")}
    precomputed = row["image"].startswith("regions") and row["image"] != "regions, backbone"
    image, text = IMAGES[row["image"]], TEXTS[row["text"]]
    return {
        "data": {"name": "precomp", "path": str(world / "regions")}
        if precomputed
        else {"name": "table", "path": str(world / "captions.csv")},
        "reader": _reader(row["image"], models),
        "vocabulary": {"min_count": 1},
        **({"labels": {"count": len(THINGS + GROUNDS)}} if row["similarity"] == "label-agreement" else {}),
        "tokenizer": _tokenizer(row["text"], models),
        "image_encoder": _encoder(image, row["image pool"], row["projection"], models),
        "text_encoder": _encoder(text, row["text pool"], row["projection"], models),
        "similarity": _similarity(row["similarity"], row["pooling"], row["normalize"]),
        "loss": LOSSES[row["loss"]],
    }


def groups(row: Row) -> dict[str, float]:
    """What the towers of a published model are trained by: a part of the learning rate."""
    return {f"{side}_encoder.tower": SLOWER for side in ("image", "text") if row[side] == "dual"}


def _reader(image: str, models: Mapping[str, str]) -> dict[str, Any]:
    if image in ("backbone", "dual"):
        return {"name": "model-pixels", "model": models[USES[image]]}
    if image == "regions, backbone":
        return {"name": "backbone", "model": models["resnet"]}
    return {"name": "pixels", "size": SIZE} if image.startswith("grid") else {"name": "precomputed"}


def _tokenizer(text: str, models: Mapping[str, str]) -> dict[str, Any]:
    if text not in USES:
        return {"name": "words"}
    return {"name": "dual" if text == "dual" else "wordpieces", "model": models[USES[text]]}


def _encoder(
    table: Mapping[str, Any], pool: str, projection: str, models: Mapping[str, str]
) -> dict[str, Any]:
    model = {"model": models[USES[table["name"]]]} if table["name"] in USES else {}
    pooled = {} if pool == NONE else {"pool": pool}
    return {**table, "dim": DIM, **model, **pooled, **({} if projection == NONE else {"projection": JOINT})}


def _similarity(named: str, pooling: str, normalize: str) -> dict[str, Any]:
    name, _, direction = named.partition(", ")
    asked = {} if pooling == NONE else {"pooling": pooling}
    cross = {"normalize": normalize, "temperature": 0.2, **asked}
    if named in HARD:
        return {"name": name, "direction": direction.removesuffix("s"), **asked}
    if name == "cross-attention":
        return {"name": name, "direction": direction.removesuffix("s"), **cross}
    both = {"words": {"name": "max-sim", **asked}, "regions": {"name": "cross-attention", **cross}}
    if name == "bidirectional":
        return {"name": name, **both}
    return (
        {"name": name, "similarity": {"name": "bidirectional", **both}}
        if name == "label-agreement"
        else {"name": name}
    )


def make_world(home: Path) -> Path:
    """Write every picture, as a file and as regions, its captions, and two published models."""
    random = np.random.default_rng(0)
    texts = [_texts(thing, GROUNDS[number % 3]) for number, thing in enumerate(THINGS)]
    looks = random.normal(size=(len(THINGS) + len(GROUNDS), 12))
    shown = [[number, number, len(THINGS) + number % 3] for number in range(len(THINGS))]
    write_precomp(
        home / "regions", "train",
        [(looks[row] + 0.1 * random.normal(size=(3, 12))).astype(np.float32) for row in shown],
        texts, THINGS, [CORNERS[number % 4 - np.arange(3)] for number in range(len(THINGS))],
    )  # fmt: skip
    lines = ["image,caption,split"]
    for number, thing in enumerate(THINGS):
        Image.fromarray(_picture(number)).save(home / f"{thing}.png")
        lines += [f"{thing}.png,{text},train" for text in texts[number]]
    (home / "captions.csv").write_text("\n".join(lines))
    _publish(home)
    publish_clip(home / "clip", WORDS)
    return home


def _texts(thing: str, ground: str) -> list[str]:
    return [f"a {thing} on the {ground}", f"the {ground} under a {thing}", *[f"the {thing} on {ground}"] * 3]


def _picture(number: int) -> np.ndarray:
    """The ground's grey, and in one corner the thing's colour."""
    colour = [[40, 128, 215][number // 3**channel % 3] for channel in range(3)]
    picture = np.full((SIZE, SIZE, 3), 60 + 60 * (number % 3), dtype=np.uint8)
    left, top, right, bottom = (CORNERS[number % 4] * SIZE).astype(int)
    picture[top:bottom, left:right] = colour
    return picture


def _publish(home: Path) -> None:
    """Random weights in the layout in which models are published."""
    (home / "bert").mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (home / "bert" / "vocab.txt").write_text("\n".join(pieces))
    (home / "bert" / "config.json").write_text(json.dumps(TINY_BERT))
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 16], depths=[1, 1], layer_type="basic"
    )
    transformers.ResNetModel(config).save_pretrained(home / "resnet")
    (home / "resnet" / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
