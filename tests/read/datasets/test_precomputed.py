"""Precomputed folders as published: each image once with its captions, read by row; disagreement is told."""

import errno
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.full_disk import files_of_at_most

from wordsight.pairs import PictureFiles
from wordsight.read.datasets.precomputed import Precomp
from wordsight.read.datasets.precomputed_boxes import open_boxes
from wordsight.read.datasets.precomputed_images import PrecompImages
from wordsight.read.export.precomputed import PrecompWriter, write_precomp
from wordsight.read.features.precomputed_reader import Precomputed
from wordsight.sets import Regions


def features(images: int, regions: int = 3, size: int = 4) -> np.ndarray:
    return np.random.default_rng(images).normal(size=(images, regions, size)).astype(np.float32)


def published(
    folder: Path, split: str, images: np.ndarray, per_image: int = 5, repeated: bool = False, ids: bool = True
) -> Path:
    """A split as released: one row per image, or every row as often as it has captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.repeat(np.arange(len(images)), per_image if repeated else 1)
    np.save(folder / f"{split}_ims.npy", images[rows])
    texts = [f"Caption {n} of image {image} ." for image in range(len(images)) for n in range(per_image)]
    (folder / f"{split}_caps.txt").write_text("".join(f"{text}\n" for text in texts))
    if ids:
        (folder / f"{split}_ids.txt").write_text("".join(f"{100 + row}\n" for row in rows))
    return folder


def read_all(images: PrecompImages) -> Regions:
    return images.read(range(len(images)))


# Layouts and the 1-or-5 convention


@pytest.mark.parametrize("layout", ["f30k_precomp", "f30k/precomp"])
@pytest.mark.parametrize("above", [0, 1])
def test_both_layouts_by_the_folder_or_one_above(tmp_path: Path, layout: str, above: int) -> None:
    folder = published(tmp_path / layout, "train", features(4))
    path = folder.parent if above else folder
    assert len(Precomp(path).read("train")) == 20
    assert len(Precomp(tmp_path).read("train")) == 20


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("ids", [False, True])
def test_each_image_once_with_all_its_captions(tmp_path: Path, repeated: bool, ids: bool) -> None:
    images = features(6)
    pairs = Precomp(published(tmp_path, "test", images, repeated=repeated, ids=ids)).read("test")
    assert (len(pairs.images), len(pairs)) == (6, 30)
    assert pairs.image_of.tolist() == [image for image in range(6) for _ in range(5)]
    assert pairs.texts[7] == "Caption 2 of image 1 ."
    assert pairs.identities.tolist() == list(range(6))
    assert torch.equal(read_all(pairs.images).features, torch.from_numpy(images))
    assert pairs.names[1] == ("101" if ids else f"test row {5 if repeated else 1}")


def test_rows_of_one_id_are_one_image_wherever_they_stand(tmp_path: Path) -> None:
    images = features(2)
    np.save(tmp_path / "test_ims.npy", images[[0, 1, 0]])
    (tmp_path / "test_caps.txt").write_text("a\nb\nc\n")
    (tmp_path / "test_ids.txt").write_text("9\n7\n9\n")
    pairs = Precomp(tmp_path).read("test")
    assert (pairs.names, pairs.image_of.tolist()) == (["9", "7"], [0, 1, 0])


def test_one_caption_per_image_stays_so(tmp_path: Path) -> None:
    pairs = Precomp(published(tmp_path, "test", features(7), per_image=1, ids=False)).read("test")
    assert pairs.image_of.tolist() == list(range(7))


def test_other_numbers_of_captions_by_setting(tmp_path: Path) -> None:
    published(tmp_path, "test", features(4), per_image=2)
    with pytest.raises(
        ValueError, match=r"test_ims\.npy has 4 rows but test_caps\.txt has 8 lines; expected"
    ) as told:
        Precomp(tmp_path).read("test")
    assert "if every row has 2, set captions_per_image = 2" in str(told.value)
    assert Precomp(tmp_path, captions_per_image=2).read("test").image_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_rows_and_lines_that_do_not_fit(tmp_path: Path) -> None:
    published(tmp_path, "train", features(5))
    lines = (tmp_path / "train_caps.txt").read_text().splitlines(keepends=True)
    (tmp_path / "train_caps.txt").write_text("".join(lines[:-1]))
    with pytest.raises(
        ValueError,
        match=r"train_ims\.npy has 5 rows but train_caps\.txt has 24 lines; expected 1 or 5 lines per row",
    ):
        Precomp(tmp_path).read("train")
    with pytest.raises(ValueError, match="expected 5 lines per row; one of the two may be cut short"):
        Precomp(tmp_path, captions_per_image=5).read("train")


def test_ids_that_do_not_fit(tmp_path: Path) -> None:
    published(tmp_path, "train", features(5))
    (tmp_path / "train_ids.txt").write_text("1\n2\n")
    with pytest.raises(
        ValueError, match=r"train_ids\.txt has 2 lines but train_ims\.npy has 5 rows; expected one"
    ):
        Precomp(tmp_path).read("train")


def test_the_dev_quirk_is_off_and_can_be_set(tmp_path: Path) -> None:
    published(tmp_path, "dev", features(1014, 1, 2), repeated=True)
    published(tmp_path, "test", features(1014, 1, 2), repeated=True)
    whole, limited = Precomp(tmp_path).read("val"), Precomp(tmp_path, dev_limit_5000=True).read("dev")
    assert (len(whole.images), len(whole)) == (1014, 5070)
    assert (len(limited.images), len(limited)) == (1000, 5000)
    assert len(Precomp(tmp_path, dev_limit_5000=True).read("test")) == 5070


def test_unknown_paths_and_splits(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no precomputed folder"):
        Precomp(tmp_path).read("train")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; name the one"):
        Precomp(tmp_path / "nowhere").read("train")
    published(tmp_path / "f30k_precomp", "train", features(2))
    with pytest.raises(ValueError, match=r"has no tset_caps\.txt; its splits are train"):
        Precomp(tmp_path).read("tset")
    published(tmp_path / "coco_precomp", "train", features(2))
    with pytest.raises(
        ValueError, match="holds several precomputed folders, coco_precomp, f30k_precomp; set path"
    ):
        Precomp(tmp_path).read("train")


# Captions


def test_caption_lines_are_kept_as_written(tmp_path: Path) -> None:
    published(tmp_path, "test", features(1))
    (tmp_path / "test_caps.txt").write_bytes("Caf\u00e9\u2028bar\r\n  A Dog .\nx\x0by\nb\nc".encode())
    assert Precomp(tmp_path).read("test").texts == ["Café\u2028bar", "A Dog .", "x\x0by", "b", "c"]


def test_empty_captions_are_placed_or_dropped(tmp_path: Path) -> None:
    published(tmp_path, "test", features(2))
    (tmp_path / "test_caps.txt").write_text("a\nb\n\n \ne\n" + "\n" * 5)
    with pytest.raises(
        ValueError, match=r"test_caps\.txt: empty captions: 7, the first at line 3; fill them in, or"
    ):
        Precomp(tmp_path).read("test")
    pairs = Precomp(tmp_path, drop_empty=True).read("test")
    assert (pairs.texts, pairs.names, len(pairs.images)) == (["a", "b", "e"], ["100"], 1)


def test_captions_that_are_not_utf8(tmp_path: Path) -> None:
    published(tmp_path, "test", features(1))
    (tmp_path / "test_caps.txt").write_bytes(b"a\nb\nc\nd\xe9\ne\n")
    with pytest.raises(ValueError, match=r"test_caps\.txt line 4: byte 0xe9 is not UTF-8"):
        Precomp(tmp_path).read("test")


# Arrays


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_features_become_float32(tmp_path: Path, dtype: str) -> None:
    images = features(3).astype(dtype)
    pairs = Precomp(published(tmp_path, "test", images)).read("test")
    regions = pairs.images.read([2, 0])
    assert regions.features.dtype == torch.float32
    assert np.array_equal(regions.features.numpy(), images[[2, 0]].astype(np.float32))
    assert regions.boxes is None
    assert regions.mask.all()


def test_one_vector_per_image_is_one_region(tmp_path: Path) -> None:
    images = features(3)[:, 0]
    pairs = Precomp(published(tmp_path, "test", images)).read("test")
    assert pairs.images.read([1]).features.tolist() == [[images[1].tolist()]]


def test_columns_first_arrays(tmp_path: Path) -> None:
    images = np.asfortranarray(features(3))
    pairs = Precomp(published(tmp_path, "test", images)).read("test")
    assert torch.equal(read_all(pairs.images).features, torch.from_numpy(features(3)))


def test_a_worker_process_opens_the_file_itself(tmp_path: Path) -> None:
    images = Precomp(published(tmp_path, "test", features(200, 30, 40))).read("test").images
    before = read_all(images).features
    packed = pickle.dumps(images)
    assert len(packed) < 10_000
    assert torch.equal(read_all(pickle.loads(packed)).features, before)


def test_more_features_than_memory(tmp_path: Path) -> None:
    """64 GiB of features, as a file of holes: only the rows that are asked for are read."""
    published(tmp_path, "train", features(2))
    with (tmp_path / "train_ims.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (233_000, 36, 2048)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 233_000 * 36 * 2048 * 4)
    (tmp_path / "train_caps.txt").write_text("a\n" * 233_000)
    (tmp_path / "train_ids.txt").write_text("".join(f"{n}\n" for n in range(233_000)))
    pairs = Precomp(tmp_path).read("train")
    assert pairs.images.read([0, 232_999]).features.shape == (2, 36, 2048)


def broken(folder: Path, content: bytes | np.ndarray) -> Path:
    published(folder, "test", features(4))
    if isinstance(content, bytes):
        (folder / "test_ims.npy").write_bytes(content)
    else:
        np.save(folder / "test_ims.npy", content, allow_pickle=True)
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"test_ims\.npy is empty \(0 bytes\)"),
        (b"<!DOCTYPE html>", r"is not a \.npy file, .*starts with b'<!DOCTYPE html>'; fetch it again"),
        (b"\x93NUMPY\x01\x00\xff\xff{", r"is not a \.npy file, or its header is damaged"),
        (b"\x93NUMPY\x09\x00\x10\x00{", r"is not a \.npy file, or its header is damaged"),
        (features(4)[0, 0], r"has shape \(4,\); expected \[row region feature\] or \[row feature\]"),
        (features(4)[None], r"has shape \(1, 4, 3, 4\); expected"),
        (features(4).astype(int), r"holds int64; expected float32"),
        (
            np.array([None, {}]),
            r"holds pickled Python objects, which are not opened because they can run code",
        ),
        (np.zeros((0, 3, 4), np.float32), r"has shape \(0, 3, 4\): there is nothing in it"),
    ],
)
def test_arrays_that_are_none(tmp_path: Path, content: bytes | np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Precomp(broken(tmp_path, content)).read("test")


def test_an_array_cut_short_says_how_much(tmp_path: Path) -> None:
    whole = published(tmp_path, "test", features(4)) / "test_ims.npy"
    whole.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(
        ValueError, match=r"cut short: .* \(4, 3, 4\), 320 bytes .* has 319 bytes; fetch it again"
    ):
        Precomp(tmp_path).read("test")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 127), st.integers(0, 255))
def test_a_damaged_header_is_always_a_value_error(tmp_path: Path, place: int, value: int) -> None:
    path = published(tmp_path, "test", features(4)) / "test_ims.npy"
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(bytes(content))
    try:
        pairs = Precomp(tmp_path).read("test")
    except ValueError as error:
        assert "test_ims.npy" in str(error)  # noqa: PT017
    else:
        assert len(pairs) == 20


def test_features_that_are_not_finite_name_their_row(tmp_path: Path) -> None:
    images = features(4)
    images[2, 1, 3] = np.nan
    pairs = Precomp(published(tmp_path, "test", images, repeated=True)).read("test")
    assert pairs.images.read([0, 1, 3]).features.isfinite().all()
    with pytest.raises(ValueError, match=r"test_ims\.npy row 10 holds NaN or infinity; .*data check"):
        pairs.images.read([3, 2])


def test_absent_features_say_what_else_can_be_done(tmp_path: Path) -> None:
    (published(tmp_path, "test", features(1)) / "test_ims.npy").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"test_ims\.npy does not exist; .*set pictures to the folder"
    ):
        Precomp(tmp_path).read("test")


# Boxes

PIXELS = np.array(
    [[[0, 0, 640, 480], [320, 120, 480, 240]], [[0, 0, 500, 500], [50, 0, 100, 250]]], np.float32
)
SIZES = np.array([[640, 480], [500, 500]], np.float32)
FRACTIONS = np.array([[[0, 0, 1, 1], [0.5, 0.25, 0.75, 0.5]], [[0, 0, 1, 1], [0.1, 0, 0.2, 0.5]]], np.float32)


def boxed(folder: Path, boxes: np.ndarray, sizes: np.ndarray | None) -> Path:
    published(folder, "test", features(2, regions=2))
    np.save(folder / "test_boxes.npy", boxes)
    if sizes is not None:
        np.save(folder / "test_img_sizes.npy", sizes)
    return folder


@pytest.mark.parametrize(("boxes", "sizes"), [(PIXELS, SIZES), (FRACTIONS, None), (FRACTIONS, SIZES)])
def test_boxes_become_fractions(tmp_path: Path, boxes: np.ndarray, sizes: np.ndarray | None) -> None:
    images = Precomp(boxed(tmp_path, boxes, sizes)).read("test").images
    for source in (images, pickle.loads(pickle.dumps(images))):
        regions = source.read([1, 0])
        assert torch.allclose(regions.boxes, torch.from_numpy(FRACTIONS[[1, 0]]))


def test_boxes_that_end_a_little_outside_are_cut(tmp_path: Path) -> None:
    boxes = PIXELS.copy()
    boxes[0, 0, 2] = 640.5
    assert read_all(Precomp(boxed(tmp_path, boxes, SIZES)).read("test").images).boxes.max() == 1


@pytest.mark.parametrize(
    ("boxes", "sizes", "message"),
    [
        (PIXELS, None, r"is in pixels \(up to 640\), but there is no test_img_sizes\.npy"),
        (FRACTIONS * 1.5, SIZES, r"largest number is 1\.5, too large for fractions .* too small for pixels"),
        (PIXELS, SIZES[:, ::-1], r"row 0 reaches to \[640\.0, 480\.0\], outside .*swap its columns"),
        (PIXELS * 3, SIZES, r"row 0 reaches to \[1920\.0, 1440\.0\], outside its picture"),
        (PIXELS[:, :, [2, 3, 0, 1]], SIZES, r"row 0 region 0 .*ends before it begins"),
        (PIXELS[:1], SIZES, r"shape \(1, 2, 4\), but the features have 2 rows of 2 regions"),
        (PIXELS * np.nan, SIZES, r"holds NaN or infinity"),
        (PIXELS, SIZES[:1], r"test_img_sizes\.npy has shape \(1, 2\); expected \(2, 2\)"),
        (PIXELS, SIZES * 0, r"test_img_sizes\.npy .*above 0"),
    ],
)
def test_boxes_that_cannot_be_understood_are_refused_or_left_out(
    tmp_path: Path, boxes: np.ndarray, sizes: np.ndarray | None, message: str
) -> None:
    boxed(tmp_path, boxes, sizes)
    with pytest.raises(ValueError, match=message):
        Precomp(tmp_path).read("test")
    assert read_all(Precomp(tmp_path, boxes=False).read("test").images).boxes is None


def test_a_folder_without_boxes_has_none(tmp_path: Path) -> None:
    published(tmp_path, "test", features(2))
    assert open_boxes(tmp_path, "test", 2, 3) is None


# Raw pictures with precomputed captions


@pytest.mark.data
def test_real_precomputed_captions_with_raw_pictures(data: Path) -> None:
    pairs = Precomp(data / "flickr8k" / "precomp", pictures=data / "flickr8k" / "images").read("val")
    assert isinstance(pairs.images, PictureFiles)
    assert (len(pairs.images), len(pairs)) == (1000, 5000)
    assert pairs.names[0] == pairs.images.paths[0].name


@pytest.mark.parametrize("mapping", [None, "id_mapping.json"])
def test_ids_become_pictures_through_the_mapping(tmp_path: Path, mapping: str | None) -> None:
    published(tmp_path / "f30k" / "precomp", "test", features(2), repeated=True)
    pictures = tmp_path / "f30k" / "flickr30k-images"
    pictures.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (pictures / name).touch()
    path = tmp_path / "f30k" / "id_mapping.json"
    path.write_text('{"100": "a.jpg", "101": "b.jpg"}')
    given = {"id_mapping": path} if mapping else {"pictures": pictures}
    pairs = Precomp(tmp_path / "f30k", **given).read("test")
    assert pairs.images.read([0, 1]) == [pictures / "a.jpg", pictures / "b.jpg"]
    assert pairs.image_of.tolist() == [0] * 5 + [1] * 5


def test_captions_that_name_no_pictures(tmp_path: Path) -> None:
    published(tmp_path, "test", features(2), ids=False)
    with pytest.raises(FileNotFoundError, match=r"neither test_ids\.txt nor test_imagename\.txt"):
        Precomp(tmp_path, pictures=tmp_path).read("test")


# The reader of a model trained on such features


def test_precomputed_reads_no_pictures(tmp_path: Path) -> None:
    reader = Precomputed(2048)
    with pytest.raises(ValueError, match=r'2048 .* cannot look at pictures \(1 given\).*"backbone"'):
        reader(["dog.jpg"])
    again = Precomputed(**reader.save(tmp_path))
    assert (again.feature_dim, again.identity) == (2048, reader.identity)
    assert Precomputed(1280).identity != reader.identity


# Writing


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=5) | st.integers(1, 4).map(lambda n: [5] * n),
    boxes=st.sampled_from(["none", "pixels", "fractions"]),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], boxes: str, dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("written")
    images = features(len(counts)).astype(dtype)
    captions = [[f"{image}.{n}" for n in range(count)] for image, count in enumerate(counts)]
    fractions = np.tile(np.array([0, 0.25, 0.5, 0.75], np.float32), (len(counts), 3, 1))
    write_precomp(
        folder,
        "train",
        iter(images),
        captions,
        [f"id{n}" for n in range(len(counts))],
        boxes={"none": None, "pixels": iter(fractions * 400), "fractions": iter(fractions)}[boxes],
        sizes=((400, 400) for _ in counts) if boxes == "pixels" else None,
        dtype=dtype,
    )
    pairs = Precomp(folder).read("train")
    regions = read_all(pairs.images)
    assert [[pairs.texts[t] for t in (pairs.image_of == i).nonzero()] for i in range(len(counts))] == captions
    assert pairs.names == [f"id{n}" for n in range(len(counts))]
    assert np.array_equal(regions.features.numpy(), images.astype(np.float32))
    assert (
        regions.boxes is None
        if boxes == "none"
        else torch.allclose(regions.boxes, torch.from_numpy(fractions))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"captions": [["a"]]}, "1 lists of captions for 3 ids"),
        ({"captions": [["a"], [" "], ["c"]]}, r"image y has no caption or an empty one"),
        ({"features": features(2)}, "features ended after 2 images, but there are 3 ids"),
        ({"features": features(4)}, "the ids ended after 3 images, but features went on"),
        ({"boxes": np.zeros((2, 3, 4))}, "boxes ended after 2 images, but features went on"),
        (
            {"features": [*features(2), features(1, regions=9)[0]]},
            r"row 2 has shape \(9, 4\), but .* \(3, 4\)",
        ),
        ({"features": features(3) * np.inf}, r"train_ims\.npy row 0 would hold NaN, infinity"),
        ({"features": features(3) + 1e5, "dtype": "float16"}, r"a number too large for float16"),
        ({"features": features(3)[0]}, r"image 0 has features of shape \(4,\)"),
    ],
)
def test_nothing_is_left_of_what_cannot_be_written(tmp_path: Path, change: dict, message: str) -> None:
    good = {"features": features(3), "captions": [["a"], ["b"], ["c"]], "ids": ["x", "y", "z"]}
    with pytest.raises(ValueError, match=message):
        write_precomp(tmp_path, "train", **(good | change))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    published(tmp_path, "train", features(2))
    with pytest.raises(FileExistsError, match=r"train_ims\.npy exists already; delete it, or choose another"):
        write_precomp(tmp_path, "train", features(1), [["a"]], ["x"])
    assert not (tmp_path / "train.partial").exists()


@pytest.mark.parametrize("full_after", [0, 1, 7, 19])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, full_after: int) -> None:
    images = features(20, 30, 100)
    full = pytest.raises(OSError, match=r"while writing train_ims\.npy; make room on the disk")
    with files_of_at_most(500 + full_after * images[0].nbytes), full as caught:
        write_precomp(tmp_path, "train", images, [["a"]] * 20, [f"{n}" for n in range(20)])
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_a_disk_known_to_be_too_small_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        OSError, match=r"train_ims\.npy needs 8,192,000,000,000,000 bytes, but the disk has .*make room"
    ):
        PrecompWriter(tmp_path, "train", 10**12, (1, 2048))
    assert list(tmp_path.iterdir()) == []
