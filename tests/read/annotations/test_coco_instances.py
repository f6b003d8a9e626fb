"""COCO's boxes at the words that name their categories, on COCO's own files and on small ones."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from wordsight.errors import InputError
from wordsight.pairs import PairSet, PictureFiles, one_identity_per_image
from wordsight.read.annotations.coco_categories import SYNONYMS, spellings
from wordsight.read.annotations.load import with_objects
from wordsight.read.datasets.coco import Coco
from wordsight.read.text.word_rules import split_words

COCO = Path(os.environ.get("WORDSIGHT_DATA", "../shared/data")) / "coco_mini"
real = pytest.mark.skipif(not COCO.is_dir(), reason=f"no COCO photographs at {COCO}")


@pytest.fixture(scope="module")
def photographs() -> PairSet:
    pairs = Coco(COCO / "annotations" / "captions_train2017.json").read()
    return with_objects(pairs, COCO / "annotations" / "instances_train2017.json")


@real
def test_the_table_has_the_categories_of_coco() -> None:
    document = json.loads((COCO / "annotations" / "instances_train2017.json").read_text())
    assert [category["name"] for category in document["categories"]] == list(SYNONYMS)


@real
def test_boxes_are_those_of_the_file(photographs: PairSet) -> None:
    """The boxes of the first word that names a category, computed from the file by hand."""
    assert photographs.objects is not None
    document = json.loads((COCO / "annotations" / "instances_train2017.json").read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    sizes = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
    of_image: dict[int, dict[str, list[tuple[float, ...]]]] = {}
    for entry in document["annotations"]:
        (left, top, width, height), (w, h) = entry["bbox"], sizes[entry["image_id"]]
        box = left / w, top / h, (left + width) / w, (top + height) / h
        of_image.setdefault(entry["image_id"], {}).setdefault(names[entry["category_id"]], []).append(box)
    of_two_words = {phrase for category in SYNONYMS for phrase in spellings(category) if len(phrase) == 2}
    checked: Counter[str] = Counter()
    for text, objects, image in zip(
        photographs.texts, photographs.objects, photographs.image_of.tolist(), strict=True
    ):
        boxes = of_image.get(int(Path(photographs.names[image]).stem), {})
        words = split_words(text)
        for known in objects:
            assert known.word is not None
            word = words[known.word]
            if word in boxes and tuple(words[known.word - 1 : known.word + 1]) not in of_two_words:
                assert [known.box, *known.others] == [pytest.approx(box, abs=1e-6) for box in boxes[word]]
                checked[word] += 1
    assert len(checked) >= 10, f"too few categories named in the captions: {checked}"


@real
def test_most_captions_name_an_object(photographs: PairSet) -> None:
    assert photographs.objects is not None
    assert sum(map(bool, photographs.objects)) > 300
    assert all(0 <= side <= 1 for own in photographs.objects for known in own for side in known.box)


def small(folder: Path, texts: list[str], *found: str, **changes: Any) -> PairSet:
    """One picture of 100 x 50 pixels with a box for each of the categories, the n-th at x = 10 n."""
    names = list(dict.fromkeys(["person", "dog", "hot dog", "bicycle", "motorcycle", *found]))
    document = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "width": 100, "height": 50}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": names.index(name), "bbox": [10 * n, 5, 10, 20]}
            for n, name in enumerate(found)
        ],
    }
    path = folder / "instances_val2017.json"
    path.write_text(json.dumps(document | changes))
    name = "COCO_val2014_000000000007.jpg"
    pairs = PairSet(
        PictureFiles([Path(name)]), [name], texts, torch.zeros(len(texts), dtype=torch.long),
        one_identity_per_image(1), source="a picture",
    )  # fmt: skip
    return with_objects(pairs, path)


def words_of(pairs: PairSet) -> list[dict[str, int]]:
    """The words with boxes in each text, and how many boxes each has."""
    assert pairs.objects is not None
    return [
        {split_words(text)[known.word or 0]: 1 + len(known.others) for known in own}
        for text, own in zip(pairs.texts, pairs.objects, strict=True)
    ]


def test_words_stand_at_the_boxes_of_their_category(tmp_path: Path) -> None:
    pairs = small(tmp_path, ["Two men and a dog.", "A frisbee."], "person", "dog", "person")
    assert words_of(pairs) == [{"men": 2, "dog": 1}, {}]
    assert pairs.objects is not None
    assert pairs.objects[0][1].box == pytest.approx((0.1, 0.1, 0.2, 0.5))


def test_the_longest_phrase_wins(tmp_path: Path) -> None:
    assert words_of(small(tmp_path, ["a hot dog and a dog"], "hot dog", "dog")) == [{"dog": 1}]
    pairs = small(tmp_path, ["a hot dog"], "dog")
    assert words_of(pairs) == [{}], "a hot dog is no dog, also where none has a box"


def test_a_word_of_two_categories_has_the_boxes_of_both(tmp_path: Path) -> None:
    assert words_of(small(tmp_path, ["a bike"], "bicycle", "motorcycle")) == [{"bike": 2}]
    assert words_of(small(tmp_path, ["a bike"], "motorcycle")) == [{"bike": 1}]


def test_ids_may_be_texts(tmp_path: Path) -> None:
    images = [{"id": "7", "file_name": "a.jpg", "width": 100, "height": 50}]
    assert words_of(small(tmp_path, ["a dog"], "dog", images=images)) == [{"dog": 1}]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3]}]}, "has bbox"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, -3, 4]}]}, "width, height"),
        ({"annotations": [{"image_id": 7, "category_id": 99, "bbox": [1, 2, 3, 4]}]}, "category_id 99"),
        ({"annotations": [{"image_id": 7, "category_id": 1}]}, "no 'bbox'"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 0, "height": 5}]}, "above 0"),
        ({"images": [{"id": 8, "file_name": "a.jpg", "width": 5, "height": 5}]}, "none of the 1 pictures"),
        ({"images": 3}, "expected a list"),
    ],
)  # fmt: skip
def test_faults_are_named(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        small(tmp_path, ["a dog"], "dog", **changes)


def test_a_category_of_ones_own_has_its_name_and_plural() -> None:
    assert list(spellings("Garden gnome")) == [("garden", "gnome"), ("garden", "gnomes")]
