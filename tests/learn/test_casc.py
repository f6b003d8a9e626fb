"""CASC from a configuration: it trains with any direction, learns labels, is saved with them, and resumes."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from support.same_run import assert_same_run

from wordsight.builder import Builder
from wordsight.checkpoint import WEIGHTS, load_weights
from wordsight.config import Config, load_config
from wordsight.evaluation import evaluate
from wordsight.learn.consistency import Consistency, positive_weights
from wordsight.matcher import Matcher
from wordsight.read.export.precomputed import write_precomp
from wordsight.runs.training import train
from wordsight.similarity.label_agreement import Semantic

THINGS = ["dog", "cat", "bird", "truck", "boat", "tree", "horse", "bench"]
IMAGES = 28  # every two things


def things_of(row: int) -> list[str]:
    return [(one, other) for i, one in enumerate(THINGS) for other in THINGS[i + 1 :]][row]


def texts_of(row: int) -> list[str]:
    one, other = things_of(row)
    return [f"a {one} and a {other} .", f"a {other} near the {one} .", *[f"the {one} and the {other} ."] * 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A precomputed folder: a region for each thing, and one that is none of them."""
    home, random = tmp_path_factory.mktemp("casc"), np.random.default_rng(0)
    looks = random.normal(size=(len(THINGS) + 1, 12))
    rows = [[THINGS.index(thing) for thing in things_of(row)] + [len(THINGS)] for row in range(IMAGES)]
    for split in ("train", "dev", "test"):
        features = [(looks[row] + 0.1 * random.normal(size=(3, 12))).astype(np.float32) for row in rows]
        texts = [texts_of(row) for row in range(IMAGES)]
        write_precomp(home / "tiny_precomp", split, features, texts, [str(row) for row in range(IMAGES)])
    return home


INNER = {
    "both": 'name = "bidirectional"',
    "words": 'name = "cross-attention"\ndirection = "word"',
    "regions": 'name = "cross-attention"\ndirection = "region"\ntemperature = 0.25',
}


def config(folder: Path, inner: str = INNER["both"], *changes: str) -> Config:
    path = folder / "casc.toml"
    path.write_text(
        textwrap.dedent(f"""
        [data]
        name = "precomp"
        path = "{folder / "tiny_precomp"}"
        validation = "dev"
        [reader]
        name = "precomputed"
        [vocabulary]
        min_count = 1
        [labels]
        count = 8
        [tokenizer]
        name = "words"
        [image_encoder]
        name = "regions"
        dim = 16
        [text_encoder]
        name = "recurrent"
        word_dim = 16
        [similarity]
        name = "label-agreement"
        [similarity.similarity]
        INNER
        [loss]
        name = "consistency"
        ranking = {{ name = "triplet", warmup_epochs = 1 }}
        [training]
        epochs = 8
        batch_size = 14
        optimizer = "adam"
        weight_decay = 0
        learning_rate = 1e-2
        schedule = "constant"
        groups = {{ "similarity.head" = {{ factor = 3, every = 2, decay = 0.9 }} }}
        clip_groups = true
        device = "cpu"
        """).replace("INNER", inner)
    )
    return load_config(str(path), changes)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_it_learns_pairs_and_labels_whoever_looks(folder: Path, tmp_path: Path, inner: str) -> None:
    chosen = config(folder, inner)
    history = train(chosen, tmp_path / "run")
    assert history.epochs[-1]["loss"] < history.epochs[1]["loss"]
    assert history.best_rsum > 300  # of 600; chance is about 60
    matcher = Matcher.from_pretrained(tmp_path / "run" / "best")
    assert isinstance(matcher.similarity, Semantic)
    assert sorted(matcher.similarity.label_names) == sorted(THINGS)
    load_weights(matcher, tmp_path / "run" / "last" / WEIGHTS)  # the best ranks come before the best labels
    test = Builder(chosen).pairs("test")
    images = matcher.encode_images(test.images.read(range(IMAGES)))
    logits = matcher.similarity.label_logits(images, matcher.encode_texts(test.texts[::5]))
    for side in (0, 1):
        assert mean_of_right(logits[:, side], matcher.similarity.label_names) > 1  # chance 0.5
    assert mean_of_right(matcher.similarity.predict(images), matcher.similarity.label_names) > 0.8


def mean_of_right(predicted: torch.Tensor, names: Sequence[str]) -> float:
    """How many of the two most probable labels of each image are things in it."""
    best = predicted.topk(2).indices.tolist()
    return float(np.mean([len({names[i] for i in top} & {*things_of(row)}) for row, top in enumerate(best)]))


def test_the_measured_score_is_mixed_and_measured_alike_in_folds_and_blocks(folder: Path) -> None:
    chosen = config(folder)
    pairs = Builder(chosen).pairs("train")
    matcher = Builder(chosen).matcher(pairs).eval()
    whole = evaluate(matcher, pairs, intervals=False)
    for part in matcher.similarity.modules():
        if hasattr(part, "memory_mb"):
            part.memory_mb = 0.01
    assert evaluate(matcher, pairs, batch_size=5, intervals=False).to_dict() == whole.to_dict()


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    train(config(folder, INNER["both"], "training.epochs=3"), tmp_path / "whole")
    train(config(folder, INNER["both"], "training.epochs=1"), tmp_path / "run")
    train(config(folder, INNER["both"], "training.epochs=3"), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_other_labels_are_another_run(folder: Path, tmp_path: Path) -> None:
    train(config(folder, INNER["both"], "training.epochs=1"), tmp_path / "run")
    with pytest.raises(ValueError, match=r"was begun differently: .*similarity.labels was"):
        train(config(folder, INNER["both"], "labels.count=6"), tmp_path / "run", resume=True)


def test_what_a_configuration_leaves_open_comes_from_the_data(folder: Path) -> None:
    chosen = config(folder, INNER["both"], "labels.largest_weight=2.5")
    pairs = Builder(chosen).pairs("train")
    assert pairs.labels.sum(1).tolist() == [2.0] * IMAGES
    matcher = Builder(chosen).matcher(pairs)
    assert matcher.similarity.label_names == pairs.label_names
    loss = Builder(chosen).loss(pairs, matcher)
    assert isinstance(loss, Consistency)
    assert loss.positive_weights == positive_weights(pairs.labels, 2.5) == [2.5] * 8
    assert Builder(chosen).pairs("validation").labels is None
    assert torch.equal(pairs.subset([3, 1]).labels, pairs.labels[[3, 1]])


def test_labels_may_come_from_a_file(folder: Path, tmp_path: Path) -> None:
    from wordsight.read.text.label_vocabulary import Labels

    Labels(("truck", "dog", "zebra")).save(tmp_path / "labels.json")
    chosen = config(folder, INNER["both"], f"labels.file={tmp_path / 'labels.json'}")
    pairs = Builder(chosen).pairs("train")
    assert pairs.label_names == ("truck", "dog", "zebra")
    assert pairs.labels.sum(0).tolist() == [7.0, 7.0, 0.0]


def test_without_a_labels_table_nothing_is_labelled(folder: Path) -> None:
    tables = {name: table for name, table in config(folder).tables.items() if name != "labels"}
    chosen = Config(tables, "casc.toml")
    assert "labels" not in chosen.complete().tables
    with pytest.raises(ValueError, match=r"\[similarity\] Semantic needs labels"):
        Builder(chosen).matcher(Builder(chosen).pairs("train"))
