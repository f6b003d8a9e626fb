"""WebDataset shards, ours and others'; what is cut, damaged or incomplete is told by shard and key."""

import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.heic import save_heic, without_heic
from support.small_shards import same_pairs, same_pixels, small_splits

from wordsight.pairs import PairSet, PictureFiles
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.export.resumable_shards import in_published_order
from wordsight.read.export.webdataset import write_webdataset
from wordsight.read.pictures.decode import UnreadablePicture


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, PairSet]:
    return small_splits(tmp_path)


def test_webdataset_keeps_texts_as_they_are(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    write_webdataset(tmp_path / "out", splits, shards=4)
    assert same_pairs(WebDataset(tmp_path / "out").read("dev"), splits["val"])
    shuffled, kept = WebDataset(tmp_path / "out").read("train"), splits["train"]
    rows = [kept.names.index(name) for name in shuffled.names]
    assert rows == in_published_order(range(6), 12345)
    assert same_pairs(shuffled, regrouped(kept, rows))
    assert same_pixels(shuffled, regrouped(kept, rows))


def test_heic_photographs_are_kept_as_they_are(tmp_path: Path, splits: dict[str, PairSet]) -> None:
    train = splits["train"]
    for row, path in enumerate(train.images.paths):
        save_heic(Image.open(path), tmp_path / f"{row}.heic", orientation=6)
    photos = PictureFiles([tmp_path / f"{row}.heic" for row in range(len(train.images))])
    splits = {"train": replace(train, images=photos)}
    write_webdataset(tmp_path / "out", splits, seed=None)
    back = WebDataset(tmp_path / "out").read("train")
    assert same_pixels(back, splits["train"])
    with without_heic(), pytest.raises(UnreadablePicture, match=r"record 0.*pip install 'wordsight\[heic\]'"):
        back.images.read([0])


def regrouped(pairs: PairSet, rows: list[int]) -> PairSet:
    """The pictures in another order, each followed by its own texts."""
    texts = [[t for t, row in enumerate(pairs.image_of.tolist()) if row == picture] for picture in rows]
    return replace(
        pairs.subset(rows),
        texts=[pairs.texts[t] for group in texts for t in group],
        image_of=torch.tensor([n for n, group in enumerate(texts) for _ in group]),
    )


def test_a_damaged_picture_in_a_sound_record_is_told_by_its_place(
    tmp_path: Path, splits: dict[str, PairSet]
) -> None:
    write_webdataset(tmp_path / "out", splits, seed=None)
    path = tmp_path / "out" / "train-00000-of-00001.tar"
    whole = bytearray(path.read_bytes())
    whole[512:612] = bytes(100)
    path.write_bytes(whole)
    pairs = WebDataset(tmp_path / "out").read("train")
    with pytest.raises(
        UnreadablePicture, match=r"00001\.tar: picture train0\.jpg \(record 0\) cannot be read"
    ):
        pairs.images.read([0])
    pairs.images.read([1])


@pytest.fixture
def tar(tmp_path: Path, splits: dict[str, PairSet]) -> Path:
    write_webdataset(tmp_path / "out", splits, seed=None)
    return tmp_path / "out" / "train-00000-of-00001.tar"


def test_a_tar_file_cut_anywhere_is_told(tar: Path) -> None:
    whole = tar.read_bytes()
    with tarfile.open(tar) as opened:
        end = opened.getmembers()[-1].offset_data
    for size in {*range(0, end, 97), *range(0, end + 512, 512)}:
        tar.write_bytes(whole[:size])
        with pytest.raises(
            ValueError, match=r"00001\.tar(: train-0000000\d .*| is cut short or damaged .*again)"
        ):
            WebDataset(tar.parent).read("train")


def test_a_damaged_head_in_a_tar_file_is_not_taken_for_its_end(tar: Path) -> None:
    whole = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        at = opened.getmembers()[9].offset
    whole[at + 3] ^= 1
    tar.write_bytes(whole)
    with pytest.raises(
        ValueError, match=rf"damaged \(at byte {at:,} is neither a member nor the end\); fetch"
    ):
        WebDataset(tar.parent).read("train")


def tar_of(folder: Path, name: str, **members: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / name, "w") as opened:
        for member, value in members.items():
            info = tarfile.TarInfo(member.replace("_", "."))
            info.size = len(value)
            opened.addfile(info, BytesIO(value))
    return folder


def test_webdatasets_of_others_are_read(tmp_path: Path) -> None:
    folder = tar_of(
        tmp_path / "w",
        "train-000000.tar",
        a_jpg=b"1",
        a_txt=b"one\n\ntwo\n",
        b_png=b"2",
        b_json=b'{"caption": "x"}',
    )
    tar_of(
        folder,
        "train-000001.tar",
        a_seg_png=b"no",
        a_jpg=b"3",
        a_json=b'{"captions": ["y", "z"], "width": 3}',
    )
    pairs = WebDataset(folder).read("train")
    assert pairs.names == ["a.jpg", "b.png", "a.jpg"]  # keys are keys within one shard
    assert pairs.texts == ["one", "two", "x", "y", "z"]
    assert pairs.identities.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a_txt": b"x"}, r"a \(sample 0\) has no picture, only \.txt; expected a\.jpg beside it"),
        ({"a_jpg": b"x"}, r"without a caption: 1 of 1, the first a\.jpg \(sample 0\); expected"),
        ({"a_jpg": b"x", "a_json": b"{"}, r"a \(sample 0\): its \.json is not valid .*; write it again"),
        ({"a_jpg": b"x", "a_json": b"[3]"}, r"a \(sample 0\): its \.json holds '\[3\]'; expected an object"),
        (
            {"a_jpg": b"x", "a_json": b'{"caption": "x", "identity": "y"}'},
            r"identity = 'y'; expected text and a",
        ),
        ({"a_jpg": b"x", "b_txt": b"x"}, r"b \(sample 1\) has no picture"),
    ],
)
def test_incomplete_samples_are_told_by_key(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    folder = tar_of(tmp_path / "w", "train-0.tar", **members)
    with pytest.raises(ValueError, match=message):
        WebDataset(folder).read("train")


def test_a_gap_in_numbered_tar_files_is_told(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        folder = tar_of(tmp_path / "w", f"train-{number:06d}.tar", a_jpg=b"1", a_txt=b"x")
    with pytest.raises(FileNotFoundError, match=r"misses 1 of the 4 shards of 'train', the first number 2"):
        WebDataset(folder).read("train")
