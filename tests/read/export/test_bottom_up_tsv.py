"""The bottom-up-attention TSV becomes a precomputed folder with boxes, also after kill -9 in the middle."""

import base64
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import warm_process

from wordsight.read.datasets.precomputed import Precomp
from wordsight.read.export.bottom_up_tsv import Converted, convert_bottom_up

REGIONS, SIZE = 3, 5


def features(image: int, regions: int = REGIONS) -> np.ndarray:
    return np.random.default_rng(image).normal(size=(regions, SIZE)).astype("<f4")


def boxes(image: int, regions: int = REGIONS) -> np.ndarray:
    width, height = picture_size(image)
    return np.tile(np.array([0, height / 4, width / 2, height], "<f4"), (regions, 1))


def picture_size(image: int) -> tuple[int, int]:
    return 400 + image, 300


def line(image: int, regions: int = REGIONS) -> bytes:
    arrays = [
        base64.b64encode(values.tobytes()) for values in (boxes(image, regions), features(image, regions))
    ]
    numbers = [str(n).encode() for n in (image, *picture_size(image), regions)]
    return b"\t".join([*numbers, *arrays]) + b"\n"


def tsv(folder: Path, *images: int, name: str = "shard.tsv") -> Path:
    path = folder / name
    path.write_bytes(b"".join(line(image) for image in images))
    return path


def ids(folder: Path, *images: int) -> Path:
    path = folder / "train_ids.txt"
    path.write_text("".join(f"{image}\n" for image in images))
    return path


def converted(folder: Path) -> np.ndarray:
    return np.load(folder / "train_ims.npy")


def stacked(*images: int) -> np.ndarray:
    return np.stack([features(image) for image in images])


def test_features_boxes_and_sizes_in_the_order_of_the_ids(tmp_path: Path) -> None:
    ids(tmp_path, 7, 3, 9)
    did = convert_bottom_up(tsv(tmp_path, 9, 4, 7, 3, 7), tmp_path, "train")
    assert (did.regions, did.feature_dim, did.repeated, did.unused) == (REGIONS, SIZE, 1, 1)
    assert np.array_equal(converted(tmp_path), stacked(7, 3, 9))
    (tmp_path / "train_caps.txt").write_text("a\nb\nc\n")
    regions = Precomp(tmp_path).read("train").images.read([0, 1, 2])
    assert torch.allclose(regions.boxes, torch.tensor([0, 0.25, 0.5, 1]).expand(3, REGIONS, 4))
    assert np.load(tmp_path / "train_img_sizes.npy").tolist() == [[407, 300], [403, 300], [409, 300]]


def test_an_id_that_stands_five_times_gets_five_rows(tmp_path: Path) -> None:
    ids(tmp_path, *[1] * 5, *[2] * 5)
    convert_bottom_up(tsv(tmp_path, 2, 1), tmp_path, "train", dtype="float16")
    assert converted(tmp_path).dtype == np.float16
    assert np.array_equal(converted(tmp_path), stacked(*[1] * 5, *[2] * 5).astype(np.float16))


def test_without_ids_the_order_is_that_of_the_shards(tmp_path: Path) -> None:
    shards = [tsv(tmp_path, 5, 2, name="shard.0"), tsv(tmp_path, 2, 8, name="shard.1")]
    convert_bottom_up(shards, tmp_path, "train")
    assert (tmp_path / "train_ids.txt").read_text() == "5\n2\n8\n"
    assert np.array_equal(converted(tmp_path), stacked(5, 2, 8))


def test_ids_from_elsewhere_are_written_beside(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert_bottom_up(tsv(tmp_path, 1, 2), tmp_path / "out", "train", ids=ids(tmp_path, 2, 1))
    assert (tmp_path / "out" / "train_ids.txt").read_text() == "2\n1\n"


def test_images_that_no_shard_holds_can_come_with_another_shard(tmp_path: Path) -> None:
    ids(tmp_path, 1, 2, 3)
    first, second = tsv(tmp_path, 1, name="shard.0"), tsv(tmp_path, 3, 2, name="shard.1")
    with pytest.raises(
        ValueError, match=r"2 of 3 images are in none of shard\.0, the first 2; give all shards"
    ):
        convert_bottom_up(first, tmp_path, "train")
    assert not (tmp_path / "train_ims.npy").exists()
    convert_bottom_up([first, second], tmp_path, "train")
    assert np.array_equal(converted(tmp_path), stacked(1, 2, 3))
    assert not (tmp_path / "train.partial").exists()


def with_column(image: int, column: int, value: bytes) -> bytes:
    columns = line(image).rstrip(b"\n").split(b"\t")
    columns[column] = value
    return b"\t".join(columns) + b"\n"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (line(2)[:200].rpartition(b"\t")[0], r"line 2 has 5 columns, expected 6 .*cut short"),
        (with_column(2, 4, b"AAA*"), r"line 2: boxes is not base64"),
        (with_column(2, 5, b"AAAA"), r"line 2: features holds 3 bytes, which is not float32 for 3 boxes"),
        (with_column(2, 5, b""), r"line 2: features holds 0 bytes"),
        (with_column(2, 3, b"many"), r"line 2: num_boxes is b'many', expected a number"),
        (with_column(2, 1, b"0"), r"line 2: image_w is b'0', expected a number from 1 to"),
        (with_column(2, 4, base64.b64encode(bytes(24))), r"line 2: boxes have 2 numbers each, expected 4"),
        (line(2, regions=4), r"line 2: image 2 has 4 boxes of 5 numbers, but the first had 3 of 5; .*36 as"),
        (
            with_column(2, 5, base64.b64encode(np.full(15, np.nan, "<f4"))),
            r"line 2: features holds NaN or infinity",
        ),
    ],
)
def test_a_broken_line_is_named_and_mending_it_goes_on(tmp_path: Path, second: bytes, message: str) -> None:
    path = tmp_path / "shard.tsv"
    ids(tmp_path, 1, 2)
    path.write_bytes(line(1) + second)
    with pytest.raises(ValueError, match=message):
        convert_bottom_up(path, tmp_path, "train")
    assert not (tmp_path / "train_ims.npy").exists()
    path.write_bytes(line(1) + line(2))
    convert_bottom_up(path, tmp_path, "train")
    assert np.array_equal(converted(tmp_path), stacked(1, 2))


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_damaged_line_is_made_up_for_by_a_whole_one_of_its_image(tmp_path: Path, whole_first: bool) -> None:
    """bottom-up-attention#7 and #40: the published files hold damaged lines whose image comes once more."""
    damaged, whole = with_column(2, 5, b"AAAA"), line(2)
    path, other = tmp_path / "shard.0", tmp_path / "shard.1"
    path.write_bytes(line(1) + (whole if whole_first else damaged) + line(3))
    other.write_bytes((damaged if whole_first else whole) + line(4))
    ids(tmp_path, 1, 2, 3, 4)
    did = convert_bottom_up([path, other], tmp_path, "train")
    assert np.array_equal(converted(tmp_path), stacked(1, 2, 3, 4))
    assert (did.damaged, did.repeated) == ((0, 1) if whole_first else (1, 0))
    assert ("1 damaged, whose image came whole" in str(did)) != whole_first


def test_lines_after_a_damaged_one_are_not_lost_and_not_counted_twice(tmp_path: Path) -> None:
    ids(tmp_path, 1, 2, 3, 4)
    path = tmp_path / "shard.tsv"
    path.write_bytes(
        b"".join([line(1), with_column(2, 5, b"AAAA"), line(3), line(9), line(4)[:50], b"\n", line(3)])
    )
    with pytest.raises(ValueError, match=r"damaged lines: 2, the first .*line 2: features holds 3 bytes"):
        convert_bottom_up(path, tmp_path, "train")
    note = Converted.load(tmp_path / "train.partial" / "progress.json")
    assert note.done == [True, False, True, False]
    path.write_bytes(b"".join(map(line, (1, 2, 3, 9, 4, 3))))
    did = convert_bottom_up(path, tmp_path, "train")
    assert np.array_equal(converted(tmp_path), stacked(1, 2, 3, 4))
    assert (did.damaged, did.unused, did.repeated) == (0, 1, 1)


def test_a_file_of_another_format_is_refused_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "shard.tsv"
    path.write_bytes(b"".join(b"%d\tno\tfeatures\n" % n for n in range(100_000)))
    with pytest.raises(ValueError, match=r"line 21 has 3 columns, expected 6"):
        convert_bottom_up(path, tmp_path, "train")


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 11), st.permutations(range(12)))
def test_interrupted_anywhere_it_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, stop: int, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("interrupted")
    path = tsv(folder, *order)
    ids(folder, *range(12))
    whole = path.read_bytes()
    path.write_bytes(b"".join(line(image) for image in order[:stop]) + b"cut")
    with pytest.raises(ValueError, match=r"expected 6|none of"):
        convert_bottom_up(path, folder, "train")
    path.write_bytes(whole)
    convert_bottom_up(path, folder, "train")
    assert np.array_equal(converted(folder), stacked(*range(12)))


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    path = tsv(tmp_path, *range(3000))
    ids(tmp_path, *reversed(range(3000)))
    code = (
        "import sys, time; from wordsight.read.export.bottom_up_tsv import convert_bottom_up as c; "
        "c(sys.argv[1], sys.argv[2], 'train', progress=lambda *at: time.sleep(0.3))"
    )
    job = warm_process.start(path, tmp_path, program=("code", code))
    note = tmp_path / "train.partial" / "progress.json"
    for _ in itertools.takewhile(lambda _: not note.exists() and job.poll() is None, itertools.count()):
        time.sleep(0.02)
    job.kill()
    job.wait()
    assert not (tmp_path / "train_ims.npy").exists()
    assert 0 < sum(Converted.load(note).done) < 3000
    seen: list[tuple[int, int]] = []
    convert_bottom_up(path, tmp_path, "train", progress=lambda *at: seen.append(at[1:]))
    assert np.array_equal(converted(tmp_path), stacked(*reversed(range(3000))))
    assert seen[-1] == (3000, 3000)
    assert len(seen) < 7  # a fresh run reports at the start, after 512, 1024, ... 2560 and 3000


def test_what_was_begun_otherwise_is_not_mixed(tmp_path: Path) -> None:
    ids(tmp_path, 1, 2)
    path = tsv(tmp_path, 1)
    with pytest.raises(ValueError, match="none of"):
        convert_bottom_up(path, tmp_path, "train")
    with pytest.raises(ValueError, match=r"train\.partial was begun with other ids or .*delete it"):
        convert_bottom_up(path, tmp_path, "train", dtype="float16")


def test_absent_tsv_and_finished_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tsv does not exist"):
        convert_bottom_up(tmp_path / "nowhere.tsv", tmp_path, "train")
    path = tsv(tmp_path, 1)
    convert_bottom_up(path, tmp_path, "train")
    with pytest.raises(FileExistsError, match=r"train_ims\.npy exists already; delete it"):
        convert_bottom_up(path, tmp_path, "train")
