"""Every reader of files, with small whole files that our own writers, and those of others, make."""

import base64
import io
import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Target:
    """A reader, the name under which it gets its file, and whole files to change."""

    read: Read
    file: str
    wholes: list[bytes]
    around: Path | None = None  # files that lie beside it


def targets(home: Path) -> dict[str, Target]:
    """Readers by name; ``home`` holds what lies around their files."""
    return {**texts(home), **annotations(home), **binaries(home), **models(home), **derived(home)}


def texts(home: Path) -> dict[str, Target]:
    """Readers of lines, tables, JSON, TOML and XML."""
    from wordsight.config import Config
    from wordsight.read.annotations.flickr30k_entities import read_chains, read_sentences
    from wordsight.read.datasets.detect_format import open_dataset
    from wordsight.read.text.label_vocabulary import Labels
    from wordsight.read.text.vocabulary import Vocabulary
    from wordsight.read.text.word_vectors import load_vectors

    pictures = home / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(pictures / name)
    words = Vocabulary.learn(["a red dog runs"], min_count=1)
    words.save(home / "words.json")
    said = [
        {"file_name": name, "split": "train", "sentences": [{"raw": "a dog"}]} for name in ("a.png", "b.png")
    ]
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "id": 1, "caption": "a dog"}],
    }
    listed = [{"image": "a.png", "caption": "a dog", "split": "train"}, {"image": "b.png", "caption": ["x"]}]
    table = b'image,caption,split\na.png,a dog,train\nb.png,"a ""cat""",val\n'

    def dataset(path: Path) -> None:
        opened = open_dataset(path)
        opened.texts()
        opened.items()
        for split in opened.splits() or [None]:
            opened.read(split)

    box = "<xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax>"
    thing = f"<object><name>1</name><bndbox>{box}</bndbox></object>"
    size = "<size><width>9</width><height>9</height></size>"
    xml = f"<annotation>{size}{thing}</annotation>".encode()
    labels = json.dumps({"word2idx": {"dog": 0, "cat": 1}, "idx2word": {"0": "dog", "1": "cat"}, "idx": 2})
    return {
        "csv": Target(dataset, "x.csv", [table], pictures),
        "tsv": Target(dataset, "x.tsv", [table.replace(b",", b"\t")], pictures),
        "token": Target(dataset, "x.token.txt", [b"a.png#0\ta dog\nb.png#0\ta cat\n"], pictures),
        "jsonl": Target(dataset, "x.jsonl", ["\n".join(map(json.dumps, listed)).encode()], pictures),
        "json": Target(dataset, "x.json", [_json({"images": said}), _json(coco), _json(listed)], pictures),
        "vocabulary": Target(Vocabulary.load, "v.json", [(home / "words.json").read_bytes()]),
        "labels": Target(Labels.load, "l.json", [labels.encode()]),
        "vectors": Target(
            lambda path: load_vectors(path, words), "v.txt", [b"a 1 2 3\nred 0.5 1 2\ndog 1e-3 2 3\n"]
        ),
        "vectors json": Target(
            lambda path: load_vectors(path, words), "v.json", [_json({"a": [1, 2, 3], "dog": [1, 2.5, 3]})]
        ),
        "entities": Target(
            read_sentences, "1.txt", [b"[/EN#1/people A man] runs with [/EN#2/animals a dog] .\n"]
        ),
        "chains": Target(read_chains, "1.xml", [xml]),
        "toml": Target(
            lambda path: Config.load(path).complete(),
            "c.toml",
            [(Path(__file__).parents[1] / "configs" / "demo.toml").read_bytes()],
        ),
    }


def annotations(home: Path) -> dict[str, Target]:
    """Readers of boxes, relevance, hard negatives, detections and dates."""
    from wordsight.evaluation.released_annotations import read_scored_pairs
    from wordsight.read.annotations.box_jsonl import box_objects
    from wordsight.read.annotations.coco_instances import instance_objects
    from wordsight.read.annotations.hard_negatives import read_caption_choices
    from wordsight.read.formats.detection_tsv import read_bottom_up
    from wordsight.read.pictures.date_taken import date_taken

    named = home / "named"
    named.mkdir()
    pairs = _pairs(named)
    boxes = {"picture": "a.jpg", "sentence": "a man", "word": "man", "pixels": [1, 1, 3, 4]}
    instances = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 6, "height": 5}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
        "categories": [{"id": 1, "name": "person"}],
    }
    choice = {"filename": "a.jpg", "caption": "a man", "negative_caption": "a dog"}
    array = base64.b64encode(np.arange(4, dtype="<f4").tobytes())
    detection = b"\t".join((b"1", b"6", b"5", b"1", array, array)) + b"\n"

    def detections(path: Path) -> None:
        for line in read_bottom_up(path):
            line.decode()

    return {
        "boxes": Target(lambda path: box_objects(path, pairs), "boxes.jsonl", [_json(boxes)]),
        "instances": Target(lambda path: instance_objects(path, pairs), "instances.json", [_json(instances)]),
        "choices": Target(
            lambda path: read_caption_choices(path, named), "c.json", [_json([choice]), _json({"0": choice})]
        ),
        "detections": Target(detections, "d.tsv", [2 * detection]),
        "scored": Target(read_scored_pairs, "sts.csv", [b"caption1,caption2,agg_score\na:10,a:11,4.5\n"]),
        "exif": Target(date_taken, "p.jpg", [_exif()]),
    }


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0132] = "2010:05:31 12:00:00"
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def binaries(home: Path) -> dict[str, Target]:
    """Readers of arrays, shards, checkpoints, pickles and pictures."""
    from wordsight import checkpoint
    from wordsight.evaluation.score_matrix import open_matrix
    from wordsight.files.npy import open_floats
    from wordsight.importers.checkpoint_reader import read_published
    from wordsight.importers.vocabulary_reader import read_vocabulary
    from wordsight.read.datasets.tfrecords import Records
    from wordsight.read.datasets.webdataset import WebDataset
    from wordsight.read.export.tfrecords import RecordSettings, write_records
    from wordsight.read.export.webdataset import write_webdataset
    from wordsight.read.pictures.pixel_reader import PixelReader

    pairs = _pairs(home)
    write_records(home / "records", {"train": pairs}, RecordSettings(seed=None))
    write_webdataset(home / "tar", {"train": pairs}, seed=None)
    checkpoint.save_weights(home / "w.safetensors", {"a": torch.zeros(2, 3), "b": torch.ones(4)})
    shard, tar = next((home / "records").glob("train-*")), next((home / "tar").glob("*.tar"))

    def records(path: Path) -> None:
        for verify in (True, False):
            for sample in Records(path.parent, verify).scan(path, 0):
                Records(path.parent, verify).pick(path, sample)

    def archive(path: Path) -> None:
        for sample in WebDataset(path.parent).scan(path, 0):
            WebDataset(path.parent).pick(path, sample)

    pixels = PixelReader(8)
    state = {"model": [{"fc.weight": torch.zeros(2, 2)}, {"rnn.bias": torch.zeros(2)}], "epoch": 1}
    return {
        "safetensors": Target(
            checkpoint.read_weights, "w.safetensors", [(home / "w.safetensors").read_bytes()]
        ),
        "npy": Target(
            lambda path: open_floats(path, "row feature").sum(),
            "x.npy",
            [_npy("<f4"), _npy("<f2"), _npy(">f8")],
        ),
        "scores": Target(open_matrix, "s.npy", [_npy("<f4"), _pickled_scores()]),
        "pth": Target(read_published, "m.pth", [_torch(state, True), _torch(state, False)]),
        "pickle": Target(
            read_vocabulary, "v.pkl", [pickle.dumps({"a": 1}, protocol) for protocol in (0, 2, 4)]
        ),
        "tfrecord": Target(records, shard.name, [shard.read_bytes()]),
        "tar": Target(archive, tar.name, [tar.read_bytes()]),
        "picture": Target(
            pixels.prepare, "p.png", [_picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]
        ),
    }


def _pairs(home: Path) -> Any:
    from wordsight.pairs import PairSet, PictureFiles

    paths = [home / f"{name}.jpg" for name in "ab"]
    for path in paths:
        Image.new("RGB", (6, 5), "red").save(path)
    texts, image_of = ["a man", "a red dog"], torch.tensor([0, 1])
    return PairSet(PictureFiles(paths), ["a.jpg", "b.jpg"], texts, image_of, torch.tensor([1, 2]))


def _npy(kind: str) -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(12).reshape(3, 4).astype(kind))
    return file.getvalue()


def _pickled_scores() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array({"sims": np.arange(6.0).reshape(2, 3)}, dtype=object), allow_pickle=True)
    return file.getvalue()


def _torch(state: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((9, 7)).convert("RGB").save(file, kind)
    return file.getvalue()


def models(home: Path) -> dict[str, Target]:
    """Readers of a saved model, of a published one's preprocessing, of an index and of a feature store."""
    from made_index import make_index

    from wordsight.matcher import Matcher
    from wordsight.read.features.store import FeatureStore
    from wordsight.read.features.store_writer import Seen, StoreWriter
    from wordsight.read.pictures.preprocessor_config import pixel_reader
    from wordsight.search.index.index import Filters, Index
    from wordsight.search.searcher import Searcher
    from wordsight.sets import Regions

    index = make_index(home / "index", 6, regions=2, dim=8).folder
    connection = sqlite3.connect(index / "facts.sqlite")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    regions = Regions(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    with StoreWriter(home / "store", "identity", {"model": "x"}) as writer:
        writer.append(regions, [Seen(Path("/a.png"), (1, 2), "hash", (4, 4))], 1)

    def facts(path: Path) -> None:
        with Index.open(path.parent).snapshot() as snapshot:
            rows = range(len(snapshot))
            snapshot.items(rows)
            snapshot.gather(np.arange(len(snapshot)))
            assert snapshot.generation >= 0
            snapshot.rows_where(Filters(text="dog", after=1.0, folder="x"))

    def background(path: Path) -> None:
        Searcher(Index.open(path.parent)).find_images("a dog", 2)

    Searcher(Index.open(index)).find_images("a dog", 2)  # which writes background.json

    def features(path: Path) -> None:
        FeatureStore.open(path.parent).source([Path("/a.png")]).read([0])

    published = {
        "size": {"height": 8, "width": 8},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 2,
    }
    cropped = {"size": {"shortest_edge": 9}, "crop_size": 8, "do_center_crop": True, "do_normalize": False}
    return {
        "model": Target(
            lambda path: Matcher.from_pretrained(path.parent),
            "config.json",
            [(index / "model" / "config.json").read_bytes()],
            index / "model",
        ),
        "preprocessing": Target(
            lambda path: pixel_reader(path.parent, "published", None),
            "preprocessor_config.json",
            [_json(published), _json(cropped)],
        ),
        "index": Target(Index.open, "index.json", [(index / "index.json").read_bytes()], index),
        "sqlite": Target(facts, "facts.sqlite", [(index / "facts.sqlite").read_bytes()], index),
        "background": Target(
            background, "background.json", [(index / "background.json").read_bytes()], index
        ),
        "store": Target(features, "meta.json", [(home / "store" / "meta.json").read_bytes()], home / "store"),
        "store array": Target(
            features, "features.npy", [(home / "store" / "features.npy").read_bytes()], home / "store"
        ),
        "store lines": Target(
            features, "pictures.jsonl", [(home / "store" / "pictures.jsonl").read_bytes()], home / "store"
        ),
    }


def derived(home: Path) -> dict[str, Target]:
    """Readers of what is computed from a model or an index: probabilities, an export, an index of regions."""
    from made_index import make_index

    from wordsight.exporters.onnx_export import export_onnx
    from wordsight.matcher.onnx_matcher import OnnxMatcher
    from wordsight.presence.model import CommonRule, MatchRule, PictureRule, PresenceModel, WordRules
    from wordsight.presence.saved import load_presence, save_presence
    from wordsight.read.pictures.onnx_backbone import OnnxBackbone
    from wordsight.search.index.index import Index
    from wordsight.search.searcher import Searcher
    from wordsight.sets import EmbeddingSet

    index = make_index(home / "regions", 40, regions=2, dim=8)
    index.index_regions()
    Searcher(index).find_images("a dog", 2)  # which writes background.json
    model = index.folder / "model"
    export_onnx(model)
    vectors, each = torch.eye(2, 8), torch.zeros(2)
    rules = WordRules(vectors, vectors, each, each, each)
    reference = EmbeddingSet(vectors[None], torch.ones(1, 2, dtype=torch.bool))
    common = CommonRule(1.0, 1.0, 0.0, 0.0)
    save_presence(
        PresenceModel(("dog", "cat"), rules, common, MatchRule(), PictureRule(), reference), home / "presence"
    )

    def presence(path: Path) -> None:
        loaded = load_presence(path.parent)
        if loaded is not None:
            loaded.rules.logits(loaded.reference)

    def regions(path: Path) -> None:
        Searcher(Index.open(path.parent)).find_images("a dog", 2, engine="regions")

    def exported(path: Path) -> None:
        OnnxMatcher.from_pretrained(path.parent.parent).encode_texts(["a dog"])

    def described(path: Path) -> None:
        OnnxBackbone(path.with_suffix(".onnx")).pixels("squash", None)

    names = ("regions.json", "regions-000001.safetensors", "regions-000001.lists", "regions-000001.means")
    description = {"size": [8, 8], "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "bgr", "output": "map"}
    (home / "network").mkdir()
    shutil.copy(model / "onnx" / "image.onnx", home / "network" / "image.onnx")
    return {
        **{
            name.replace("-000001.", " ").removesuffix(".json"): Target(
                regions, name, [(index.folder / name).read_bytes()], index.folder
            )
            for name in names
        },
        "presence": Target(
            presence, "presence.safetensors", [(home / "presence" / "presence.safetensors").read_bytes()]
        ),
        "export": Target(
            exported, "onnx/export.json", [(model / "onnx" / "export.json").read_bytes()], model
        ),
        "onnx": Target(exported, "onnx/text.onnx", [(model / "onnx" / "text.onnx").read_bytes()], model),
        "backbone": Target(described, "image.json", [_json(description)], home / "network"),
    }
