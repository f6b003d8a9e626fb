"""Every caption format becomes pairs with explicit identities; what is wrong is told by place and remedy."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordsight.read.datasets.coco import Coco
from wordsight.read.datasets.detect_format import picture_paths, texts_of
from wordsight.read.datasets.folder import CaptionFolder
from wordsight.read.datasets.id_mapping import read_id_mapping
from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.datasets.table import Table
from wordsight.read.validate.check import check


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"picture")
    return folder


def karpathy(folder: Path, *images: tuple[str, str, list[str]], **more: str) -> Path:
    """A Karpathy JSON of (file name, split, captions)."""
    entries = [
        {"filename": name, "split": split, "sentences": [{"raw": text} for text in texts], **more}
        for name, split, texts in images
    ]
    path = folder / "dataset_tiny.json"
    path.write_text(json.dumps({"dataset": "tiny", "images": entries}))
    return path


# Karpathy's JSON


@pytest.mark.data
@pytest.mark.parametrize(("split", "images"), [("train", 6000), ("dev", 1000), ("test", 1000)])
def test_real_flickr8k(data: Path, split: str, images: int) -> None:
    pairs = Karpathy(data / "flickr8k" / "dataset_flickr8k.json").read(split)
    assert (len(pairs.images), len(pairs)) == (images, 5 * images)
    assert pairs.image_of.bincount().tolist() == [5] * images
    assert len(set(pairs.identities.tolist())) == images
    assert [Path(str(picture)).name for picture in pairs.images.read([0, 1])] == list(pairs.names[:2])
    if split == "train":
        assert pairs.names[0] == "2513260012_03d33305cf.jpg"
        assert pairs.texts[0] == "A black dog is running after a white dog in the snow ."


def test_restval_joins_train_unless_told_otherwise(tmp_path: Path) -> None:
    path = karpathy(tmp_path, ("a.jpg", "train", ["x"]), ("b.jpg", "restval", ["y"]), ("c.jpg", "val", ["z"]))
    touch(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    assert Karpathy(path).read("train").names == ["a.jpg", "b.jpg"]
    assert Karpathy(path, restval=False).read("train").names == ["a.jpg"]
    assert Karpathy(path).read("restval").names == ["b.jpg"]
    assert Karpathy(path).read("dev").names == ["c.jpg"]


@pytest.mark.parametrize("place", ["val2014/a.jpg", "a.jpg"])
def test_coco_file_path_with_or_without_its_folder(tmp_path: Path, place: str) -> None:
    path = karpathy(tmp_path, ("a.jpg", "val", ["x"]), filepath="val2014")
    pictures = touch(tmp_path / "photos", place)
    assert Karpathy(path, pictures=pictures).read("val").images.read([0]) == [pictures / place]


def test_packed_json_with_tokens_only(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json.gz"
    image = {"filename": "a.jpg", "split": "test", "sentences": [{"tokens": ["two", "dogs"]}]}
    path.write_bytes(gzip.compress(json.dumps({"images": [image]}).encode()))
    assert Karpathy(path, missing="keep").read("test").texts == ["two dogs"]


def test_unknown_split_lists_the_known(tmp_path: Path) -> None:
    path = karpathy(tmp_path, ("a.jpg", "train", ["x"]), ("b.jpg", "test", ["y"]))
    with pytest.raises(
        ValueError, match=r'no pictures of split "tset"; it has train \(1 pictures\), test \(1'
    ):
        Karpathy(path).read("tset")


def test_missing_pictures_are_counted_and_named_or_skipped(tmp_path: Path) -> None:
    path = karpathy(tmp_path, *((f"{n}.jpg", "train", ["x", "y"]) for n in range(4)))
    touch(tmp_path / "images", "1.jpg", "3.jpg")
    with pytest.raises(
        FileNotFoundError, match=r"do not exist: 2 of 4, .*0\.jpg \(images\[0\]\); give the folder"
    ):
        Karpathy(path).read("train")
    pairs = Karpathy(path, missing="skip").read("train")
    assert pairs.names == ["1.jpg", "3.jpg"]
    assert pairs.image_of.tolist() == [0, 0, 1, 1]


def test_empty_captions_are_counted_and_placed_or_dropped(tmp_path: Path) -> None:
    path = karpathy(
        tmp_path, ("a.jpg", "train", ["x", " "]), ("b.jpg", "train", [""]), ("c.jpg", "train", ["z"])
    )
    with pytest.raises(
        ValueError, match=r"empty captions: 2, the first at images\[0\]\.sentences\[1\]; .*drop"
    ):
        Karpathy(path, missing="keep").read("train")
    pairs = Karpathy(path, missing="keep", drop_empty=True).read("train")
    assert (pairs.names, pairs.texts) == (["a.jpg", "c.jpg"], ["x", "z"])


def test_pictures_without_captions_are_an_error(tmp_path: Path) -> None:
    path = karpathy(tmp_path, ("a.jpg", "train", ["x"]), ("b.jpg", "train", []))
    with pytest.raises(ValueError, match=r"without a caption: 1, the first b\.jpg \(images\[1\]\)"):
        Karpathy(path, missing="keep").read("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [\n{"filename": }]}', r"line 2 column 14: not valid JSON"),
        (b'{"images": [', r"not valid JSON .*cut short: fetch it again"),
        (b"", r"is empty; fetch it again"),
        (b'{"images": [\n"\xff"]}', r"line 2: byte 0xff is not UTF-8"),
        (b'{"pictures": []}', r"the document has no 'images'; it has pictures"),
        (b'{"images": [{"filename": "a"}]}', r"images\[0\] has no 'sentences'; it has filename"),
        (b'{"images": ["a.jpg"]}', r"images\[0\] is 'a\.jpg'; expected an object"),
        (b'{"images": [{"filename": "a", "sentences": "b"}]}', r"'sentences' = 'b'; expected a list"),
        (
            b'{"images": [{"filename": "a", "split": "train", "sentences": [{"text": "b"}]}]}',
            r"images\[0\]\.sentences\[0\] has no 'raw'; it has text",
        ),
    ],
)
def test_broken_json_is_told_by_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Karpathy(path).read("train")


def test_a_cut_or_damaged_gz_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json.gz"
    packed = gzip.compress(b'{"images": []}')
    for broken in (packed[:-9], packed[:10] + b"\xff" * 9 + packed[19:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"cannot be unpacked .*fetch it again"):
            Karpathy(path).read("train")


ONE = '{"image": "a.jpg", "caption": ["one", "two"]}'
OTHER = '{"image": "b.jpg", "caption": "three"}'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.txt", "image,caption\na.jpg,one\na.jpg,two\nb.jpg,three\n"),  # Flickr8k on Kaggle
        ("Flickr8k.token.txt", "a.jpg#0\tone\na.jpg#1\ttwo\nb.jpg#0\tthree\n"),
        (
            "results.csv",
            "image_name| comment_number| comment\na.jpg| 0| one\na.jpg| 1| two\nb.jpg| 0| three\n",
        ),
        (
            "list.json",
            '[{"image": "a.jpg", "caption": ["one", "two"]}, {"image": "b.jpg", "caption": "three"}]',
        ),
        (
            "pairs.jsonl.gz",
            '{"image": "a.jpg", "caption": ["one", "two"]}\n{"image": "b.jpg", "caption": "three"}',
        ),
    ],
)
def test_a_table_is_one_for_every_command(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    assert texts_of(path, ["train"]) == texts_of(path) == Table(path, missing="keep").read().texts
    assert texts_of(path) == ["one", "two", "three"]
    assert picture_paths(path) == ([tmp_path / "a.jpg", tmp_path / "b.jpg"], [])
    assert check(path).kind == "table of pictures and captions"


def test_lines_of_text_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a text, an image\na caption\n")
    assert texts_of(path, ["train"]) == texts_of(path) == ["a text, an image", "a caption"]


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json does not exist"):
        Karpathy(tmp_path / "nowhere.json").read("train")


# COCO captions


def coco(folder: Path, name: str = "captions_val2014.json") -> Path:
    document = {
        "images": [{"id": 9, "file_name": "a.jpg"}, {"id": 4, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 4, "id": 1, "caption": "b one"},
            {"image_id": 9, "id": 2, "caption": "a one\n"},
            {"image_id": 4, "id": 3, "caption": "b two"},
        ],
    }
    (folder / name).write_text(json.dumps(document))
    return folder / name


def test_coco_captions_in_the_order_of_the_pictures(tmp_path: Path) -> None:
    pairs = Coco(coco(tmp_path), touch(tmp_path / "val2014", "a.jpg", "b.jpg")).read()
    assert (pairs.names, pairs.texts) == (["a.jpg", "b.jpg"], ["a one", "b one", "b two"])
    assert pairs.image_of.tolist() == [0, 1, 1]


def test_one_setting_for_several_splits(tmp_path: Path) -> None:
    coco(tmp_path)
    pictures = touch(tmp_path / "val2014", "a.jpg", "b.jpg").parent / "{split}2014"
    pairs = Coco(tmp_path / "captions_{split}2014.json", pictures).read("dev")
    assert pairs.images.read([1]) == [tmp_path / "val2014" / "b.jpg"]


def test_coco_split_without_placeholder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split 'train' cannot be chosen; .*captions_\{split\}2014\.json"):
        Coco(coco(tmp_path)).read("train")


def test_coco_images_of_one_id_are_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    path.write_text(json.dumps({"images": images, "annotations": []}))
    with pytest.raises(
        ValueError, match=r"images\[1\] has the id 1 of images\[0\]; give every image its own"
    ):
        Coco(path).read()


def test_coco_annotation_of_no_image(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    images = [{"id": 1, "file_name": "a.jpg"}]
    path.write_text(json.dumps({"images": images, "annotations": [{"image_id": 7, "caption": "x"}]}))
    with pytest.raises(
        ValueError,
        match=r"annotations\[0\] tells of image_id 7, which no entry of images has; their ids begin with 1",
    ):
        Coco(path).read()


# Tables

TABLES = {
    "comma.csv": 'image,caption\na.jpg,"a, dog"\nb.jpg,a cat\na.jpg,the dog\n',
    "semicolon.csv": "Image;Caption\r\na.jpg;a, dog\r\nb.jpg;a cat\r\n\r\na.jpg;the dog\r\n",
    "results.csv": "image_name| number| comment\na.jpg| 0| a, dog\nb.jpg| 0| a cat\na.jpg| 1| the dog\n",
    "tab.tsv": "filepath\ttitle\ttext\na.jpg\t1\ta, dog\nb.jpg\t1\ta cat\na.jpg\t2\tthe dog\n",
    "lines.jsonl": """{"file_name": "a.jpg", "text": ["a, dog", "the dog"]}

        {"file_name": "b.jpg", "text": "a cat"}""",
    "list.json": """[{"file_path": "a.jpg", "captions": ["a, dog", "the dog"]},
        {"file_path": "b.jpg", "captions": ["a cat"]}]""",
    "Flickr8k.token.txt": "a.jpg#0\ta, dog\nb.jpg#0\ta cat\na.jpg#1\tthe dog\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_every_kind_hold_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name], newline="")
    pairs = Table(tmp_path / name, pictures=touch(tmp_path / "photos", "a.jpg", "b.jpg")).read()
    assert pairs.names == ["a.jpg", "b.jpg"]
    assert pairs.texts == ["a, dog", "the dog", "a cat"]
    assert pairs.image_of.tolist() == [0, 0, 1]
    assert pairs.identities.tolist() == [0, 1]


def test_split_and_identity_columns(tmp_path: Path) -> None:
    path = tmp_path / "persons.csv"
    path.write_text(
        "path,caption,split,person_id\na.jpg,x,train,7\nb.jpg,y,train,9\nc.jpg,z,train,7\nd.jpg,w,dev,1\n"
    )
    train = Table(path, missing="keep").read("train")
    assert (train.names, train.identities.tolist()) == (["a.jpg", "b.jpg", "c.jpg"], [7, 9, 7])
    assert Table(path, missing="keep").read("val").names == ["d.jpg"]
    assert len(Table(path, missing="keep").read()) == 4


def test_columns_by_setting(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("photo,raw,x-ray,report\na,b,c.png,shadow\n")
    pairs = Table(path, image_column="x-ray", caption_column="report", missing="keep").read()
    assert (pairs.names, pairs.texts) == (["c.png"], ["shadow"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,caption\na.jpg,a dog, running\n", r"line 2: 3 columns, .* names 2 .*double quotes"),
        ("image,caption\na.jpg,x\n,y\n", r"line 3: no picture is named in column image"),
        (
            "image,path,caption\na,b,c\n",
            r"image and path may each be the image column; name one: --image-column NAME, or image_",
        ),
        (
            "image,words\na,b\n",
            r"no column looks like the caption .* among image, words; name it: --caption-column NAME",
        ),
        ("image,caption\n", r"has a header but no rows"),
        (
            "image,caption,identity\na,x,1\na,y,2\n",
            r"picture a has several identities: 1 \(line 2\), 2 \(line 3",
        ),
        ('image,caption\na.jpg,"x\n', r"line 2: a quote .* is never closed"),
        ("image,caption\na.jpg,\nb.jpg,x\n", r"empty captions: 1, the first at line 2"),
    ],
)
def test_broken_tables_are_told_by_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        Table(path, missing="keep").read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"image": "a", "caption": "x"}\n{"image": "b", "caption"}', r"line 2 column 25: not valid JSON"),
        ('{"image": "a", "caption": "x"}\n{"image": "b"}', r"line 2 has no 'caption'; it has image"),
        ('["a", "x"]', r"line 1: expected a JSON object"),
        ('{"image": "a", "caption": 3}', r"line 1 caption is 3; expected a caption: a text"),
    ],
)
def test_broken_json_lines_are_told_by_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        Table(path, missing="keep").read()


def test_split_without_a_column_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,caption\na.jpg,x\n")
    with pytest.raises(ValueError, match=r'has no splits.*--split 80/10/10.*path = "\{split\}\.csv"'):
        Table(tmp_path / "t.csv", missing="keep").read("train")
    (tmp_path / "train.csv").write_text("image,caption\na.jpg,x\n")
    assert Table(tmp_path / "{split}.csv", missing="keep").read("train").texts == ["x"]
    with pytest.raises(ValueError, match=r"names \{split\}, but no split was asked for"):
        Table(tmp_path / "{split}.csv", missing="keep").read()


words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=8)


@settings(max_examples=50)
@given(st.lists(st.lists(words, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=6))
def test_any_text_survives_a_table(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("table") / "t.jsonl"
    path.write_text(
        "".join(json.dumps({"image": f"{n}.jpg", "caption": text}) + "\n" for n, text in enumerate(texts))
    )
    assert Table(path, missing="keep").read().texts == [text.strip() for text in texts]


# A folder with sidecars


def test_folder_with_sidecars(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "sub/a.jpg", "notes.md", "._b.PNG", ".trash/c.jpg")
    (tmp_path / "b.txt").write_text("a cat\n\n  a tabby cat \n")
    (tmp_path / "sub" / "a.jpg.txt").write_text("a dog")
    pairs = CaptionFolder(tmp_path).read()
    assert (pairs.names, pairs.texts) == (["b.PNG", "sub/a.jpg"], ["a cat", "a tabby cat", "a dog"])
    assert pairs.image_of.tolist() == [0, 0, 1]
    assert CaptionFolder(tmp_path).read("sub").names == ["a.jpg"]
    assert CaptionFolder(tmp_path / "{split}").read("sub").names == ["a.jpg"]


def test_pictures_without_sidecars(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "a.txt").write_text("a dog")
    (tmp_path / "c.txt").write_text("")
    with pytest.raises(ValueError, match=r"without a caption: 2, the first b\.jpg \(expected in .*b\.txt\)"):
        CaptionFolder(tmp_path).read()
    assert CaptionFolder(tmp_path, drop_empty=True).read().names == ["a.jpg"]


def test_folder_without_pictures_or_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pictures"):
        CaptionFolder(tmp_path).read()
    with pytest.raises(
        ValueError, match=r"has no subfolder train; make subfolders train, val and test, write"
    ):
        CaptionFolder(tmp_path).read("train")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        CaptionFolder(tmp_path / "nowhere").read()


# id_mapping.json


@pytest.mark.parametrize("images", ["images", "flickr30k-images"])
def test_ids_become_picture_files(tmp_path: Path, images: str) -> None:
    touch(tmp_path / images, "x.jpg", "y.jpg")
    (tmp_path / "id_mapping.json").write_text('{"0": "x.jpg", "1": "y.jpg"}')
    files = read_id_mapping(tmp_path / "id_mapping.json", ["1", "0", "1"])
    assert [path.name for path in files.paths] == ["y.jpg", "x.jpg", "y.jpg"]


def test_ids_that_are_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "id_mapping.json"
    path.write_text('{"0": "x.jpg"}')
    with pytest.raises(
        ValueError, match=r"does not map 2 of 3 ids, the first '391895'; its 1 keys start with '0'"
    ):
        read_id_mapping(path, ["0", "391895", "522418"])
    with pytest.raises(FileNotFoundError, match=r"do not exist: 1 of 1, the first .*x\.jpg; give the folder"):
        read_id_mapping(path, ["0"])
    path.write_text("[]")
    with pytest.raises(ValueError, match="holds a JSON list; expected an object"):
        read_id_mapping(path, ["0"])
