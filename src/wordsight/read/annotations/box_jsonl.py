"""JSON lines, each a known word and its box, and a PairSet -> the boxes of each text's words.

``picture``    the picture's name, as the data has it or only its last part
``sentence``   the sentence, or its number among the picture's sentences, from 0
``word``       the word, or its number among the words between spaces, from 0
``fractions``  left, top, right, bottom as fractions of the picture's width and height
``pixels``     or the same in pixels, counted from 0 at the left and the top; the first pixel is 0, 0, 1, 1
``size``       width and height in pixels, where ``pixels`` are given and there is no picture file to ask

    {"picture": "36979.jpg", "sentence": "A dog runs.", "word": "dog", "pixels": [10, 20, 110, 90]}

Several lines of one word are several boxes, any of which is right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from wordsight.errors import InputError
from wordsight.files.tables import Row, read_rows
from wordsight.pairs import Box, PairSet, PictureFiles, WordBox
from wordsight.read.pictures.decode import picture_size
from wordsight.read.text.align_words import counterparts, letters
from wordsight.read.text.word_rules import split_words

UNITS = ("fractions", "pixels")
KEYS = ("picture", "sentence", "word", *UNITS, "size")
SUFFIXES = (".jsonl", ".ndjson")


def box_objects(path: Path, pairs: PairSet) -> list[list[WordBox]]:
    """For each text, its words with known boxes. Lines of pictures that the pairs do not have are left out.

    Raises ValueError that names the line, what is wrong there and what to do; FileNotFoundError.
    """
    known: dict[tuple[int, int], list[Box]] = {}
    pictures = _Pictures(pairs)
    for row in read_rows(path):
        try:
            numbers, unit = _numbers(row)
            image = pictures.find(_value(row, "picture", str))
            if image is not None:
                text = pictures.text(image, _value(row, "sentence", str, int))
                word = _word(pairs.texts[text], _value(row, "word", str, int))
                size = (1.0, 1.0) if unit == "fractions" else _size(row) or pictures.size(image)
                known.setdefault((text, word), []).append(_box(numbers, size, unit))
        except ValueError as error:
            raise InputError(f"{path} line {row.line}: {error}") from error
    if not known:
        raise InputError(
            f"{path} tells of none of the {len(pairs.images)} pictures of {pairs.source or 'these pairs'}, "
            f"which are called such as {pairs.names[0]}; name the pictures as the data does"
        )
    objects: list[list[WordBox]] = [[] for _ in pairs.texts]
    for (text, word), (box, *others) in sorted(known.items()):
        objects[text].append(WordBox(word, box, tuple(others)))
    return objects


def _value(row: Row, key: str, *kinds: type) -> Any:
    if key not in row.values:
        raise InputError(f"{key} is missing; a line has {', '.join(KEYS[:3])} and {' or '.join(UNITS)}")
    value = row.values[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        expected = "text or a number" if int in kinds else "text"
        raise InputError(f"{key} is {value!r}; expected {expected}")
    return value


def _numbers(row: Row) -> tuple[Sequence[float], str]:
    """The box as it is written, and its unit."""
    strange = [key for key in row.values if key not in KEYS]
    if strange:
        raise InputError(f"{strange[0]} is not known; known: {', '.join(KEYS)}")
    units = [unit for unit in UNITS if unit in row.values]
    if len(units) != 1:
        given = "both" if units else "neither"
        raise InputError(f"the box is given in {given} of fractions and pixels; give it in one of them")
    return _floats(row.values[units[0]], units[0], "left, top, right, bottom"), units[0]


def _size(row: Row) -> Sequence[float] | None:
    if "size" not in row.values:
        return None
    size = _floats(row.values["size"], "size", "width, height")
    if min(size) <= 0:
        raise InputError(f"size is {list(size)}; expected a width and a height above 0, in pixels")
    return size


def _floats(value: Any, name: str, parts: str) -> Sequence[float]:
    whole = isinstance(value, list) and len(value) == len(parts.split(","))
    if not whole or not all(type(side) in (int, float) and math.isfinite(side) for side in value):
        raise InputError(f"{name} is {value!r}; expected the numbers [{parts}]")
    return [float(side) for side in value]


def _box(numbers: Sequence[float], size: Sequence[float], unit: str) -> Box:
    left, top, right, bottom = numbers
    if right <= left or bottom <= top:
        raise InputError(
            f"{unit} {list(numbers)} ends before it begins; expected left, top, right, bottom, not width and "
            "height"
        )
    width, height = size
    if left < 0 or top < 0 or right > width or bottom > height:
        given = "fractions lie between 0 and 1" if unit == "fractions" else f"it has {width:g} x {height:g}"
        other = "; are these pixels?" if unit == "fractions" and max(numbers) > 2 else ""
        raise InputError(f"{unit} {list(numbers)} reaches outside of the picture: {given}{other}")
    return left / width, top / height, right / width, bottom / height


def _word(text: str, given: str | int) -> int:
    """The place of the meant word in the text, as WordBox counts."""
    words = split_words(text)
    if isinstance(given, str):
        found = [
            place for place, word in enumerate(words) if letters(given) and letters(word) == letters(given)
        ]
        if len(found) > 1:
            raise InputError(
                f'"{given}" stands {len(found)} times in "{text}"; give its number among the words between '
                "spaces, from 0"
            )
        if not found:
            raise InputError(f'"{given}" is no word of "{text}"; its words are {", ".join(words)}')
        return found[0]
    spaced = text.split()
    if not 0 <= given < len(spaced):
        raise InputError(f'word is {given}, but "{text}" has {len(spaced)} words; the first is number 0')
    within = counterparts(words, spaced)
    if given not in within:
        raise InputError(f'word {given} of "{text}" is "{spaced[given]}", which has no letters; count from 0')
    return within.index(given)


@dataclass(frozen=True, eq=False)
class _Pictures:
    """The pictures of a PairSet by name, their sentences and sizes."""

    pairs: PairSet

    def find(self, name: str) -> int | None:
        """The row of the picture with this name, whole or its last part; None if there is none."""
        rows = self._by_name.get(name) or self._by_last_part.get(name) or []
        if len(rows) > 1:
            names = " and ".join(self.pairs.names[row] for row in rows[:2])
            raise InputError(f"picture {name!r} may be {names}; give the whole name")
        return rows[0] if rows else None

    def text(self, image: int, given: str | int) -> int:
        """The row of the picture's sentence that is meant."""
        own, name = self._texts[image], self.pairs.names[image]
        if isinstance(given, int):
            if not 0 <= given < len(own):
                raise InputError(
                    f"sentence is {given}, but {name} has {len(own)} sentences; the first is number 0"
                )
            return own[given]
        found = [text for text in own if letters(self.pairs.texts[text]) == letters(given)]
        if not found:
            first = self.pairs.texts[own[0]] if own else ""
            raise InputError(
                f'sentence is "{given}", which is none of the {len(own)} of {name}; the first is "{first}"; '
                "write it as the data does, or give its number"
            )
        return found[0]

    def size(self, image: int) -> tuple[int, int]:
        """Width and height in pixels, of the picture's file."""
        if image not in self._sizes:
            images = self.pairs.images
            if not isinstance(images, PictureFiles):
                raise InputError(
                    "pixels need the size of the picture, and the data has no picture files; add "
                    '"size": [width, height], or give fractions'
                )
            self._sizes[image] = picture_size(images.paths[image])
        return self._sizes[image]

    @cached_property
    def _sizes(self) -> dict[int, tuple[int, int]]:
        return {}

    @cached_property
    def _texts(self) -> list[list[int]]:
        return self.pairs.texts_by_image()

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        return _rows(self.pairs.names)

    @cached_property
    def _by_last_part(self) -> dict[str, list[int]]:
        return _rows([PurePath(name).name for name in self.pairs.names])


def _rows(names: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return rows
