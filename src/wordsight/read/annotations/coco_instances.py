"""COCO's ``instances_*.json`` and a PairSet -> for each text, the boxes of the objects that its words name.

``images``       id, file_name, width, height
``categories``   id, name
``annotations``  image_id, category_id, and ``bbox``: left, top, width, height in pixels

COCO's boxes belong to categories, not to words. A word names a category by the table in
``coco_categories``; the longest phrase wins, so that "hot dog" is no dog. Every box of the category in the
picture is right for the word: which of two people "the woman" is, COCO does not say. Words whose category
has no box in the picture are left out.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from wordsight.errors import InputError
from wordsight.files.documents import field, list_field, read_json
from wordsight.pairs import Box, PairSet, WordBox
from wordsight.read.annotations.coco_categories import spellings
from wordsight.read.datasets.values import identifier_of
from wordsight.read.text.word_rules import split_words

_LAST_NUMBER = re.compile(r"(\d+)$")  # 365325 of COCO_val2014_000000365325

Boxes = Mapping[str, Sequence[Box]]  # by the name of a category


def instance_objects(path: Path, pairs: PairSet) -> list[list[WordBox]]:
    """For each text, its words that name objects with boxes. Pictures are found by file name or COCO's id.

    Raises InputError that names the entry, what is wrong there and what to do; FileNotFoundError.
    """
    instances = Instances(path, read_json(path))
    boxes = [instances.boxes_of(name) for name in pairs.names]
    if not any(boxes):
        raise InputError(
            f"{path} has boxes for none of the {len(pairs.images)} pictures of "
            f"{pairs.source or 'these pairs'}, which are called such as {pairs.names[0]}",
            "take the instances file of the same split, or name the pictures as COCO does",
        )
    return [
        instances.vocabulary.named_objects(text, boxes[image])
        for text, image in zip(pairs.texts, pairs.image_of.tolist(), strict=True)
    ]


def coco_id(name: str) -> str | None:
    """The number at the end of a COCO file name or caption id, without leading zeros; None without one."""
    found = _LAST_NUMBER.search(PurePath(name).stem)
    return None if found is None else str(int(found[1]))


@dataclass(frozen=True)
class CategoryWords:
    """The phrases that name each category."""

    categories: Sequence[str]

    @cached_property
    def by_phrase(self) -> dict[tuple[str, ...], list[str]]:
        """The categories that a phrase may name: a "bike" is a bicycle or a motorcycle."""
        found: dict[tuple[str, ...], list[str]] = {}
        for category in self.categories:
            for phrase in dict.fromkeys(spellings(category)):
                found.setdefault(phrase, []).append(category)
        return found

    def named_objects(self, text: str, boxes: Boxes) -> list[WordBox]:
        """The words that name a category with boxes. The longest phrase wins, also one without boxes."""
        words, found, start = split_words(text), [], 0
        while start < len(words):
            phrase = self._longest_phrase(words[start:])
            right = [box for category in self.by_phrase.get(phrase, ()) for box in boxes.get(category, ())]
            start += max(len(phrase), 1)
            if right:
                found.append(WordBox(start - 1, right[0], tuple(right[1:])))
        return found

    def _longest_phrase(self, words: Sequence[str]) -> tuple[str, ...]:
        lengths = range(min(len(words), self._most_words), 0, -1)
        phrases = (tuple(words[:length]) for length in lengths)
        return next((phrase for phrase in phrases if phrase in self.by_phrase), ())

    @cached_property
    def _most_words(self) -> int:
        return max(map(len, self.by_phrase), default=0)


@dataclass(frozen=True, eq=False)
class Instances:
    """The boxes of an instances file, by picture and category."""

    path: Path
    document: Any

    def boxes_of(self, name: str) -> Boxes:
        """The boxes of a picture by category; none for a picture that is not in the file."""
        last = PurePath(name.replace("\\", "/"))
        image = self._image_by_name.get(last.name)
        if image is None:
            image = coco_id(last.name)
        return {} if image is None else self._boxes.get(image, {})

    @cached_property
    def vocabulary(self) -> CategoryWords:
        return CategoryWords(list(self._categories.values()))

    @cached_property
    def _categories(self) -> dict[str, str]:
        return {self._id(entry, "id", where): str(self._field(entry, "name", where))
                for where, entry in self._entries("categories")}  # fmt: skip

    @cached_property
    def _image_by_name(self) -> dict[str, str]:
        return {
            PurePath(str(self._field(entry, "file_name", where))).name: self._id(entry, "id", where)
            for where, entry in self._entries("images")
        }

    @cached_property
    def _sizes(self) -> dict[str, tuple[float, float]]:
        """Width and height of each picture, in pixels."""
        sizes = {}
        for where, entry in self._entries("images"):
            size = [self._field(entry, side, where) for side in ("width", "height")]
            if not _are_numbers(size) or min(size) <= 0:
                raise self._fault(where, f"has the size {size}; expected a width and a height above 0")
            sizes[self._id(entry, "id", where)] = (float(size[0]), float(size[1]))
        return sizes

    @cached_property
    def _boxes(self) -> dict[str, dict[str, list[Box]]]:
        found: dict[str, dict[str, list[Box]]] = {}
        for where, entry in self._entries("annotations"):
            image, category = (self._id(entry, key, where) for key in ("image_id", "category_id"))
            if category not in self._categories:
                raise self._fault(where, f"has category_id {category}, which categories does not list")
            if image in self._sizes:
                box = self._box(self._field(entry, "bbox", where), self._sizes[image], where)
                found.setdefault(image, {}).setdefault(self._categories[category], []).append(box)
        return found

    def _box(self, sides: Any, size: tuple[float, float], where: str) -> Box:
        if not isinstance(sides, list) or len(sides) != 4 or not _are_numbers(sides) or min(sides[2:]) < 0:
            raise self._fault(where, f"has bbox {sides!r}; expected [left, top, width, height] in pixels")
        left, top, width, height = sides
        right, bottom = min((left + width) / size[0], 1.0), min((top + height) / size[1], 1.0)
        return max(left / size[0], 0.0), max(top / size[1], 0.0), right, bottom

    def _entries(self, key: str) -> list[tuple[str, Any]]:
        entries = list_field(self.document, key, "the document", self.path)
        return [(f"{key}[{number}]", entry) for number, entry in enumerate(entries)]

    def _field(self, entry: Any, key: str, where: str) -> Any:
        return field(entry, key, where, self.path)

    def _id(self, entry: Any, key: str, where: str) -> str:
        return identifier_of(self._field(entry, key, where), f"{where}.{key}", self.path)

    def _fault(self, where: str, fault: str) -> InputError:
        return InputError(f"{self.path}: {where} {fault}")


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)
