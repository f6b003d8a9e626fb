"""CMPL's records as an independent parser sees them; what is cut, damaged or missing is told by record."""

import random
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.sequence_example_protobuf import SequenceExample
from support.small_shards import KEPT, content, photo, same_pairs, small_splits

from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.tfrecords import Records
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.export.resumable_shards import in_published_order
from wordsight.read.export.tfrecords import RecordSettings, write_records
from wordsight.read.formats.tfrecord_file import framed, read_frames
from wordsight.read.pictures.decode import open_picture
from wordsight.read.text.word_rules import split_words


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, PairSet]:
    return small_splits(tmp_path)


def parsed(path: Path) -> list[Any]:
    """The records of a shard, by protobuf's own runtime; framing is cut apart by hand."""
    data, examples = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        examples.append(SequenceExample.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    return examples


def values(example: Any, name: str) -> list[Any]:
    features = example.feature_lists.feature_list[name].feature
    return [one for part in features for one in (*part.bytes_list.value, *part.int64_list.value)]


# CMPL's layout


def test_the_layout_is_cmpls(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    assert write_records(tmp_path / "out", splits, replace(KEPT, shards=2)) == []
    assert sorted(content(tmp_path / "out")) == [
        "conversion.json", "train-00000-of-00002", "train-00001-of-00002", "train_data_info.txt",
        "val-00000-of-00001", "val_data_info.txt", "word_counts.txt",
    ]  # fmt: skip
    shards = [parsed(tmp_path / "out" / f"train-0000{n}-of-00002") for n in range(2)]
    assert [len(shard) for shard in shards] == [6, 7]
    first, second, *_ = shards[0]
    assert set(first.context.feature) == {"image/data", "image/label", "image/filename", "image/split"}
    assert set(first.feature_lists.feature_list) == {"image/caption", "image/caption_ids"}
    feature = first.context.feature
    assert feature["image/label"].int64_list.value == [100]
    assert feature["image/filename"].bytes_list.value == [b"train0.jpg"]
    assert feature["image/split"].bytes_list.value == [b"train"]
    assert feature["image/data"].bytes_list.value == [(tmp_path / "imgs" / "train0.jpg").read_bytes()]
    assert values(first, "image/caption") == [
        b"<START>", b"a", b"man", b"number", b"0", b"in", b"a", b"tshirt", b"<END>",
    ]  # fmt: skip
    assert values(second, "image/caption") == [b"<START>", b"he", b"walks", b"0", b"<END>"]


def test_ids_are_the_lines_of_the_word_counts(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    write_records(tmp_path / "out", splits, KEPT)
    # 13 texts: a 6 + 6 + 1, <START> and <END> 13 each, man 7, six each of five words, numbers 0 to 5 twice
    counts = "a 13|<END> 13|<START> 13|man 7|he 6|in 6|number 6|tshirt 6|walks 6"
    lines = (tmp_path / "out" / "word_counts.txt").read_text().split("\n")
    assert lines == ["Total words: 15 ", "Words in vocabulary: 9 ", *sorted_ties(counts.split("|"))]
    words = [line.split()[0] for line in lines[2:]]
    for split in splits:
        for example in parsed(tmp_path / "out" / f"{split}-00000-of-00001"):
            said = [word.decode() for word in values(example, "image/caption")]
            ids = [words.index(word) if word in words else 9 for word in said]  # unknown: as many as words
            assert values(example, "image/caption_ids") == ids


def sorted_ties(lines: list[str]) -> list[str]:
    return sorted(lines, key=lambda line: (-int(line.split()[1]), line.split()[0]))


def test_train_is_shuffled_as_published_and_the_rest_keeps_its_order(
    tmp_path: Path, splits: dict[str, PairSet]
) -> None:
    write_records(tmp_path / "out", splits)
    order = list(range(13))
    draw = random.Random(12345).random  # Python 2's shuffle: from the last on, with one of those up to it
    for last in reversed(range(1, 13)):
        other = int(draw() * (last + 1))
        order[last], order[other] = order[other], order[last]
    assert order != sorted(order)
    for split, rows in (("train", order), ("val", range(7))):
        texts = [
            values(example, "image/caption")
            for example in parsed(tmp_path / "out" / f"{split}-00000-of-00001")
        ]
        told = [split_words(splits[split].texts[row], "cmpl") for row in rows]
        assert texts == [[b"<START>", *(word.encode() for word in words), b"<END>"] for words in told]


def test_the_shuffle_of_python_2() -> None:
    """Known: random.seed(12345) gives .4166 as its first number in Python 2 and 3 alike."""
    assert int(random.Random(12345).random() * 1e4) == 4166
    assert in_published_order([0, 1], 12345) == [1, 0]  # int(.4166 * 2) = 0 changes places with 1
    assert in_published_order("abc", None) == ["a", "b", "c"]
    assert sorted(in_published_order(range(50), 1)) == list(range(50))


def test_shuffled_shards_hold_the_same_pairs(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    write_records(tmp_path / "out", splits, RecordSettings(shards=3))
    back, kept = Records(tmp_path / "out").read("train"), splits["train"]

    def content_of(pairs: PairSet) -> list[tuple[str, str, int]]:
        rows = pairs.image_of.tolist()
        told = [" ".join(split_words(text, "cmpl")) for text in pairs.texts]
        return sorted(
            (pairs.names[row], text, int(pairs.identities[row])) for row, text in zip(rows, told, strict=True)
        )

    assert content_of(back) == content_of(kept)
    assert len(back.images) == 6


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["cmpl", "karpathy"]))
def test_words_joined_by_spaces_are_cut_as_before(text: str, word_splitter: str) -> None:
    words = split_words(text, word_splitter)
    assert split_words(" ".join(words), word_splitter) == words


def test_pictures_that_are_no_rgb_jpegs_become_some(tmp_path: Path) -> None:
    folder = tmp_path / "imgs"
    turned = Image.Exif()
    turned[0x0112] = 6
    paths = [
        photo(folder / "colour.jpg", 0),
        photo(folder / "grey.jpg", 1, "L"),
        photo(folder / "ink.jpg", 2, "CMYK"),
        photo(folder / "turned.jpg", 3, exif=turned),
        photo(folder / "clear.png", 4, "RGBA"),
    ]
    names = [path.name for path in paths]
    one = torch.arange(5)
    pairs = PairSet(PictureFiles(paths), names, [f"text {name}" for name in names], one, one)
    write_records(tmp_path / "out", {"train": pairs}, KEPT)
    for path, example in zip(paths, parsed(tmp_path / "out" / "train-00000-of-00001"), strict=True):
        (jpeg,) = example.context.feature["image/data"].bytes_list.value
        image = Image.open(BytesIO(jpeg))
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert (jpeg == path.read_bytes()) == (path.name == "colour.jpg")
        looked = open_picture(path)
        assert image.size == looked.size
        assert (
            np.abs(np.asarray(image, float) - np.asarray(looked, float)).mean() < 25
        )  # turned or mixed up: 80
    write_records(tmp_path / "again", {"train": pairs}, replace(KEPT, reencode=True))
    (first, *_) = parsed(tmp_path / "again" / "train-00000-of-00001")
    assert first.context.feature["image/data"].bytes_list.value[0] != paths[0].read_bytes()


def test_texts_without_words_and_data_without_train_are_told(
    tmp_path: Path, splits: dict[str, PairSet]
) -> None:
    silent = replace(splits["train"], texts=["...", *splits["train"].texts[1:]])
    with pytest.raises(
        ValueError, match=r"1 texts have no words by the rule 'cmpl', the first '\.\.\.' of pic"
    ):
        write_records(tmp_path / "out", {"train": silent})
    with pytest.raises(ValueError, match=r"ids from the split 'train', and there is only val"):
        write_records(tmp_path / "out", {"val": splits["val"]})


# Bad records


@pytest.fixture
def shard(tmp_path: Path, splits: dict[str, PairSet]) -> Path:
    write_records(tmp_path / "out", splits, KEPT)
    return tmp_path / "out" / "train-00000-of-00001"


def test_a_record_cut_in_the_middle(shard: Path) -> None:
    frames = list(read_frames(shard))
    shard.write_bytes(shard.read_bytes()[: frames[7].start + 100])
    told = rf"00001: record 7, which begins at byte {frames[7].start:,}, is cut short: .*; fetch or write"
    with pytest.raises(ValueError, match=told):
        Records(shard.parent).read("train")


def test_a_shard_cut_where_a_record_ends_or_of_which_nothing_is_left(shard: Path) -> None:
    frames = list(read_frames(shard))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: frames[7].start])
    with pytest.raises(ValueError, match=r"7 records of train are there, and 13 were written"):
        Records(shard.parent).read("train")
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match=r"train-00000-of-00001 is empty"):
        Records(shard.parent).read("train")
    shard.write_bytes(whole)
    assert len(Records(shard.parent).read("train")) == 13
    (shard.parent / "conversion.json").unlink()  # others' shards do not say how many they are
    shard.write_bytes(whole[: frames[7].start])
    assert len(Records(shard.parent).read("train")) == 7


def test_a_bit_that_fell_over_is_found_when_indexing_and_when_reading(shard: Path) -> None:
    whole = bytearray(shard.read_bytes())
    frame = list(read_frames(shard))[2]
    whole[frame.start + 200] ^= 4
    pairs = Records(shard.parent).read("train")
    shard.write_bytes(whole)
    with pytest.raises(
        ValueError, match=rf"record 2, which begins at byte {frame.start:,}, is damaged: the CRC"
    ):
        Records(shard.parent).read("train")
    whole[frame.start + 200] ^= 4
    whole[300] ^= 4  # inside the first record, whose picture is the one that is kept of several
    shard.write_bytes(whole)
    with pytest.raises(ValueError, match=r"record 0, .* is damaged"):
        pairs.images.read([0])
    Records(shard.parent, verify=False).read("train")
    with pytest.raises(ValueError, match=r"record 0, .* is damaged"):
        Records(shard.parent).read("train")  # an index made without looking does not do


def test_absent_and_foreign_shards(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    out = tmp_path / "out"
    write_records(out, splits, replace(KEPT, shards=4))
    with pytest.raises(FileNotFoundError, match=r"no shards of split 'test' .*; it has train, val"):
        Records(out).read("test")
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder"):
        Records(tmp_path / "nowhere").read("train")
    with pytest.raises(FileNotFoundError, match=r"no shards of split 'train' \(train-00000-of-00001\.tar"):
        WebDataset(out).read("train")
    (out / "train-00002-of-00004").rename(tmp_path / "aside")
    told = r"misses 1 of the 4 shards of 'train', the first number 2; fetch them, or let the conversion"
    with pytest.raises(FileNotFoundError, match=told):
        Records(out).read("train")
    (tmp_path / "aside").rename(out / "train-00002-of-00005")
    with pytest.raises(ValueError, match=r"shards of 'train' from several conversions"):
        Records(out).read("train")


def test_a_suffix_of_the_format_is_no_matter(shard: Path) -> None:
    pairs = Records(shard.parent).read("train")
    shard.rename(shard.with_name(f"{shard.name}.tfrecord"))
    assert same_pairs(Records(shard.parent).read("train"), pairs)


def record(**changes: Any) -> bytes:
    """A record of the layout, with features changed or, by None, left out."""
    example = SequenceExample()
    context = {"image/data": b"jpeg", "image/label": 3, "image/filename": b"a.jpg", "image/split": b"train"}
    lists = {"image/caption": [b"<START>", b"dog", b"<END>"], "image/caption_ids": [0, 5, 1]}
    for name, value in {**context, **{f"image/{key}": value for key, value in changes.items()}}.items():
        if name not in lists and value is not None:
            feature = example.context.feature[name]
            (feature.int64_list if isinstance(value, int) else feature.bytes_list).value.append(value)
    for name, values_ in lists.items():
        for value in changes.get(name.removeprefix("image/"), values_) or []:
            feature = example.feature_lists.feature_list[name].feature.add()
            (feature.int64_list if isinstance(value, int) else feature.bytes_list).value.append(value)
    return example.SerializeToString()


def records_in(folder: Path, *records: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train-00000-of-00001").write_bytes(b"".join(map(framed, records)))
    return folder


def test_records_of_others_are_read(tmp_path: Path) -> None:
    one = record(format=b"jpeg", filename=b"/home/them/a.jpg")
    other = record(caption=[b"no", b"specials"], filename=b"/home/them/a.jpg")
    third = record(label=-1)
    pairs = Records(records_in(tmp_path / "r", one, other, third)).read("train")
    assert pairs.names == ["/home/them/a.jpg", "a.jpg"]
    assert pairs.texts == ["dog", "no specials", "dog"]
    assert pairs.identities.tolist() == [3, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, r"has no values of image/data, but of image/filename, image/label, image/split"),
        ({"label": None}, r"has no values of image/label"),
        ({"filename": None}, r"has no values of image/filename"),
        ({"caption": None}, r"has no words in image/caption, but image/caption_ids"),
        ({"caption": [b"<START>", b"<END>"]}, r"has no words in image/caption"),
        ({"label": b"three"}, r"has bytes for image/label; expected a number"),
        ({"filename": 3}, r"has a number for image/filename; expected bytes"),
        ({"caption": [b"\xff"]}, r"has image/caption = b'\\xff'; expected text"),
    ],
)
def test_missing_and_wrong_features_are_told_by_record(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = records_in(tmp_path / "r", record(), record(**changes))
    place = (
        rf"00001: record 1, which begins at byte {len(framed(record()))}, {message}.*; expected CMPL's layout"
    )
    with pytest.raises(ValueError, match=place):
        Records(folder).read("train")


def test_records_that_are_no_examples_and_shards_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"record 0, which begins at byte 0, has at its byte 0 a field of type 7"
    ):
        Records(records_in(tmp_path / "r", b"\x0f")).read("train")
    with pytest.raises(
        ValueError, match=r"train-00000-of-00001 is empty, .*; fetch or write this file again"
    ):
        Records(records_in(tmp_path / "empty")).read("train")
