"""Pairs written as shards come back as they were and train as files do; conversions are whole or absent."""

import json
import os
import signal
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_shards import (
    FORMATS,
    KEPT,
    content,
    each_format,
    same_pairs,
    same_pixels,
    small_splits,
)

from wordsight import registry
from wordsight.encode.cnn import GridCNN
from wordsight.encode.recurrent import RecurrentEncoder
from wordsight.learn.settings import Training
from wordsight.learn.training import fit
from wordsight.learn.triplet import Triplet
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.datasets.tfrecords import Records
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.export.tfrecords import RecordSettings, write_records
from wordsight.read.export.webdataset import write_webdataset
from wordsight.read.pictures.pixel_reader import PixelReader
from wordsight.read.synthetic.dataset import World
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_rules import split_words
from wordsight.read.text.word_tokenizer import Words
from wordsight.similarity.max_sim import MaxSim


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, PairSet]:
    return small_splits(tmp_path)


@each_format
def test_pairs_come_back_as_they_were(
    tmp_path: Path, splits: dict[str, PairSet], write: Any, read: Any
) -> None:
    said = [" ".join(split_words(text, "cmpl")) for text in splits["train"].texts]
    plain = {"train": replace(splits["train"], texts=said)}  # words alone: what CMPL's records keep of a text
    write(tmp_path / "out", plain)
    back = read(tmp_path / "out").read("train")
    assert same_pairs(back, plain["train"])
    assert same_pixels(back, plain["train"])
    assert same_pairs(read(tmp_path / "out").read("train"), back)  # by the index


@each_format
def test_one_data_set_is_the_same_bytes(
    tmp_path: Path, splits: dict[str, PairSet], write: Any, read: Any
) -> None:
    write(tmp_path / "one", splits)
    write(tmp_path / "other", splits)
    assert content(tmp_path / "one") == content(tmp_path / "other")


def test_the_generated_world_goes_through_shards(tmp_path: Path) -> None:
    world = {"train": World(images=3, size=16).read("train")}
    write_webdataset(tmp_path / "out", world, seed=None)
    assert same_pixels(WebDataset(tmp_path / "out").read("train"), world["train"])  # as PNG, which is exact
    write_records(tmp_path / "records", world)
    assert len(Records(tmp_path / "records").read("train")) == 15


def test_shards_become_shards_of_the_other_kind(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    write_records(tmp_path / "one", splits, KEPT)
    write_webdataset(tmp_path / "two", {"train": Records(tmp_path / "one").read("train")}, seed=None)
    with tarfile.open(tmp_path / "two" / "train-00000-of-00001.tar") as tar:
        first = tar.extractfile("train-00000000.jpg")
        assert first is not None
        assert first.read() == (tmp_path / "imgs" / "train0.jpg").read_bytes()


def test_both_are_on_the_menu(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    write_records(tmp_path / "records", splits)
    write_webdataset(tmp_path / "webdataset", splits)
    for name in ("records", "webdataset"):
        pairs = registry.build("data", {"name": name, "path": str(tmp_path / name)}).read("val")
        assert len(pairs) == 7


@each_format
def test_unreadable_pictures_stop_the_conversion_or_are_listed(
    tmp_path: Path, splits: dict[str, PairSet], write: Any, read: Any
) -> None:
    broken = tmp_path / "imgs" / "train2.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"train2\.jpg cannot be read as a picture: .*; repair it, or leave"):
        write(tmp_path / "out", splits)
    assert not (tmp_path / "out").exists()
    skipped = write(tmp_path / "out", splits, skip_unreadable=True)
    assert {Path(one.picture).name for one in skipped} == {"train2.jpg"}
    assert "train2.jpg" not in read(tmp_path / "out").read("train").names
    assert len(read(tmp_path / "out").read("train").images) == 5
    assert write(tmp_path / "out", splits, skip_unreadable=True) == skipped  # told again, not forgotten


@each_format
def test_a_shard_of_which_nothing_could_be_read_is_not_written(
    tmp_path: Path, splits: dict[str, PairSet], write: Any, read: Any
) -> None:
    for number in range(3):
        (tmp_path / "imgs" / f"val{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"val-00000-of-00001.* would be empty: none of its .* can be read"):
        write(tmp_path / "out", splits, skip_unreadable=True)
    assert not (tmp_path / "out").exists()


def test_features_are_no_pictures(tmp_path: Path) -> None:
    from support.small_problem import small_pairs

    with pytest.raises(ValueError, match=r"small problem has regions and no pictures to keep in shards"):
        write_records(tmp_path / "out", {"train": small_pairs()})


# Training


def matcher_for(pairs: PairSet) -> Matcher:
    torch.manual_seed(3)
    words = Words(
        Vocabulary.learn(pairs.texts, word_splitter="karpathy", min_count=1), word_splitter="karpathy"
    )
    return Matcher(
        PixelReader(32), words, GridCNN(8, width=4), RecurrentEncoder(len(words), 8, word_dim=6), MaxSim()
    )


@pytest.mark.data
@pytest.mark.parametrize("name", FORMATS)
def test_training_from_shards_equals_training_from_the_photographs(
    data: Path, tmp_path: Path, name: str
) -> None:
    photos = Karpathy(data / "flickr8k" / "dataset_flickr8k.json").read("train").subset(range(12))
    if name == "tfrecord":
        write_records(tmp_path / "out", {"train": photos}, replace(KEPT, word_splitter="karpathy", shards=3))
    else:
        write_webdataset(tmp_path / "out", {"train": photos}, shards=3, seed=None)
    shards = FORMATS[name][1](tmp_path / "out").read("train")
    assert same_pixels(shards, photos)
    plan = Training(epochs=2, batch_size=10, learning_rate=0.01, device="cpu", schedule="constant", workers=2)
    weights = []
    for run, pairs in (("files", photos), ("shards", shards)):
        matcher = matcher_for(pairs)
        fit(matcher, Triplet(0.2), pairs, plan, tmp_path / run)
        weights.append(matcher.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any(
        not torch.equal(value, matcher_for(photos).state_dict()[key]) for key, value in weights[0].items()
    )


# Conversions that are stopped


@each_format
def test_a_killed_conversion_goes_on_and_leaves_the_same_bytes(
    tmp_path: Path, splits: dict[str, PairSet], write: Any, read: Any
) -> None:
    write(tmp_path / "whole", splits)
    died = 0
    for event in range(1, 40, 2):
        child = os.fork()
        if child == 0:
            kill_at_file_event(event)
            write(tmp_path / "out", splits)
            os._exit(0)
        died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert not (tmp_path / "out").exists() or content(tmp_path / "out") == content(tmp_path / "whole")
    write(tmp_path / "out", splits)
    assert died > 5
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not (tmp_path / "out.partial").exists()


def kill_at_file_event(number: int) -> None:
    """SIGKILL at the n-th time that this process opens, renames or removes something."""
    from support.small_problem import _kill_at_file_event

    signal.alarm(60)  # a child that hangs dies too
    _kill_at_file_event(number)


def test_finished_shards_are_kept(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    plan = replace(KEPT, shards=4)
    broken = tmp_path / "imgs" / "train5.jpg"
    sound = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(ValueError, match="train5"):
        write_records(tmp_path / "out", splits, plan)
    there = content(tmp_path / "out.partial")
    assert {"train-00000-of-00004", "train-00001-of-00004"} <= set(there)
    assert "train-00003-of-00004" not in there
    broken.write_bytes(sound)
    before = (tmp_path / "out.partial" / "train-00000-of-00004").stat().st_ino
    write_records(tmp_path / "out", splits, plan)
    assert (tmp_path / "out" / "train-00000-of-00004").stat().st_ino == before
    write_records(tmp_path / "fresh", splits, plan)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_a_conversion_of_other_data_or_settings_is_refused(
    tmp_path: Path, splits: dict[str, PairSet]
) -> None:
    write_records(tmp_path / "out", splits)
    before = content(tmp_path / "out")
    with pytest.raises(
        FileExistsError, match=r"other settings \(shards = 1 there, 2 here\); name a new folder"
    ):
        write_records(tmp_path / "out", splits, RecordSettings(shards=2))
    with pytest.raises(FileExistsError, match=r"other data or .*\(splits = "):
        write_records(tmp_path / "out", {"train": splits["train"].subset([0, 1])})
    with pytest.raises(FileExistsError, match="layout"):
        write_webdataset(tmp_path / "out", splits)
    assert content(tmp_path / "out") == before
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "diary.txt").write_text("dear diary")
    with pytest.raises(FileExistsError, match=r"own exists already and is no conversion of ours"):
        write_records(tmp_path / "own", splits)


def test_a_full_disk_leaves_no_folder(
    tmp_path: Path, splits: dict[str, PairSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wordsight.read.export.resumable_shards.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_records(tmp_path / "out", splits)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    assert sorted(content(tmp_path / "out.partial")) == ["conversion.json", "lock"]
    write_records(tmp_path / "out", splits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": 14}, r"14 shards were asked for, but train has 13 items; take 1 to 13"),
        ({"shards": 0}, r"0 shards were asked for"),
        ({"word_splitter": "spaces"}, r'word rule "spaces" is not known'),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(
    tmp_path: Path, splits: dict[str, PairSet], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_records(tmp_path / "out", splits, replace(KEPT, **change))
    assert not list(tmp_path.glob("out*"))


# The index


def test_the_index_is_made_once_and_again_when_a_shard_changes(
    tmp_path: Path, splits: dict[str, PairSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_records(tmp_path / "out", splits, KEPT)
    first = Records(tmp_path / "out").read("train")
    shard, index = tmp_path / "out" / "train-00000-of-00001", tmp_path / "out" / "index-train.json"
    assert not index.name.startswith("train-")  # CMPL opens every file that is called train-*
    monkeypatch.setattr("wordsight.read.datasets.tfrecords.read_frames", None)
    assert same_pairs(Records(tmp_path / "out").read("train"), first)
    monkeypatch.undo()
    os.utime(shard, ns=(0, 0))
    index_before = json.loads(index.read_text())
    assert same_pairs(Records(tmp_path / "out").read("train"), first)
    assert json.loads(index.read_text()) != index_before
    index.write_text("{")
    assert same_pairs(Records(tmp_path / "out").read("train"), first)
    json.loads(index.read_text())
