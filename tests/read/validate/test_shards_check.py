"""A check looks at every record of every shard, and the command line writes what it then finds sound."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.small_shards import KEPT, content, pairs_of, small_splits
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.datasets.tfrecords import Records
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.export.tfrecords import RecordSettings, write_records
from wordsight.read.export.webdataset import write_webdataset
from wordsight.read.formats.tfrecord_file import read_frames
from wordsight.read.validate.check import check
from wordsight.read.validate.report import Report


@pytest.fixture
def out(tmp_path: Path) -> Path:
    splits = small_splits(tmp_path)
    write_records(tmp_path / "records", splits, RecordSettings(shards=3))
    write_webdataset(tmp_path / "webdataset", splits)
    return tmp_path


def errors(report: Report) -> list[str]:
    return [finding.what for finding in report.findings if finding.severity == "error"]


@pytest.mark.parametrize(
    ("name", "kind"), [("records", "TFRecords in CMPL's layout"), ("webdataset", "WebDataset shards")]
)
def test_sound_shards_are_counted(out: Path, name: str, kind: str) -> None:
    report = check(out / name)
    assert report.ok
    assert report.kind == kind
    assert [(facts.split, facts.images, facts.texts) for facts in report.facts] == [
        ("train", 6, 13), ("val", 3, 7),
    ]  # fmt: skip
    notes = [finding.what for finding in report.findings]
    shards = 3 if name == "records" else 1
    assert f"train: 13 pairs of 3 identities; shards: {shards}" in notes


def test_every_damaged_shard_is_told_and_the_others_are_counted(out: Path) -> None:
    for number, place in ((0, -9), (2, 700)):
        shard = out / "records" / f"train-0000{number}-of-00003"
        whole = bytearray(shard.read_bytes())
        whole[place] ^= 1
        shard.write_bytes(whole)
    sound = sum(1 for _ in read_frames(out / "records" / "train-00001-of-00003"))
    report = check(out / "records")
    first, last = errors(report)
    assert "train-00000-of-00003: record 3, which begins at byte" in first
    assert "train-00002-of-00003: record 0, which begins at byte 0, is damaged: the CRC of the record" in last
    assert report.findings[0].todo == "fetch or write this file again"
    assert {facts.split: facts.texts for facts in report.facts} == {"train": sound + 3, "val": 7}


def test_a_shard_cut_where_a_record_ends_is_told(out: Path) -> None:
    shard = out / "records" / "train-00000-of-00003"
    second = list(read_frames(shard))[1].start
    shard.write_bytes(shard.read_bytes()[:second])
    assert errors(check(out / "records")) == [
        "10 records of train are there, and 13 were written: a shard was cut where a record ends, or is of "
        "another conversion"
    ]


def test_absent_shards_are_told_and_other_splits_counted(out: Path) -> None:
    (out / "records" / "train-00001-of-00003").unlink()
    report = check(out / "records")
    (told,) = errors(report)
    assert "misses 1 of the 3 shards of 'train', the first number 1" in told
    assert [facts.texts for facts in report.facts] == [0, 7]


def test_pictures_in_two_splits_are_found(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    write_records(tmp_path / "out", {"train": pairs, "test": pairs.subset([2])}, KEPT)
    (told,) = errors(check(tmp_path / "out"))
    assert "images both in train and in test: 1" in told


# The command


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def persons(folder: Path) -> Path:
    pairs = pairs_of(folder)
    entries = [
        {"id": int(pairs.identities[row]), "file_path": name, "split": "train" if row < 4 else "test",
         "captions": [text for text, of in zip(pairs.texts, pairs.image_of, strict=True) if of == row]}
        for row, name in enumerate(pairs.names)
    ]  # fmt: skip
    (folder / "reid_raw.json").write_text(json.dumps(entries))
    return folder / "reid_raw.json"


@pytest.mark.parametrize("kind", ["tfrecord", "webdataset"])
def test_a_data_set_becomes_shards_that_are_read(tmp_path: Path, kind: str) -> None:
    done = run(
        "data", "records", persons(tmp_path), "--out", tmp_path / "out", "--shards", 2, "--format", kind
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        f"{tmp_path / 'out'}: train 9 pairs of 4 pictures, test 4 pairs of 2 pictures; 0 skipped\n"
    )
    read = Records if kind == "tfrecord" else WebDataset
    assert sorted(read(tmp_path / "out").read("train").identities.tolist()) == [100, 100, 101, 102]
    before = content(tmp_path / "out")
    assert (
        run("data", "records", tmp_path, "--out", tmp_path / "out", "--shards", 2, "--format", kind).exit_code
        == 0
    )
    assert content(tmp_path / "out") == before  # done already, from the folder as from its file


def test_a_configuration_becomes_shards_cut_by_its_rule(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        f'[data]\nname = "persons"\npath = "{persons(tmp_path)}"\nvalidation = "test"\n'
        '[tokenizer]\nname = "words"\nrule = "karpathy"\n'
    )
    done = run("data", "records", config, "--out", tmp_path / "out", "--keep-order")
    assert done.exit_code == 0, done.output
    assert Records(tmp_path / "out").read("train").texts[0] == "a man number 0 in a t shirt"
    assert len(Records(tmp_path / "out").read("val")) == len(Records(tmp_path / "out").read("test")) == 4


def test_skipped_pictures_are_told_by_exit_code_and_name(tmp_path: Path) -> None:
    path = persons(tmp_path)
    (tmp_path / "imgs" / "train1.jpg").write_bytes(b"no picture")
    refused = run("data", "records", path, "--out", tmp_path / "out")
    assert isinstance(refused.exception, ValueError)
    assert not (tmp_path / "out").exists()
    done = run("data", "records", path, "--out", tmp_path / "out", "--skip-unreadable")
    assert done.exit_code == 3
    assert "2 skipped" in done.stdout
    assert done.stderr.count("train1.jpg: not a picture") == 2


@pytest.mark.data
def test_labels_of_real_photographs_are_their_imgids(data: Path, tmp_path: Path) -> None:
    photos = Karpathy(data / "flickr8k" / "dataset_flickr8k.json").read("val").subset(range(20))
    write_records(tmp_path / "out", {"train": photos}, RecordSettings(word_splitter="karpathy"))
    back = Records(tmp_path / "out").read("train")
    assert sorted(back.identities.tolist()) == list(range(6000, 6020))
    assert check(tmp_path / "out").ok
