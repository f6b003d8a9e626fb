"""Data-set files as other programs write them are read by every format, or refused with their place."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from wordsight.builder import Builder
from wordsight.cli.main import app
from wordsight.config import Config
from wordsight.read.datasets.coco import Coco
from wordsight.read.datasets.detect_format import open_dataset, texts_of
from wordsight.read.datasets.karpathy import Karpathy
from wordsight.read.datasets.person_search import PersonSearch
from wordsight.read.datasets.table import Table
from wordsight.read.datasets.webdataset import WebDataset
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.validate.check import check
from wordsight.read.validate.report import Report


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def errors(report: Report) -> list[tuple[str, str]]:
    return [(found.what, found.where) for found in report.findings if found.severity == "error"]


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


# Captions that are no texts: openvino.genai#225, fastai#1372


def of_coco(folder: Path, *captions: Any) -> Path:
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(len(captions))]
    said = [{"image_id": n, "caption": caption} for n, caption in enumerate(captions)]
    return written(folder / "captions.json", {"images": images, "annotations": said})


def of_karpathy(folder: Path, *captions: Any) -> Path:
    images = [
        {"filename": f"{n}.jpg", "split": "train", "sentences": [{"raw": caption}]}
        for n, caption in enumerate(captions)
    ]
    return written(folder / "dataset.json", {"images": images})


def of_persons(folder: Path, *captions: Any) -> Path:
    entries = [
        {"id": n, "file_path": f"{n}.jpg", "split": "train", "captions": [caption]}
        for n, caption in enumerate(captions)
    ]
    return written(folder / "reid_raw.json", entries)


def of_list(folder: Path, *captions: Any) -> Path:
    return written(
        folder / "list.json",
        [{"image": f"{n}.jpg", "caption": [caption]} for n, caption in enumerate(captions)],
    )


def of_lines(folder: Path, *captions: Any) -> Path:
    rows = [json.dumps({"image": f"{n}.jpg", "caption": caption}) for n, caption in enumerate(captions)]
    return written(folder / "lines.jsonl", "\n".join(rows))


PLACES = {  # of the second picture's caption
    of_coco: (r"annotations[1]", r"annotations\[1\]\.caption"),
    of_karpathy: (r"images[1].sentences[0]", r"images\[1\]\.sentences\[0\]\.raw"),
    of_persons: (r"entry 1 captions[0]", r"entry 1 captions\[0\]"),
    of_list: (r"entry 2 caption[0]", r"entry 2 caption\[0\]"),
    of_lines: (r"line 2 caption", r"line 2 caption"),
}
each_file = pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)


@each_file
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_null_caption_counts_as_an_empty_one(tmp_path: Path, make: Any, nothing: Any) -> None:
    path = make(tmp_path, "a red ring", nothing)
    ((what, where),) = errors(check(path))
    assert what.startswith("empty captions in ")
    assert what.endswith(": 1")
    assert where == PLACES[make][0]
    assert texts_of(path) == ["a red ring", ""]
    with pytest.raises(ValueError, match=r"empty captions: 1, the first at"):
        open_dataset(path, missing="keep").read()
    assert open_dataset(path, missing="keep", drop_empty=True).read().texts == ["a red ring"]
    done = run("vocab", "build", path, "--out", tmp_path / "v.json", "--min-count", 1)
    assert done.exit_code == 0, done.output
    assert Vocabulary.load(tmp_path / "v.json").entries[4:] == ("a", "red", "ring")


@each_file
@pytest.mark.parametrize(
    ("wrong", "shown"),
    [({"en": "a"}, r"an object, \{'en': 'a'\}"), ([["a"]], "a list"), (7, "7"), (True, "True")],
)
def test_a_caption_that_is_no_text_is_an_error_with_its_place(
    tmp_path: Path, make: Any, wrong: Any, shown: str
) -> None:
    path = make(tmp_path, "a red ring", wrong)
    place = PLACES[make][1] + (r"(\[0\])?" if make is of_lines else "")
    with pytest.raises(ValueError, match=rf"{path.name} {place} is {shown}.*; expected a caption: a text"):
        texts_of(path)


def test_halves_of_characters_in_captions_do_not_stop_what_comes_after(tmp_path: Path) -> None:
    path = of_lines(tmp_path, "a \ud83d ring", "x")
    assert texts_of(path)[0] == "a � ring"
    assert texts_of(of_lines(tmp_path, "a ring\n of gold", "x"))[0] == "a ring of gold"


# Names of columns: open_clip#789, #1083, caption_generator#33, flickr8kcn#2


TABLES: dict[str, tuple[str, list[str]]] = {
    "open_clip": ("t.csv", ["filepath\ttitle", "a.jpg\tone", "b.jpg\ttwo"]),
    "image_id, captions": ("t.tsv", ["image_id\tcaptions", "a.jpg\tone", "b.jpg\ttwo"]),
    "ids without a suffix": ("t.tsv", ["image_id\tcaption", "a\tone", "b\ttwo"]),
    "flickr8k-cn": ("flickr8kcn.txt", ["a.jpg#zhc#0 one", "b.jpg#zhc#0 two"]),
    "a list with lists": (
        "t.json",
        ['[{"image_id": "a", "caption": ["one"]},', '{"image_id": "b", "caption": ["two"]}]'],
    ),
    "imagefolder": ("metadata.csv", ["file_name,text", "a.jpg,one", "b.jpg,two"]),
    "Flickr30k of the hub": (
        "t.csv",
        [
            "raw,sentids,split,filename,img_id",
            '"[""one""]",[0],train,a.jpg,7',
            '"[""two""]",[1],train,b.jpg,8',
        ],
    ),
    "a list in Python's writing": ("t.csv", ["Image Path,Captions", "a.jpg,['one']", "b.jpg,['two']"]),
    "img2dataset's list": (
        "t.csv",
        ["url,caption", "https://x.org/a.jpg?s=1,one", "https://x.org/b.jpg,two"],
    ),
    "Excel": ("t.csv", ["sep=;", "image;caption;;", "a.jpg;one;;", "b.jpg;two;;"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_found_by_the_names_that_the_field_gives_them(tmp_path: Path, name: str) -> None:
    for picture in ("a.jpg", "b.jpg"):
        written(tmp_path / picture, picture)
    path = written(tmp_path / TABLES[name][0], "\n".join(TABLES[name][1]))
    pairs = open_dataset(path).read()
    assert list(pairs.texts) == texts_of(path) == ["one", "two"]
    assert [found.name for found in pairs.images.read([0, 1])] == ["a.jpg", "b.jpg"]
    assert check(path).ok


def test_several_captions_in_one_cell_are_several_captions(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", 'image,caption\na.jpg,"[""one"", ""two""]"\nb.jpg,[three]\n')
    assert Table(path, missing="keep").read().texts == ["one", "two", "[three]"]


def test_other_columns_are_options_of_every_command(tmp_path: Path) -> None:
    content = "bild\tbeschreibung\tteil\n" + "".join(
        f"{n}.jpg\tein Ring {n}\t{'train' if n < 3 else 'val'}\n" for n in range(4)
    )
    path = written(tmp_path / "t.tsv", content)
    for n in range(4):
        written(tmp_path / f"{n}.jpg", str(n))
    columns = ["--image-column", "bild", "--caption-column", "beschreibung", "--split-column", "teil"]
    checked = run("data", "check", path, *columns)
    assert checked.exit_code == 0, checked.output
    assert "train  3" in checked.output
    without = run("data", "check", path)
    assert (without.exit_code, "--image-column NAME" in without.output) == (1, True)
    out = tmp_path / "v.json"
    assert run("vocab", "build", path, "--out", out, "--min-count", 1, *columns[2:]).exit_code == 0
    assert "2" in Vocabulary.load(out)
    assert "3" not in Vocabulary.load(out)
    failed = run("vocab", "build", path, "--out", out)
    assert "--caption-column NAME, or caption_column under [data]" in str(failed.exception)


def test_a_format_without_columns_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"COCO's caption JSON, which has no --caption-column; leave"):
        check(of_coco(tmp_path, "x"), caption_column="text")


# Identifiers: cvat#298


def test_an_id_is_one_however_it_is_written(tmp_path: Path) -> None:
    document = {
        "images": [{"id": "1", "file_name": "a.jpg"}, {"id": 2.0, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "caption": "one"}, {"image_id": "2", "caption": "two"}],
    }
    pairs = Coco(written(tmp_path / "c.json", document), missing="keep").read()
    assert (pairs.texts, pairs.identities.tolist()) == (["one", "two"], [1, 2])
    document["annotations"].append({"image_id": "x", "caption": "three"})
    with pytest.raises(ValueError, match=r"\[2\] tells of image_id 'x', .*their ids begin with 1, 2"):
        Coco(written(tmp_path / "c.json", document), missing="keep").read()
    document["images"].append({"id": 1, "file_name": "c.jpg"})
    with pytest.raises(ValueError, match=r"images\[2\] has the id 1 of images\[0\]"):
        Coco(written(tmp_path / "c.json", document), missing="keep").read()


@pytest.mark.parametrize("wrong", [None, [1], {"a": 1}, True, ""])
def test_what_is_no_id_is_an_error_with_its_place(tmp_path: Path, wrong: Any) -> None:
    document = {"images": [{"id": wrong, "file_name": "a.jpg"}], "annotations": []}
    with pytest.raises(ValueError, match=r"images\[0\]\.id is .*; expected a text or a whole number"):
        Coco(written(tmp_path / "c.json", document)).read()


# WebDataset shards: open_clip#144, #148, webdataset#237, datasets#7144


def sample(key: str, caption: str = "x") -> dict[str, bytes]:
    said = {"caption": caption, "url": "https://x.org", "key": key, "status": "success", "sha256": None}
    return {
        f"{key}.jpg": key.encode(),
        f"{key}.txt": caption.encode(),
        f"{key}.json": json.dumps(said).encode(),
    }


@pytest.mark.parametrize("where", [".", "part-0"])
def test_shards_of_img2dataset(tmp_path: Path, where: str) -> None:
    for number in range(2):
        keys = [f"{number:05d}{n:04d}" for n in range(5)]
        members = {name: content for key in keys for name, content in sample(key, f"text {key}").items()}
        shard(tmp_path / where / f"{number:05d}.tar", members)
        written(tmp_path / where / f"{number:05d}_stats.json", {"successes": 5})
    dataset = open_dataset(tmp_path)
    assert (type(dataset), dataset.splits()) == (WebDataset, [])
    pairs = dataset.read()
    assert pairs.names[6] == "000010001.jpg"
    assert (len(pairs), pairs.texts[6]) == (10, "text 000010001")
    report = check(tmp_path)
    assert (report.ok, report.facts[0].images) == (True, 10)
    with pytest.raises(ValueError, match=r"has no splits, so split 'train' .*--split 80/10/10"):
        dataset.read("train")
    divided = open_dataset(tmp_path, split="60/20/20")
    names = {split: set(divided.read(split).names) for split in ("train", "dev", "test")}
    assert [len(found) for found in names.values()] == [6, 2, 2]
    assert set.union(*names.values()) == set(pairs.names)


def test_shards_in_folders_named_as_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        shard(tmp_path / split / "00000.tar", sample("0", split))
    dataset = open_dataset(tmp_path)
    assert dataset.splits() == ["train", "val"]
    assert (dataset.read("train").texts, dataset.read("dev").texts) == (["train"], ["val"])


def test_persons_in_shards_are_divided_whole_and_own_splits_are_respected(tmp_path: Path) -> None:
    members = {}
    for n in range(20):
        said = json.dumps({"caption": f"text {n}", "identity": n % 5}).encode()
        members |= {f"{n:02}.jpg": b"x", f"{n:02}.json": said}
    shard(tmp_path / "one" / "00000.tar", members)
    divided = open_dataset(tmp_path / "one", split="60/20/20")
    persons = [set(divided.read(split).identities.tolist()) for split in ("train", "val", "test")]
    assert [len(found) for found in persons] == [3, 1, 1]
    assert set.union(*persons) == set(range(5))
    shard(tmp_path / "two" / "train-000000.tar", sample("0"))
    with pytest.raises(ValueError, match=r"has splits of its own: train; leave out split = '8/1/1'"):
        open_dataset(tmp_path / "two", split="8/1/1").read("train")
    with pytest.raises(FileNotFoundError, match=r"is read by split; it has train"):
        open_dataset(tmp_path / "two").read()


def test_a_gap_between_shards_of_one_folder_is_found(tmp_path: Path) -> None:
    for name in ("a/00000.tar", "a/00002.tar", "b/00007.tar"):
        shard(tmp_path / name, sample("0"))
    with pytest.raises(FileNotFoundError, match=r"a misses 1 of the 3 shards, the first number 1"):
        open_dataset(tmp_path).read()


def test_hidden_members_of_macos_are_passed_over(tmp_path: Path) -> None:
    members = {"./._0.jpg": b"resource fork", **sample("0", "a ring"), "__MACOSX/._0.txt": b"x"}
    shard(tmp_path / "00000.tar", members)
    assert open_dataset(tmp_path).read().texts == ["a ring"]


def test_a_dot_ends_a_key_and_the_message_says_so(tmp_path: Path) -> None:
    shard(tmp_path / "00000.tar", {"scan_22.05.jpg": b"1", "scan_22.05.txt": b"x"})
    message = (
        r"only \.05\.jpg, \.05\.txt: the first dot in a member's name ends its key, here scan_22; write names"
    )
    with pytest.raises(ValueError, match=message):
        open_dataset(tmp_path).read()


def test_one_tar_file_and_one_without_a_number_say_how_shards_are_given(tmp_path: Path) -> None:
    shard(tmp_path / "cc3m.tar", sample("0"))
    for given, message in ((".", "holds cc3m.tar, which is no shard by its name"), ("cc3m.tar", "one file")):
        with pytest.raises(ValueError, match=rf"{message}.*name the shards .* 00000\.tar"):
            open_dataset(tmp_path / given)


def test_samples_without_a_caption_are_counted_or_left_out(tmp_path: Path) -> None:
    said = json.dumps({"caption": None}).encode()
    shard(tmp_path / "00000.tar", {**sample("0"), "1.jpg": b"1", "1.json": said, "2.jpg": b"2"})
    with pytest.raises(ValueError, match=r"without a caption: 2 of 3, the first 1\.jpg .*drop_empty"):
        open_dataset(tmp_path).read()
    assert open_dataset(tmp_path, drop_empty=True).read().names == ["0.jpg"]
    assert ("images of all without a caption: 2", "1.jpg, 2.jpg") in errors(check(tmp_path))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"0.json": b'{"caption": {"en": "x"}}'}, r"0 \(sample 0\) caption is an object, \{'en': 'x'\}"),
        ({"0.txt": b"caf\xe9"}, r"0 \(sample 0\) \.txt line 1: byte 0xe9 is not UTF-8"),
    ],
)
def test_captions_in_shards_that_are_no_texts(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    shard(tmp_path / "00000.tar", {"0.jpg": b"0", **members})
    with pytest.raises(ValueError, match=message):
        open_dataset(tmp_path).read()


def test_another_key_of_captions_in_shards(tmp_path: Path) -> None:
    shard(tmp_path / "00000.tar", {"0.jpg": b"0", "0.json": b'{"de": "ein Ring", "title": "a ring"}'})
    assert open_dataset(tmp_path).read().texts == ["a ring"]
    assert open_dataset(tmp_path, caption_column="de").read().texts == ["ein Ring"]


# CUHK-PEDES without splits: TextReID#10


def test_caption_all_names_the_file_that_has_the_splits(tmp_path: Path) -> None:
    entries = [{"id": 1, "file_path": "a.jpg", "captions": ["x", "y"]}]
    path = written(tmp_path / "caption_all.json", entries)
    with pytest.raises(ValueError, match=r"has no split in any .*; give .*CUHK-PEDES .*reid_raw\.json"):
        PersonSearch(path).read("train")
    written(tmp_path / "reid_raw.json", [entries[0] | {"split": "train"}])
    with pytest.raises(ValueError, match=r"; give .*/reid_raw\.json, which has them"):
        PersonSearch(path).read("train")


# Data without splits


def test_a_table_without_splits_is_divided_by_picture(tmp_path: Path) -> None:
    rows = "".join(f"{n % 50}.jpg,text {n}\n" for n in range(200))
    path = written(tmp_path / "t.csv", f"image,caption\n{rows}")
    ((what, todo),) = [
        (found.what, found.todo)
        for found in check(path).findings
        if found.severity == "warning" and "split" in found.what
    ]
    assert what == "no splits: train cannot tell training from validation; pictures: 50"
    assert "--split 80/10/10" in todo
    divided = Table(path, split="80/10/10", missing="keep")
    parts = {split: divided.read(split) for split in ("train", "val", "test")}
    assert [len(part.names) for part in parts.values()] == [40, 5, 5]
    assert [len(part) for part in parts.values()] == [160, 20, 20]
    other = Table(path, split="80/10/10", seed=1, missing="keep").read("val")
    assert set(other.names) != set(parts["val"].names)
    assert [facts.images for facts in check(path, split="80/10/10").facts] == [40, 5, 5]
    data = {"name": "table", "path": str(path), "split": "80/10/10", "missing": "keep"}
    assert Builder(Config({"data": data})).captioned("validation").names == parts["val"].names
    assert len(texts_of(path, ["train"], split="8/1/1")) == 160
    with pytest.raises(ValueError, match=r"has splits of its own, for instance 'x'; leave out split = "):
        Table(written(tmp_path / "s.csv", "image,caption,split\na,b,x\n"), split="8/1/1").read("train")


def test_karpathys_restval_is_training_unless_it_is_asked_for(tmp_path: Path) -> None:
    images = [
        {"filename": f"{split}.jpg", "split": split, "sentences": [{"raw": split}]}
        for split in ("train", "restval", "val", "test")
    ]
    path = written(tmp_path / "dataset_coco.json", {"images": images})
    assert Karpathy(path).splits() == ["train", "val", "test"]
    assert Karpathy(path).texts(["train", "val"]) == ["train", "restval", "val"]
    assert Karpathy(path, restval=False).splits() == ["train", "restval", "val", "test"]
