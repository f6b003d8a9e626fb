"""A check tells all that is wrong with a data set, where it is and what to do, and keeps quiet otherwise."""

import json
from pathlib import Path

import numpy as np
import pytest

from wordsight.read.export.precomputed import write_precomp
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.validate.check import check
from wordsight.read.validate.report import Finding, Report


def features(images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, 3, 4)).astype(np.float32)


def captions(images: int, start: int = 0) -> list[list[str]]:
    return [[f"caption {n} of picture {image}" for n in range(5)] for image in range(start, start + images)]


def precomp(folder: Path, **images: np.ndarray) -> Path:
    """Splits by name, no image or caption in two of them."""
    for seed, (split, values) in enumerate(images.items(), 1):
        ids = [f"{100 * seed + image}" for image in range(len(values))]
        write_precomp(folder, split, values, captions(len(values), 100 * seed), ids)
    return folder


def found(report: Report, what: str) -> Finding:
    """The only finding that mentions this, which the printed report shows too."""
    (finding,) = [finding for finding in report.findings if what in finding.what]
    assert " ".join(finding.what.split()) in " ".join(report.to_text().split())
    return finding


def touch(folder: Path, **content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        (folder / f"{name}.jpg").write_bytes(value)
    return folder


# Real data


@pytest.mark.data
def test_real_flickr8k(data: Path) -> None:
    report = check(
        data / "flickr8k" / "dataset_flickr8k.json", vocabulary=data / "vocab" / "f8k_precomp_vocab.json"
    )
    assert report.ok
    assert [(facts.split, facts.images, facts.texts) for facts in report.facts] == [
        ("train", 6000, 30000),
        ("val", 1000, 5000),
        ("test", 1000, 5000),
    ]
    assert all(facts.texts_per_image == {5: facts.images} for facts in report.facts)
    assert all(0.015 < facts.unknown_words < 0.03 for facts in report.facts)
    twice = found(report, "several times under different names: 1")
    assert twice.where == "3050606344_af711c726c.jpg (train) = 2851198725_37b6027625.jpg (train)"
    assert "by the rule 'karpathy'" in found(report, "vocabulary").what


@pytest.mark.data
def test_real_precomputed_captions_with_and_without_pictures(data: Path) -> None:
    folder = data / "flickr8k" / "precomp"
    assert found(check(folder), "captions without features: train, dev, test").severity == "warning"
    report = check(folder, pictures=data / "flickr8k" / "images")
    assert report.ok
    assert found(report, "several times under different names: 1")
    assert not any("without features" in finding.what for finding in report.findings)


# Precomputed folders


def test_a_sound_folder_has_no_findings(tmp_path: Path) -> None:
    report = check(precomp(tmp_path, train=features(6), dev=features(2, 1), test=features(3, 2)))
    assert report.findings == []
    assert report.to_text().splitlines()[2:] == [
        "split  images  captions  per image  words each        features",
        "train  6       30        5          5 to 5, mean 5.0  6 x 3 x 4 float32, 0.0 MB",
        "dev    2       10        5          5 to 5, mean 5.0  2 x 3 x 4 float32, 0.0 MB",
        "test   3       15        5          5 to 5, mean 5.0  3 x 3 x 4 float32, 0.0 MB",
        "",
        "errors: 0, warnings: 0, notes: 0",
    ]


def test_rows_that_are_not_finite_or_not_written(tmp_path: Path) -> None:
    values = features(6)
    folder = precomp(tmp_path, train=values)
    values[1, 0, 0], values[4, 2, 3], values[[2, 5]] = np.nan, np.inf, 0
    np.save(folder / "train_ims.npy", values)
    report = check(folder)
    assert not report.ok
    assert found(report, "with NaN or infinity: 2").where == "train_ims.npy rows 1, 4"
    assert found(report, "nothing but zeros: 2").where == "train_ims.npy rows 2, 5"
    assert len(report.findings) == 2


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = features(7)
    values[6, 0, 0] = np.nan
    values[3] = 0
    folder = precomp(tmp_path, train=features(7))
    np.save(folder / "train_ims.npy", values)
    whole = check(folder).to_dict()
    monkeypatch.setattr("wordsight.read.validate.features.CHUNK", 100)  # two rows
    assert check(folder).to_dict() == whole


def test_files_that_do_not_fit_each_other(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(6), dev=features(4, 1), test=features(5, 2))
    (folder / "train_ids.txt").write_text("1\n2\n3\n4\n")
    lines = (folder / "dev_caps.txt").read_text().splitlines(keepends=True)
    (folder / "dev_caps.txt").write_text("".join(lines[:-1]))
    (folder / "test_ims.npy").write_bytes((folder / "test_ims.npy").read_bytes()[:-4])
    report = check(folder)
    assert found(report, "train_ids.txt has 4 lines but train_ims.npy has 6 rows").severity == "error"
    assert found(report, "dev_ims.npy has 4 rows but dev_caps.txt has 19 lines").todo.endswith("be cut short")
    assert found(report, "test_ims.npy is cut short").todo == "fetch it again"


def test_features_of_several_sizes(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(6), test=features(5, 2)[..., :3])
    assert found(check(folder), "several sizes").where == (
        "4 numbers per region in train_ims.npy, 3 numbers per region in test_ims.npy"
    )


def test_ids_whose_rows_differ(tmp_path: Path) -> None:
    folder = precomp(tmp_path, test=features(2))
    np.save(folder / "test_ims.npy", features(10))
    (folder / "test_ids.txt").write_text("7\n" * 5 + "8\n" * 5)
    assert found(check(folder), "ids of test whose rows differ: 2").where == "test_ids.txt, ids 7, 8"
    np.save(folder / "test_ims.npy", features(2).repeat(5, axis=0))
    assert check(folder).findings == []


def test_the_same_image_twice_and_across_splits(tmp_path: Path) -> None:
    train, test = features(6), features(4, 1)
    train[5] = train[0]
    test[2:] = train[3:5]
    report = check(precomp(tmp_path, train=train, test=test))
    assert found(report, "equal features under different ids: 1").where == "100 = 105"
    leak = found(report, "same features in train and in test: 2")
    assert leak.severity == "error"
    assert leak.where == "train_ims.npy row 3 = test_ims.npy row 2, train_ims.npy row 4 = test_ims.npy row 3"


def test_ids_in_two_splits(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(3), dev=features(3, 1))
    (folder / "dev_ids.txt").write_text("900\n102\n901\n")
    assert found(check(folder), "images both in train and in dev: 1").where == "102"


def test_testall_may_hold_test(tmp_path: Path) -> None:
    folder = precomp(tmp_path, testall=features(5))
    write_precomp(folder, "test", features(5)[:2], captions(2, 100), ["100", "101"])
    report = check(folder)
    assert report.ok
    assert found(report, "COCO numbers are reported on testall").severity == "note"


def test_the_dev_quirk_is_told(tmp_path: Path) -> None:
    report = check(precomp(tmp_path, dev=features(1001)))
    assert "dev_limit_5000 = true" in found(report, "measure dev on its first 5000 captions only").todo


def test_other_counts_than_five(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(3))
    (folder / "train_caps.txt").write_text("".join(f"text {n}\n" for n in range(6)))
    report = check(folder)
    assert report.facts[0].texts_per_image == {2: 3}
    assert "set captions_per_image = 2" in found(report, "2 captions per image, not 5").todo


def test_boxes(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(2), dev=features(2, 1), test=features(2, 2))
    np.save(folder / "train_boxes.npy", np.tile(np.array([0, 0, 1, 1], np.float32), (2, 3, 1)))
    np.save(folder / "dev_boxes.npy", np.tile(np.array([0, 0, 640, 480], np.float32), (2, 3, 1)))
    np.save(folder / "dev_img_sizes.npy", np.array([[640, 480]] * 2, np.float32))
    np.save(folder / "test_boxes.npy", np.tile(np.array([0, 0, 640, 480], np.float32), (2, 3, 1)))
    report = check(folder)
    assert [facts.boxes for facts in report.facts] == ["fractions", "pixels", None]
    assert "no test_img_sizes.npy" in found(report, "test_boxes.npy is in pixels").what


def test_empty_and_unreadable_captions(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(1), dev=features(1, 1))
    (folder / "train_caps.txt").write_text("a\n\nb\n \nc\n")
    (folder / "dev_caps.txt").write_bytes(b"a\nb\nc\n\xff\ne\n")
    report = check(folder)
    assert found(report, "empty captions in train: 2").where == "train_caps.txt line 2, train_caps.txt line 4"
    assert "dev_caps.txt line 4: byte 0xff is not UTF-8" in found(report, "UTF-8").what


# Caption files and folders


def karpathy(folder: Path, *images: tuple[str, str, list[str]]) -> Path:
    entries = [
        {"filename": f"{name}.jpg", "split": split, "sentences": [{"raw": text} for text in texts]}
        for name, split, texts in images
    ]
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"images": entries}))
    return folder / "dataset.json"


def test_pictures_that_are_absent_empty_or_in_two_splits(tmp_path: Path) -> None:
    path = karpathy(
        tmp_path,
        *((name, "train", [f"{name}."]) for name in "abcd"),
        *((name, "test", [f"{name}!"]) for name in "eafg"),
    )
    touch(tmp_path / "images", a=b"A", b=b"", c=b"same", d=b"same", e=b"A", f=b"leak" * 2000)
    report = check(path)
    assert found(report, "do not exist: 1 of 8").where.endswith("g.jpg (images[7])")
    assert found(report, "zero bytes: 1").where.endswith("b.jpg")
    assert found(report, "in one split several times").where == "c.jpg (train) = d.jpg (train)"
    assert found(report, "in several splits under").where == "a.jpg (test, train) = e.jpg (test)"
    assert found(report, "both in train and in test: 1").where == "a.jpg"


def test_files_that_differ_late_are_different(tmp_path: Path) -> None:
    path = karpathy(tmp_path, ("a", "train", ["x"]), ("b", "test", ["y"]))
    touch(tmp_path / "images", a=b"." * 9999 + b"a", b=b"." * 9999 + b"b")
    assert check(path).findings == []


def test_captions_without_any_pictures_are_checked_all_the_same(tmp_path: Path) -> None:
    report = check(karpathy(tmp_path, ("a", "train", ["x", ""]), ("b", "train", []), ("c", "val", ["x"])))
    assert found(report, "none of the 3 pictures is there").severity == "warning"
    assert found(report, "empty captions in train: 1").where == "images[0].sentences[1]"
    assert found(report, "images of train without a caption: 1").where == "b.jpg"
    assert found(report, "word for word in two splits: 1 in train and val")


def test_captions_of_several_images(tmp_path: Path) -> None:
    report = check(karpathy(tmp_path, *((name, "test", ["A dog .", name]) for name in "abc")))
    shared = found(report, "several images of a split share: 1 in test")
    assert shared.where == "most often 'a dog .', of 3 images"


def test_unknown_words(tmp_path: Path) -> None:
    Vocabulary.learn(["a dog runs", "a cat"], min_count=1).save(tmp_path / "vocabulary.json")
    path = karpathy(
        tmp_path / "data", ("a", "train", ["a dog runs", "a cat"]), ("b", "test", ["a zebra runs"])
    )
    report = check(path, vocabulary=tmp_path / "vocabulary.json")
    assert [facts.unknown_words for facts in report.facts] == [0, pytest.approx(1 / 3)]
    finding = found(report, "words that the vocabulary does not have: 0.0% in train, 33.3% in test")
    assert (finding.severity, "'zebra'" in finding.where) == ("warning", True)


def test_every_kind_is_recognized(tmp_path: Path) -> None:
    pictures = touch(tmp_path / "photos", a=b"a", b=b"b")
    (pictures / "a.txt").write_text("x")
    (pictures / "b.txt").write_text("y\nz")
    table = tmp_path / "t.csv"
    table.write_text("image,caption\na.jpg,x\nb.jpg,y\nb.jpg,z\n")
    coco = tmp_path / "coco.json"
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in "ab"]
    said = [{"image_id": image, "caption": text} for image, text in ("ax", "by", "bz")]
    coco.write_text(json.dumps({"images": images, "annotations": said}))
    listed = tmp_path / "list.json"
    listed.write_text(
        json.dumps([{"image": "a.jpg", "caption": "x"}, {"image": "b.jpg", "caption": ["y", "z"]}])
    )
    for path, settings in (
        (pictures, {}),
        (table, {"pictures": pictures}),
        (coco, {"pictures": pictures}),
        (listed, {"pictures": pictures}),
    ):
        report = check(path, **settings)
        assert [finding.what.split(":")[0] for finding in report.findings] == (
            [] if path == coco else ["no splits"]
        )
        assert [(facts.split, facts.texts_per_image) for facts in report.facts] == [("all", {1: 1, 2: 1})], (
            path
        )


def test_a_caption_file_beside_its_pictures_is_pointed_out(tmp_path: Path) -> None:
    path = karpathy(tmp_path, ("a", "train", ["x"]))
    touch(tmp_path / "images", a=b"a")
    assert found(check(tmp_path), "has a .txt of captions beside it").todo == (
        f"if one of {path.name} is the caption file, give its path"
    )
    path.unlink()
    assert found(check(tmp_path), "images of all without a caption: 1").severity == "error"


def test_subfolders_named_as_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        touch(tmp_path / split, a=split.encode()).joinpath("a.txt").write_text(split)
    assert [facts.split for facts in check(tmp_path).facts] == ["train", "test"]


def test_what_cannot_be_parsed_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,caption\na.jpg,x,y\n")
    report = check(path)
    assert not report.ok
    assert "line 2: 3 columns" in report.findings[0].what
    assert "double quotes" in report.findings[0].todo
    path.write_text("image,caption\na.jpg\n")
    assert found(check(path), "line 2: 1 columns").todo == "fill in the others"
    path.write_text("image,caption,caption\na.jpg,x,y\n")
    assert "give each column its own name" in found(check(path), "names the column caption twice").todo
    assert report.to_dict()["findings"][0]["severity"] == "error"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.json", '{"word2idx": {}}', r"is a vocabulary; check a data set with it: --vocabulary"),
        ("x.json", '{"a": 1, "b": 2}', r"holds a, b; expected images"),
        ("x.npy", "", r"is of no known kind; expected a precomputed folder"),
    ],
)
def test_what_is_no_data(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        check(tmp_path / name)
    with pytest.raises(ValueError, match="holds neither"):
        check(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no "):
        check(tmp_path / "nowhere")


def test_features_without_captions_say_what_is_missing(tmp_path: Path) -> None:
    (precomp(tmp_path / "f30k_precomp", train=features(2)) / "train_caps.txt").unlink()
    with pytest.raises(
        ValueError, match=r"features but no captions; put train_caps\.txt beside train_ims\.npy"
    ):
        check(tmp_path)


@pytest.mark.parametrize("content", ['{"images": []}', '{"images": [], "annotations": []}'])
def test_a_caption_file_without_images(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert found(check(tmp_path / "x.json"), "the list images is empty").severity == "error"


def test_an_empty_file_does_not_hide_the_other_splits(tmp_path: Path) -> None:
    folder = precomp(tmp_path, train=features(2), dev=features(2, 1), test=features(2) * 0)
    (folder / "train_ids.txt").write_text("")
    (folder / "dev_caps.txt").write_text("")
    report = check(folder)
    assert found(report, "train_ids.txt is empty").todo == "fetch it again"
    assert found(report, "dev_caps.txt is empty").severity == "error"
    assert found(report, "nothing but zeros: 2").where == "test_ims.npy rows 0, 1"


def test_detector_tsv_is_told_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "f.tsv").write_text("1\t640\t480\t1\tAAAA\tAAAA\n")
    with pytest.raises(ValueError, match=r"bottom-up-attention features; .* wordsight data convert"):
        check(tmp_path / "f.tsv")


def test_a_report_can_be_json(tmp_path: Path) -> None:
    report = check(karpathy(tmp_path, ("a", "train", ["x"])))
    assert json.loads(json.dumps(report.to_dict()))["splits"][0]["images"] == 1
