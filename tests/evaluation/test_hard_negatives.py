"""Captions made wrong on purpose: the layouts of the published files, and the measures by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.search_models import build, model, world
from support.small_problem import wordsight

from wordsight.errors import InputError, MissingFileError
from wordsight.evaluation.hard_negatives import Share, hard_negative_accuracy
from wordsight.read.annotations.hard_negatives import CaptionChoice, PictureFile, read_caption_choices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    draw = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg", "ex_0_img_0.png", "ex_0_img_1.png"):
        Image.fromarray(draw.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_sugarcrepe(folder: Path) -> None:
    entry = {"filename": "a.jpg", "caption": "red dog", "negative_caption": "blue dog"}
    write(folder / "swap_att.json", {"0": entry, "1": entry | {"filename": "b.jpg"}})
    write(folder / "add_obj.json", {"0": entry})
    choices = read_caption_choices(folder)
    assert [choice.kind for choice in choices] == ["add_obj", "swap_att", "swap_att"]
    assert choices[0].captions == ["red dog", "blue dog"]
    assert choices[2].pictures == [PictureFile(folder / "images" / "b.jpg")]


def test_aro_is_cut_to_its_box(folder: Path) -> None:
    box = {"bbox_x": 5, "bbox_y": 2, "bbox_w": 10, "bbox_h": 7}
    captions = {"true_caption": "the dog is on the bed", "false_caption": "the bed is on the dog"}
    entry = {"image_path": "a.jpg", "relation_name": "on"} | captions | box
    (choice,) = read_caption_choices(write(folder / "visual_genome_relation.json", [entry]))
    assert choice.kind == "on"
    picture = choice.pictures[0].open()
    assert isinstance(picture, Image.Image)
    assert picture.size == (10, 7)


def test_winoground_finds_pictures_without_suffix(folder: Path) -> None:
    pictures = {"image_0": "ex_0_img_0", "image_1": "ex_0_img_1"}
    captions = {"caption_0": "a b", "caption_1": "b a"}
    entry = {"id": 0, "tag": "Noun", "collapsed_tag": "Object"} | pictures | captions
    path = folder / "examples.jsonl"
    path.write_text(json.dumps(entry) + "\n")
    (choice,) = read_caption_choices(path)
    assert choice.kind == "Object"
    assert [picture.path.name for picture in choice.pictures] == ["ex_0_img_0.png", "ex_0_img_1.png"]


def test_a_table_of_ones_own(folder: Path) -> None:
    path = folder / "own.csv"
    path.write_text('image,caption,negative,kind\na.jpg,"red, dog",blue dog,colour\n')
    (choice,) = read_caption_choices(path, folder / "images")
    assert (choice.kind, choice.captions) == ("colour", ["red, dog", "blue dog"])


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"filename": "a.jpg", "caption": "x"}, "has no negative"),
        ({"filename": "a.jpg", "caption": 3, "negative_caption": "y"}, "has caption 3"),
        ({"image_path": "a.jpg", "true_caption": "x", "false_caption": "y", "bbox_x": 1}, "the box"),
        ("text", "expected an object"),
    ],
)
def test_faults_name_their_entry(folder: Path, entry: Any, fault: str) -> None:
    good = {"filename": "a.jpg", "caption": "x", "negative_caption": "y"}
    with pytest.raises(InputError, match=rf"entry 1 .*{fault}"):
        read_caption_choices(write(folder / "x.json", [good, entry]))


def test_missing_pictures_are_counted(folder: Path) -> None:
    entry = {"filename": "none.jpg", "caption": "x", "negative_caption": "y"}
    path = write(folder / "x.json", {"0": entry, "1": entry | {"filename": "a.jpg"}})
    with pytest.raises(MissingFileError, match=r"1 pictures .*none\.jpg"):
        read_caption_choices(path)
    with pytest.raises(MissingFileError, match="does not exist"):
        read_caption_choices(folder / "nowhere")


def test_shares_are_those_of_the_scores(folder: Path) -> None:
    """Each picture compared with its captions alone, one after another."""
    matcher, names = build("max-sim").eval(), world().texts[:10]
    files = [PictureFile(folder / "images" / name) for name in ("a.jpg", "b.jpg")]
    single = [CaptionChoice("one", [files[n % 2]], [names[n], names[-1 - n]]) for n in range(len(names))]
    double = [CaptionChoice("two", files, [names[n], names[-1 - n]]) for n in range(len(names))]
    found = hard_negative_accuracy(matcher, [*single, *double], batch_size=3)

    def scores(choice: CaptionChoice) -> torch.Tensor:
        pictures = [picture.open() for picture in choice.pictures]
        with torch.no_grad():
            return torch.as_tensor(matcher.score(pictures, list(choice.captions)))

    right = [bool(s[0, 0] > s[0, 1]) for s in map(scores, single)]
    assert found.kinds["one"]["accuracy"].share == pytest.approx(np.mean(right))
    pairs = [scores(choice) for choice in double]
    text = [bool(s[0, 0] > s[0, 1] and s[1, 1] > s[1, 0]) for s in pairs]
    image = [bool(s[0, 0] > s[1, 0] and s[1, 1] > s[0, 1]) for s in pairs]
    expected = {"text": text, "image": image, "group": [a and b for a, b in zip(text, image, strict=True)]}
    assert {name: one.share for name, one in found.kinds["two"].items()} == {
        name: pytest.approx(np.mean(values)) for name, values in expected.items()
    }
    assert found.kinds["all"]["accuracy"] == found.kinds["one"]["accuracy"]
    assert "chance" in found.to_text()
    json.dumps(found.to_dict())


def test_the_interval_of_a_share() -> None:
    """Wilson's interval of 8 of 10, from tables: 49.0 to 94.3 %."""
    share = Share.of(8, 10)
    assert (share.low, share.high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert Share.of(0, 5).low == pytest.approx(0)
    assert Share.of(5, 5).high == pytest.approx(1)


def test_a_tie_counts_as_wrong(folder: Path) -> None:
    same = CaptionChoice("same", [PictureFile(folder / "images" / "a.jpg")], [world().texts[0]] * 2)
    found = hard_negative_accuracy(build("max-sim"), [same])
    assert found.kinds["same"]["accuracy"].share == 0


def test_the_command_measures_a_table(folder: Path) -> None:
    """Kinds, choices and chance in the table; options that do not go together are refused."""
    path, texts = folder / "own.tsv", world().texts
    rows = [f"{name}\t{texts[n]}\t{texts[n + 1]}\tkind {n}" for n, name in enumerate(("a.jpg", "b.jpg"))]
    path.write_text("\n".join(["picture\tcaption\tnegative\tkind", *rows]) + "\n")
    arguments = ["evaluate", model("max-sim"), "--hard-negatives", path]
    shown = wordsight(*arguments)
    assert shown.exit_code == 0, shown.output
    assert [line.split("  ")[0] for line in shown.output.splitlines()[-4:]] == [
        "kind",
        "kind 0",
        "kind 1",
        "all",
    ]
    assert json.loads(wordsight(*arguments, "--json").stdout)["all"]["accuracy"]["choices"] == 2
    refused = wordsight(*arguments, "--report", folder / "x.html")
    assert refused.exit_code != 0
    assert "--hard-negatives" in refused.output
