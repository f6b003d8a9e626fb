"""Person-search annotations become pairs whose identities are persons; what is wrong is told by place."""

import json
from pathlib import Path
from typing import Any

import pytest

from wordsight import registry
from wordsight.read.datasets.detect_format import picture_paths, texts_of
from wordsight.read.datasets.person_search import PersonSearch
from wordsight.read.text.word_rules import split_words
from wordsight.read.validate.check import check

ENTRIES: list[dict[str, Any]] = [
    {"split": "train", "captions": ["a man in red", "he walks"], "file_path": "a/1.jpg", "id": 2},
    {"split": "train", "captions": ["a woman", "she waits", "a bag"], "file_path": "a/2.jpg", "id": 1},
    {"split": "train", "captions": ["a man again"], "file_path": "b/3.jpg", "id": 2},
    {"split": "val", "captions": ["a boy"], "file_path": "b/4.jpg", "id": 3},
    {"split": "test", "captions": ["a girl", "with a dog"], "file_path": "b/5.jpg", "id": 4},
]


def annotations(
    folder: Path, entries: Any = ENTRIES, name: str = "reid_raw.json", picture: str = "file_path"
) -> Path:
    """The file and its pictures, with the field of the pictures named as wanted."""
    renamed = [
        {picture if key == "file_path" else key: value for key, value in entry.items()} for entry in entries
    ]
    for entry in entries:
        path = folder / "imgs" / str(entry.get("file_path", "none.jpg"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    (folder / name).write_text(json.dumps(renamed))
    return folder / name


@pytest.mark.parametrize(
    ("name", "picture"),
    [("reid_raw.json", "file_path"), ("ICFG-PEDES.json", "file_path"), ("data_captions.json", "img_path")],
)
def test_all_three_data_sets_read_alike(tmp_path: Path, name: str, picture: str) -> None:
    path = annotations(tmp_path, name=name, picture=picture)
    for given in (path, tmp_path):  # the file, or the folder that holds it
        pairs = registry.build("data", {"name": "person-search", "path": str(given)}).read("train")
        assert pairs.names == ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
        assert pairs.image_of.tolist() == [0, 0, 1, 1, 1, 2]
        assert pairs.texts[-1] == "a man again"
        assert pairs.images.read([2]) == [tmp_path / "imgs" / "b" / "3.jpg"]


def test_relevance_is_the_person_not_the_picture(tmp_path: Path) -> None:
    pairs = PersonSearch(annotations(tmp_path)).read("train")
    assert pairs.identities.tolist() == [2, 1, 2]  # the file's own numbers
    belongs = pairs.identities[:, None] == pairs.text_identities
    assert belongs.sum(1).tolist() == [3, 3, 3]


def test_counts_from_zero_and_numbers_as_text_are_read(tmp_path: Path) -> None:
    entries = [ENTRIES[0] | {"id": 0}, ENTRIES[1] | {"id": "17"}]
    assert PersonSearch(annotations(tmp_path, entries)).read("train").identities.tolist() == [0, 17]


def test_pictures_that_are_elsewhere_or_nowhere(tmp_path: Path) -> None:
    path = annotations(tmp_path)
    (tmp_path / "imgs").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"do not exist: 3 of 3.*1\.jpg \(entry 0\); give the folder"):
        PersonSearch(path).read("train")
    assert len(PersonSearch(path, pictures=tmp_path / "elsewhere").read("train")) == 6
    (tmp_path / "elsewhere" / "a" / "2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3, the first .*2\.jpg \(entry 1\)"):
        PersonSearch(path, pictures=tmp_path / "elsewhere").read("train")
    assert len(PersonSearch(path, pictures=tmp_path / "elsewhere", missing="skip").read("train")) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, r"entry 1 has id = null; expected the number of a person"),
        ({"id": True}, r"entry 1 has id = True"),
        ({"id": "p1"}, r"entry 1 has id = 'p1'"),
        ({"captions": "a woman"}, r"entry 1 has captions = 'a woman'; expected a list of texts"),
        ({"captions": [3]}, r"entry 1 captions\[0\] is 3; expected a caption"),
        ({"split": 1}, r"entry 1 has split = 1; expected a text"),
        ({"file_path": ""}, r"entry 1 has file_path = ''; expected a text that is not empty"),
        ({"captions": ["x", " "]}, r"empty captions: 1, the first at entry 1 captions\[1\]; fill them in"),
        ({"captions": []}, r"without a caption: 1, the first a/2\.jpg \(entry 1\); write one"),
    ],
)
def test_wrong_values_are_told_by_entry(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = annotations(tmp_path)
    path.write_text(json.dumps([ENTRIES[0], ENTRIES[1] | change]))
    with pytest.raises(ValueError, match=message):
        PersonSearch(path, missing="keep").read("train")


@pytest.mark.parametrize("name", ["split", "captions", "file_path", "id"])
def test_absent_fields_are_told_by_entry_and_name(tmp_path: Path, name: str) -> None:
    cut = {key: value for key, value in ENTRIES[2].items() if key != name}
    path = annotations(tmp_path, [*ENTRIES[:2], cut])
    told = "file_path or img_path" if name == "file_path" else name
    with pytest.raises(
        ValueError, match=rf"reid_raw\.json entry 2 has no {told}, only .*; take the data set's own"
    ):
        PersonSearch(path).read("train")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"images": []},
            r"holds an object, .*; expected a list of objects with split, captions, id and file_path or",
        ),
        ([], r"holds a list, \[\]; expected a list of objects"),
        (["a.jpg"], r"entry 0 is 'a\.jpg'; expected an object"),
    ],
)
def test_other_documents_are_refused(tmp_path: Path, document: Any, message: str) -> None:
    (tmp_path / "reid_raw.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message):
        PersonSearch(tmp_path).read("train")


def test_a_folder_without_annotations_and_an_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds none of reid_raw\.json, .*; give the path"):
        PersonSearch(tmp_path).read("train")
    with pytest.raises(ValueError, match=r'no pictures of split "testall"; it has train \(3 pictures\)'):
        PersonSearch(annotations(tmp_path)).read("testall")


def test_words_of_person_search_are_cut_as_cmpl_does() -> None:
    said = "The man's wearing a T-shirt, grey/blue  shorts; & white sneakers (Nike?)."
    assert split_words(said, "cmpl") == [
        "the", "mans", "wearing", "a", "tshirt", "greyblue", "shorts", "white", "sneakers", "nike",
    ]  # fmt: skip


# Checking, and listing for other commands


@pytest.mark.parametrize("whole", [True, False])
def test_a_check_counts_persons(tmp_path: Path, whole: bool) -> None:
    path = annotations(tmp_path)
    report = check(tmp_path if whole else path)
    assert report.ok
    assert report.kind == "person-search annotations"
    assert [(facts.split, facts.images, facts.texts) for facts in report.facts] == [
        ("train", 3, 6), ("val", 1, 1), ("test", 1, 2),
    ]  # fmt: skip
    (note,) = [finding for finding in report.findings if "persons" in finding.what]
    assert note.what == "persons: 2 in train, 1 in val, 1 in test"


def test_a_check_finds_persons_of_the_training_in_the_test(tmp_path: Path) -> None:
    report = check(annotations(tmp_path, [*ENTRIES, ENTRIES[4] | {"id": 2, "file_path": "b/6.jpg"}]))
    (leak,) = [finding for finding in report.findings if "several splits" in finding.what]
    assert (leak.severity, leak.what, leak.where) == (
        "error",
        "persons in several splits: 1",
        "2 (train, test)",
    )


def test_a_check_names_the_entry_that_is_wrong(tmp_path: Path) -> None:
    report = check(annotations(tmp_path, [ENTRIES[0], {**ENTRIES[1], "id": "who"}]))
    assert not report.ok
    assert report.findings[0].what.endswith("entry 1 has id = 'who'")


def test_other_commands_find_pictures_and_training_texts(tmp_path: Path) -> None:
    path = annotations(tmp_path)
    assert [found.name for found in picture_paths(path)[0]] == [f"{n}.jpg" for n in range(1, 6)]
    assert (
        texts_of(tmp_path, ["train"])
        == texts_of(path, ["train"])
        == [text for entry in ENTRIES[:3] for text in entry["captions"]]
    )
