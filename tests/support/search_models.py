"""Small untrained models of every kind, and indexes of generated pictures made by them."""

import os
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from PIL import Image

from wordsight.matcher import Matcher
from wordsight.read.synthetic.dataset import World
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

PICTURES = 24
ONE_VECTOR = {"pool": "mean"}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # similarity, what the encoders add
    "max-sim": ({"name": "max-sim", "pooling": "mean"}, {}),
    "max-sim lse": ({"name": "max-sim", "pooling": "log-sum-exp"}, {}),
    "max-sim regions": ({"name": "max-sim", "direction": "region"}, {}),
    "cross-attention": ({"name": "cross-attention"}, {}),
    "cross-attention regions": ({"name": "cross-attention", "direction": "region", "temperature": 0.25}, {}),
    "bidirectional": ({"name": "bidirectional", "words": "cross-attention", "regions": "max-sim"}, {}),
    "label-agreement": ({"name": "label-agreement", "labels": 5}, {}),
    "cosine": ({"name": "cosine"}, ONE_VECTOR),
    "order": ({"name": "order"}, ONE_VECTOR),
}
WORD_KINDS = [kind for kind in KINDS if KINDS[kind][1] is not ONE_VECTOR]


def _folder() -> Path:
    """A folder for the whole run of the tests, removed at its end (see conftest)."""
    return Path(mkdtemp(dir=os.environ.get("WORDSIGHT_CACHE")))


def world() -> Any:
    return World(seed=3, images=PICTURES).read("train")


@cache
def pictures() -> Path:
    """Generated pictures in two folders, each a day newer than the one before, their texts beside them."""
    folder, pairs = _folder(), world()
    for row in range(PICTURES):
        path = folder / ("even" if row % 2 == 0 else "odd") / f"{row:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pairs.images.read([row])[0]).save(path)
        path.with_suffix(".txt").write_text("\n".join(texts_of(row)))
        os.utime(path, (1e9 + 86400 * row, 1e9 + 86400 * row))
    return folder


def texts_of(row: int) -> list[str]:
    pairs = world()
    return [text for text, image in zip(pairs.texts, pairs.image_of.tolist(), strict=True) if image == row]


def build(kind: str, **changes: Any) -> Matcher:
    similarity, more = KINDS[kind]
    torch.manual_seed(0)
    tables: dict[str, dict[str, Any]] = {
        "reader": {"name": "pixels", "size": 32},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "grid-cnn", "dim": 16, "width": 8, "depth": 0, **more},
        "text_encoder": {"name": "recurrent", "word_dim": 8, **more},
        "similarity": {**similarity, **changes},
    }
    return Matcher.build(tables, vocabulary=Vocabulary.learn(world().texts, min_count=1)).eval()


@cache
def model(kind: str) -> Path:
    folder = _folder() / "model"
    build(kind).save_pretrained(folder)
    return folder


@cache
def index(kind: str = "max-sim") -> Index:
    made = Index.create(_folder() / "index", model(kind))
    made.update([pictures()])
    return made


@cache
def texts_index(kind: str = "max-sim") -> Index:
    folder = _folder()
    (folder / "texts.txt").write_text("\n".join(dict.fromkeys(world().texts)))
    made = Index.create(folder / "index", model(kind), "texts")
    made.update([folder / "texts.txt"])
    return made


def short_index(folder: Path) -> Index:
    """By a model that reads five words of a text."""
    matcher = build("max-sim")
    matcher.tokenizer = Words(Vocabulary.learn(world().texts, min_count=1), max_length=7, truncate=True)
    matcher.save_pretrained(folder / "model")
    made = Index.create(folder / "index", folder / "model")
    made.update([pictures()])
    return made


@cache
def searcher(kind: str = "max-sim") -> Searcher:
    return Searcher(index(kind))


def path_of(row: int) -> Path:
    return pictures() / ("even" if row % 2 == 0 else "odd") / f"{row:02}.png"
