"""Commands that read data sets: vocabularies, labels, shards, features as .npy, a divided table."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.search_models import build
from torch.nn import functional as F
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.matcher import Matcher
from wordsight.pairs import Picture
from wordsight.pretrained import feature_maps
from wordsight.read.datasets.precomputed import Precomp
from wordsight.read.datasets.tfrecords import Records
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.features.extract import extract
from wordsight.read.features.store import FeatureStore
from wordsight.read.pictures.pixel_reader import PixelReader, PreparedPicture
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.runs.opening import open_data
from wordsight.sets import Regions


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def output(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return str(done.output)


def picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(shade).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def table(folder: Path, pictures: int = 20, header: str = "image,caption") -> Path:
    for n in range(pictures):
        picture(folder / f"{n}.png", n)
    sides = ("left", "right")
    rows = "".join(f"{n}.png,a ring {n} on the {side}\n" for n in range(pictures) for side in sides)
    path = folder / "captions.csv"
    path.write_text(f"{header}\n{rows}")
    return path


# Vocabularies and labels


@pytest.mark.data
def test_published_vocabulary_of_flickr30k_comes_out_of_train_and_val(data: Path, tmp_path: Path) -> None:
    """SCAN's vocab.py counts train and dev; counting train alone gives 8,344 words.

    The texts here are Multi30k's, where quotes touch their words. In the files that SCAN read they stand
    apart, so that all of them are opening ones. The only word that differs is a stray "`", which the NLTK of
    those days did not cut off.
    """
    source = data / "flickr30k_text" / "dataset_flickr30k_captions_only.json.gz"
    document = json.loads(gzip.decompress(source.read_bytes()))
    for image in document["images"]:
        for sentence in image["sentences"]:
            sentence["raw"] = sentence["raw"].replace('"', ' " ')
    path = tmp_path / "dataset_flickr30k.json"
    path.write_text(json.dumps(document))
    out = tmp_path / "f30k_vocab.json"
    assert "8481 words" in output("vocab", "build", path, "--out", out, "--splits", "train,val")
    ours = set(Vocabulary.load(out).entries)
    published = set(Vocabulary.load(data / "vocab" / "f30k_precomp_vocab.json").entries)
    assert ours ^ published == {"`", ".`"}


def karpathy(folder: Path, **splits: str) -> Path:
    images = [
        {"filename": picture(folder / "images" / f"{split}.png", n).name, "split": split, "imgid": n,
         "sentences": [{"raw": text, "imgid": n, "sentid": n}]}
        for n, (split, text) in enumerate(splits.items())
    ]  # fmt: skip
    path = folder / "dataset_coco.json"
    path.write_text(json.dumps({"images": images}))
    return path


@pytest.mark.parametrize(
    ("splits", "words"), [("train", {"dog"}), ("train,val", {"dog", "cat"}), ("test", {"bird"})]
)
def test_splits_whose_texts_count(tmp_path: Path, splits: str, words: set[str]) -> None:
    path = karpathy(tmp_path, train="a dog", val="a cat", test="a bird")
    output("vocab", "build", path, "--out", tmp_path / "v.json", "--min-count", 1, "--splits", splits)
    assert set(Vocabulary.load(tmp_path / "v.json").entries[4:]) - {"a"} == words
    output("vocab", "labels", path, "--out", tmp_path / "l.json", "--splits", splits)
    assert set(json.loads((tmp_path / "l.json").read_text())["word2idx"]) - {"<unk>"} == words


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    path = karpathy(tmp_path, train="a dog")
    done = run("vocab", "build", path, "--out", tmp_path / "v.json", "--splits", "train,dev")
    assert 'no pictures of split "dev"; it has train (1 pictures)' in str(done.exception)
    assert run("vocab", "build", path, "--out", tmp_path / "v.json", "--splits", ",").exit_code == 2
    assert not (tmp_path / "v.json").exists()


# Shards


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ([], {"train": ["one"], "val": ["two"], "test": ["four"]}),  # as in CMPL, whose val is restval
        (["--restval", "train"], {"train": ["one", "two"], "val": ["three"], "test": ["four"]}),
    ],
)
def test_restval_in_tfrecords(tmp_path: Path, options: list[str], texts: dict[str, list[str]]) -> None:
    path = karpathy(tmp_path, train="one", restval="two", val="three", test="four")
    options = ["--keep-order", "--min-count", "1", *options]
    done = output("data", "records", path, "--out", tmp_path / "r", *options)
    assert Records(tmp_path / "r").splits() == ["train", "val", "test"]
    assert {split: Records(tmp_path / "r").read(split).texts for split in texts} == texts
    assert ("the 1 of val are left out (--restval train" in done) == ("--restval" not in options)


def test_restval_in_webdataset_shards_is_training(tmp_path: Path) -> None:
    path = karpathy(tmp_path, train="one", restval="two", val="three")
    output("data", "records", path, "--out", tmp_path / "w", "--format", "webdataset", "--keep-order")
    assert WebDataset(tmp_path / "w").read("train").texts == ["one", "two"]


def test_a_table_becomes_shards_divided_by_chance(tmp_path: Path) -> None:
    path = table(tmp_path)
    output("data", "records", path, "--out", tmp_path / "w", "--format", "webdataset", "--split", "80/10/10")
    written = WebDataset(tmp_path / "w")
    assert [len(written.read(split).names) for split in ("train", "val", "test")] == [16, 2, 2]


# Features as .npy


class MeanColours:
    """A small real reader: the mean colour of each cell of a 2 x 2 grid."""

    feature_dim = 3
    settings: dict[str, Any] = {}  # noqa: RUF012
    identity = "mean colours"

    def prepare(self, picture: Picture) -> PreparedPicture:
        return PixelReader(4).prepare(picture)

    def read(self, frames: Sequence[PreparedPicture]) -> Regions:
        maps = F.adaptive_avg_pool2d(PixelReader(4).stack(frames).values, 2).flatten(2).transpose(1, 2)
        boxes = feature_maps.boxes([(2, 2)], (2, 2)).repeat(len(frames), 1, 1)
        mask = torch.ones(maps.shape[:2], dtype=torch.bool)
        mask[:, -1] = self.identity == "mean colours"
        return Regions(maps, boxes, mask)


def test_stored_features_become_a_precomputed_folder(tmp_path: Path) -> None:
    path = table(tmp_path)
    extract(MeanColours(), sorted(tmp_path.glob("*.png")), tmp_path / "store")
    out = tmp_path / "mine_precomp"
    printed = output("features", "export", tmp_path / "store", path, "--out", out, "--split", "80/10/10")
    assert f"{out / 'train_ims.npy'}: 16 x 4 x 3, float32" in printed
    assert np.load(out / "train_ims.npy").shape == (32, 4, 3)  # two captions each: a row for every caption
    pairs = Precomp(out).read("train")
    assert (len(pairs.images), len(pairs)) == (16, 32)
    store = FeatureStore.open(tmp_path / "store")
    stored = store.read([row for row in store.find([tmp_path / pairs.names[3]]) if row is not None])
    torch.testing.assert_close(pairs.images.read([3]).features, stored.features)
    torch.testing.assert_close(pairs.images.read([3]).boxes, stored.boxes)
    assert run("data", "check", out).exit_code == 0
    assert (out / "dev_caps.txt").is_file(), "the published code opens dev, not val"


def test_pictures_with_different_numbers_of_regions_have_no_place_in_the_format(tmp_path: Path) -> None:
    path = table(tmp_path, 3)
    reader = MeanColours()
    reader.identity = "fewer regions than there is room for"
    extract(reader, sorted(tmp_path.glob("*.png")), tmp_path / "store")
    done = run("features", "export", tmp_path / "store", path, "--out", tmp_path / "out")
    assert "has 3 regions and others have 4" in str(done.exception)
    assert not list((tmp_path / "out").glob("*.npy"))


def model_run(folder: Path, kind: str) -> Path:
    """A saved model with a configuration of its data beside it, as a run has it."""
    build(kind).save_pretrained(folder / "best")
    config = '[data]\nname = "world"\nimages = 6\nsize = 16\n'
    (folder / "config.toml").write_text(config)
    return folder


@pytest.mark.parametrize("kind", ["cosine", "max-sim"])
def test_vectors_of_a_model_as_npy(tmp_path: Path, kind: str) -> None:
    home, out = model_run(tmp_path / "run", kind), tmp_path / "vectors"
    output("features", "encode", home, "--split", "test", "--out", out, "--batch-size", 4)
    matcher = Matcher.from_pretrained(home / "best")
    pairs = open_data(str(home), None, (), "test").pairs
    images = matcher.encode_images(matcher.read_images(pairs.images.read(range(6))))
    vectors = np.load(out / "test_image_features.npy")
    expected = images.vectors[:, 0] if kind == "cosine" else images.vectors
    np.testing.assert_allclose(vectors, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    captions = np.load(out / "test_caption_features.npy")
    texts = matcher.encode_texts(list(pairs.texts))
    if kind == "cosine":
        assert captions.shape == (30, texts.dim)
        assert not (out / "test_caption_lengths.npy").exists()
    else:
        lengths = np.load(out / "test_caption_lengths.npy")
        assert lengths.tolist() == texts.lengths.tolist()
        ends = np.cumsum(lengths)
        last = texts.vectors[-1][texts.mask[-1]].detach().numpy()
        np.testing.assert_allclose(captions[ends[-2] : ends[-1]], last, rtol=1e-4, atol=1e-5)
    labels = {what: np.load(out / f"test_{what}_labels.npy").tolist() for what in ("image", "caption")}
    assert labels == {"image": pairs.identities.tolist(), "caption": pairs.text_identities.tolist()}
    assert (out / "test_captions.txt").read_text().splitlines() == list(pairs.texts)
    assert (out / "test_image_names.txt").read_text().splitlines() == list(pairs.names)


# Training


SMALL = """
[data]
name = "table"
path = "{path}"

[reader]
name = "pixels"
size = 16

[vocabulary]
min_count = 1

[tokenizer]
name = "words"

[image_encoder]
name = "grid-cnn"
dim = 8
width = 8

[text_encoder]
name = "recurrent"
word_dim = 8

[similarity]
name = "max-sim"

[loss]
name = "triplet"

[training]
epochs = 1
batch_size = 8
"""


def test_a_table_without_splits_is_trained_on_and_measured_by_the_division_of_its_run(tmp_path: Path) -> None:
    path = table(tmp_path, header="bild,text")
    config = tmp_path / "own.toml"
    config.write_text(SMALL.format(path=path))
    home = tmp_path / "run"
    refused = run("train", config, "--out", home, "--image-column", "bild")
    assert "--split 80/10/10" in str(refused.exception)
    assert not home.exists()
    output("train", config, "--out", home, "--image-column", "bild", "--split", "60/20/20", "--split-seed", 3)
    measured = json.loads(
        output("evaluate", home, "--split", "test", "--json", "--no-intervals").splitlines()[-1]
    )
    assert measured["images"] == 4
    assert 'split = "60/20/20"' in (home / "config.toml").read_text()


def test_features_of_a_table_that_has_no_captions(tmp_path: Path) -> None:
    from wordsight.read.datasets.detect_format import picture_paths

    table(tmp_path, 2)
    path = tmp_path / "pictures.csv"
    path.write_text("filename\n0.png\n1.png\n")
    assert [found.name for found in picture_paths(path)[0]] == ["0.png", "1.png"]


# Indexes


def test_columns_of_the_captions_and_texts_of_an_index(tmp_path: Path) -> None:
    """open_clip#789: the column of the captions could not be named on the command line."""
    build("max-sim").save_pretrained(tmp_path / "model")
    rows = "".join(f"{picture(tmp_path / 'p' / f'{n}.png', n).name}\tring {n}\n" for n in range(3))
    path = tmp_path / "t.csv"
    path.write_text(f"datei\tbeschreibung\n{rows}")
    columns = ["--image-column", "datei", "--caption-column", "beschreibung"]
    index, model = tmp_path / "i", tmp_path / "model"
    folder = tmp_path / "p"
    options = ["--captions", path, "--pictures", folder, *columns]
    done = output("index", folder, "--model", model, "--out", index, *options)
    assert "3 of the 3 pictures that it names" in done
    found = run("search", index, "ring", "--text", "ring 2", "--json").stdout
    hits = map(json.loads, found.splitlines())
    assert [Path(hit["path"]).name for hit in hits if "path" in hit] == ["2.png"]
    texts = tmp_path / "texts"
    output("index", "--texts", path, *columns[2:], "--model", model, "--out", texts)
    assert '"items": 3' in output("index", "--out", texts, "--stats", "--json")


def test_null_captions_are_no_texts_of_an_index(tmp_path: Path) -> None:
    """openvino.genai#225, fastai#1372: null became the caption "None"."""
    build("max-sim").save_pretrained(tmp_path / "model")
    path = tmp_path / "captions.json"
    said = [{"image_id": 1, "caption": None}, {"image_id": 1, "caption": "a red ring"}]
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": said}))
    output("index", "--texts", path, "--model", tmp_path / "model", "--out", tmp_path / "i")
    assert '"items": 1' in output("index", "--out", tmp_path / "i", "--stats", "--json")
