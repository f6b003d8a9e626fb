"""A folder of Flickr30k Entities and a PairSet -> for each text, the boxes of what its phrases name.

``Sentences/{picture}.txt``    a sentence per line, its phrases marked: ``[/EN#283585/people A small dog]`` is
                               chain 283585 of the type people; several types follow each other
                               (``/EN#1/clothing/bodyparts``); chain 0 is not visual and has no box
``Annotations/{picture}.xml``  ``size``, and objects with the chains that they belong to (``name``, one or
                               more) and a ``bndbox`` in pixels, or ``nobndbox`` or ``scene`` instead

A chain may have several objects (three dogs), and an object several chains ("a couple", "the bride").
The word that stands for a phrase is its last, "shirt" of "a blue shirt": phrases end with their noun here,
and so each counts once, however many adjectives it has; a model that finds "blue" elsewhere is not wrong. Of
"a group of friends" it is "friends", who are in the same box. Any box of the chain is right, as in the
pointing game (Zhang et al., ECCV 2016); the union of all, which phrase grounding compares with, would hold
what lies between two people.

Source: Plummer et al., "Flickr30k Entities", ICCV 2015, and the README of its release.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wordsight.errors import InputError, MissingFileError
from wordsight.files.documents import read_bytes, read_lines
from wordsight.pairs import Box, PairSet, PictureFiles, WordBox
from wordsight.read.text.align_words import counterparts, letters, likeness
from wordsight.read.text.word_rules import split_words

MARK = re.compile(r"\[/EN#(?P<chain>[^/\s\[\]]++)(?:/[^/\s\[\]]++)++(?P<words>[^\[\]]*+)\]")
SENTENCES, ANNOTATIONS = "Sentences", "Annotations"
ALIKE = 0.8  # of the letters: two sentences that agree less are not one sentence, written in two ways


@dataclass(frozen=True)
class EntityPhrase:
    """A part of a sentence and the thing that it names."""

    chain: str
    head: int | None  # position of the word that stands for it; None: it has no words


@dataclass(frozen=True)
class EntitySentence:
    """A line of ``Sentences``: its words, as they are cut there, and its phrases."""

    words: Sequence[str]
    phrases: Sequence[EntityPhrase]


def entity_objects(folder: Path, pairs: PairSet) -> list[list[WordBox]]:
    """For each text, the words that stand for its phrases, and the boxes of these in the picture.

    Pictures are found by their file names, or else by their sentences: precomputed features come with
    numbers. A phrase whose word is not found in the text is a WordBox without a word.
    Raises FileNotFoundError, and ValueError for files of another form and for a folder that tells of
    none of the pictures.
    """
    entities = _Entities(folder)
    objects: list[list[WordBox]] = [[] for _ in pairs.texts]
    read = 0
    for row, texts in enumerate(pairs.texts_by_image()):
        written = [pairs.texts[text] for text in texts]
        name = entities.find(_stem(pairs, row), written)
        if name is not None:
            read += 1
            boxes, sentences = entities.chains(name), entities.sentences(name)
            for number, place, alike in _same_sentences(sentences, written):
                objects[texts[place]] = _word_boxes(sentences[number], written[place], boxes, alike)
    if not read:
        raise InputError(
            f"{folder} tells of none of the {len(pairs.images)} pictures of {pairs.source or 'these pairs'}, "
            f"neither by name (such as {_stem(pairs, 0)}) nor by their sentences; is it of the same data?"
        )
    return objects


def read_sentences(path: Path) -> list[EntitySentence]:
    """The marked sentences of one picture. Raises ValueError that names the line."""
    lines = enumerate(read_lines(path), 1)
    return [_sentence(line, f"{path} line {number}") for number, line in lines if line]


def read_chains(path: Path) -> dict[str, list[Box]]:
    """The boxes of each chain of one picture, in fractions of it; those without a box are left out.

    Corners are pixels counted from 1, and the last one belongs to the box. Raises ValueError.
    """
    try:
        root = ElementTree.fromstring(read_bytes(path))
        width, height = (float(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        chains: dict[str, list[Box]] = {}
        for number, thing in enumerate(root.iterfind("object"), 1):
            places = [_box(corners, width, height, f"object {number}") for corners in thing.iter("bndbox")]
            for name in thing.iterfind("name"):
                chains.setdefault((name.text or "").strip(), []).extend(places)
    except (ElementTree.ParseError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"{path}: {error}; expected size with width and height, and objects with name and bndbox (xmin, "
            "ymin, xmax, ymax); unpack annotations.zip of the release again"
        ) from error
    return {chain: boxes for chain, boxes in chains.items() if boxes}


def _box(corners: ElementTree.Element, width: float, height: float, where: str) -> Box:
    sides = [corners.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    if None in sides:
        raise InputError(f"{where} has a bndbox without all of its four sides")
    left, top, right, bottom = (float(side or "") for side in sides)
    if right < left or bottom < top:
        raise InputError(f"{where} ends before it begins: {left:g} {top:g} {right:g} {bottom:g}")
    return (
        max(left - 1, 0) / width,
        max(top - 1, 0) / height,
        min(right / width, 1),
        min(bottom / height, 1),
    )


def _sentence(line: str, where: str) -> EntitySentence:
    words: list[str] = []
    phrases: list[EntityPhrase] = []
    end = 0
    for mark in MARK.finditer(line):
        words += line[end : mark.start()].split()
        inner = mark["words"].split()
        phrases.append(EntityPhrase(mark["chain"], _head(inner, len(words))))
        words += inner
        end = mark.end()
    words += line[end:].split()
    strange = next((word for word in words if "/EN#" in word), None)
    if strange is not None:
        raise InputError(
            f"{where}: the phrase at {strange!r} is not marked as [/EN#chain/type words]; "
            "close the bracket, and give it a chain and a type"
        )
    return EntitySentence(words, phrases)


def _head(words: Sequence[str], before: int) -> int | None:
    """The last word, but not the 's of "a man 's"."""
    named = [place for place, word in enumerate(words) if letters(word) and not word.startswith("'")]
    return before + named[-1] if named else None


def _same_sentences(sentences: Sequence[EntitySentence], texts: Sequence[str]) -> list[tuple[int, int, bool]]:
    """Pair sentences with the texts of the picture, the most alike first, and whether they are alike."""
    said = [letters("".join(sentence.words)) for sentence in sentences]
    written = [letters(text) for text in texts]
    same = _paired(
        (1.0, n, t) for n, one in enumerate(said) for t, other in enumerate(written) if one == other
    )
    taken, used = {n for _, n, _ in same}, {t for _, _, t in same}
    left = [(n, t) for n in range(len(said)) for t in range(len(written)) if n not in taken and t not in used]
    rest = _paired((likeness(said[n], written[t]), n, t) for n, t in left)
    return [(n, t, alike >= ALIKE) for alike, n, t in [*same, *rest]]


def _paired(candidates: Iterable[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    """The best pairs, each number in one of them."""
    chosen: list[tuple[float, int, int]] = []
    taken: set[int] = set()
    used: set[int] = set()
    for alike, one, other in sorted(candidates, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if one not in taken and other not in used:
            chosen.append((alike, one, other))
            taken.add(one)
            used.add(other)
    return chosen


def _word_boxes(
    sentence: EntitySentence, text: str, boxes: dict[str, list[Box]], alike: bool
) -> list[WordBox]:
    """A WordBox for each phrase with boxes."""
    places = counterparts(sentence.words, split_words(text)) if alike else [None] * len(sentence.words)
    found = []
    for phrase in sentence.phrases:
        if phrase.chain in boxes:
            first, *others = boxes[phrase.chain]
            word = None if phrase.head is None else places[phrase.head]
            found.append(WordBox(word, first, tuple(others)))
    return found


def _stem(pairs: PairSet, row: int) -> str:
    """The name of the picture's file without its suffix."""
    images = pairs.images
    return images.paths[row].stem if isinstance(images, PictureFiles) else Path(pairs.names[row]).stem


@dataclass(frozen=True)
class _Entities:
    """The pictures that a folder tells of."""

    folder: Path

    def __post_init__(self) -> None:
        absent = [name for name in (SENTENCES, ANNOTATIONS) if not (self.folder / name).is_dir()]
        if absent:
            raise MissingFileError(
                f"{self.folder} has no folder {absent[0]}; Flickr30k Entities has {SENTENCES} and "
                f"{ANNOTATIONS}: unpack annotations.zip of its release there"
            )

    def find(self, stem: str, texts: Sequence[str]) -> str | None:
        """The picture of this name, if a sentence confirms it; else the one that has most of the texts."""
        said = [letters(text) for text in texts]
        if stem in self.names and set(said) & set(self._written(stem)):
            return stem
        votes = Counter(name for text in said if (name := self._by_text.get(text)) is not None)
        name, count = votes.most_common(1)[0] if votes else ("", 0)
        if 2 * count > len(texts):
            return name
        return stem if stem in self.names else None

    def sentences(self, name: str) -> list[EntitySentence]:
        return read_sentences(self.folder / SENTENCES / f"{name}.txt")

    def chains(self, name: str) -> dict[str, list[Box]]:
        return read_chains(self.folder / ANNOTATIONS / f"{name}.xml")

    def _written(self, name: str) -> list[str]:
        return [letters("".join(sentence.words)) for sentence in self.sentences(name)]

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(path.stem for path in (self.folder / SENTENCES).glob("*.txt"))

    @cached_property
    def _by_text(self) -> dict[str, str | None]:
        """The picture of a sentence; None where several have it."""
        found: dict[str, str | None] = {}
        for name in sorted(self.names):
            for text in set(self._written(name)):
                found[text] = None if text in found else name
        return found
