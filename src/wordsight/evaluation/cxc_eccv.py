"""A folder of annotations (Crisscrossed Captions, ECCV Caption, or your own) -> who is right for whom.

``testall_ids.txt``           the id of each image, in the order of the split, once or once per text
``testall_capids.txt``        the id of each text
CxC, as VSE-infinity prepared it:
``cxc_it.json``               {"t2i": {text: [[image, score], ...]}, "i2t": {image: [[text, score], ...]}}
``cxc_i2i.json``              {image: [[image, score], ...]}
``cxc_t2t.json``              {text: [[text, score], ...]}
ECCV Caption and its like, under any NAME:
``NAME_image_to_caption.json``  {image: [text, ...]}
``NAME_caption_to_image.json``  {text: [image, ...]}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wordsight.errors import InputError, MissingFileError
from wordsight.evaluation.ground_truth import ListedGroundTruth
from wordsight.files.documents import field, read_json, read_lines
from wordsight.pairs import PairSet

IMAGE_IDS, TEXT_IDS = "testall_ids.txt", "testall_capids.txt"
CXC = "cxc_it.json"
ALIKE_IMAGES, ALIKE_TEXTS = 2.5, 3.0  # of 5: from here on two images, or two texts, count as alike in CxC


@dataclass(frozen=True, eq=False)
class Relevance:
    """Ground truth of each way; queries without an answer are left out."""

    name: str
    ways: Mapping[str, ListedGroundTruth]  # by "i2t", "t2i", and where annotated "i2i", "t2t"


@dataclass(frozen=True, eq=False)
class _Ids:
    """Items of one kind by the annotators' ids."""

    names: Sequence[str]
    path: Path
    kind: str  # "image", "text"

    def __post_init__(self) -> None:
        twice = [name for number, name in enumerate(self.names) if self.numbers[name] != number]
        if twice:
            raise InputError(f"{self.path}: the id {twice[0]} stands for more than one {self.kind}")

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)


def read_relevance(folder: str | Path, name: str, pairs: PairSet) -> Relevance:
    """The annotations of this name ("cxc", "eccv", ...) in a folder, for the images and texts of a split.

    CxC has all four ways of asking, the others "i2t" and "t2i". Raises FileNotFoundError for a missing file
    and ValueError for ids that are not those of the pairs.
    """
    home = Path(folder)
    images, texts = _image_ids(home / IMAGE_IDS, pairs), _text_ids(home / TEXT_IDS, pairs)
    if name == "cxc" and (home / CXC).is_file():
        ways = _read_cxc(home, images, texts, pairs)
    else:
        ways = {
            "i2t": _listed(home / f"{name}_image_to_caption.json", images, texts),
            "t2i": _listed(home / f"{name}_caption_to_image.json", texts, images),
        }
    _must_know_own_images(ways["t2i"], pairs, home, name)
    return Relevance(name, ways)


def _image_ids(path: Path, pairs: PairSet) -> _Ids:
    names, images = _lines(path, "image"), len(pairs.images)
    if len(names) == len(pairs.texts) != images:
        first_text = {int(image): text for text, image in reversed(list(enumerate(pairs.image_of)))}
        names = [names[first_text[image]] for image in range(images)] if len(first_text) == images else names
    if len(names) != images:
        raise InputError(
            f"{path} has {len(names)} ids for {images} images with {len(pairs.texts)} texts; "
            "expected one line per image, or one per text"
        )
    return _Ids(names, path, "image")


def _text_ids(path: Path, pairs: PairSet) -> _Ids:
    names = _lines(path, "text")
    if len(names) != len(pairs.texts):
        raise InputError(
            f"{path} has {len(names)} ids for {len(pairs.texts)} texts; expected one line per text"
        )
    return _Ids(names, path, "text")


def _lines(path: Path, kind: str) -> list[str]:
    if not path.is_file():
        raise MissingFileError(
            f"{path} does not exist; it holds the id of each {kind}, one per line, in the order of the split "
            "(VSE-infinity's cxc_annots has it for COCO's testall)"
        )
    return read_lines(path)


def _read_cxc(home: Path, images: _Ids, texts: _Ids, pairs: PairSet) -> dict[str, ListedGroundTruth]:
    """Between kinds every annotated pair is right; within a kind those that are alike enough."""
    between = read_json(home / CXC)
    path = home / CXC
    found = {
        "i2t": _of_all_queries(field(between, "i2t", "the document", path), images, texts, path),
        "t2i": _of_all_queries(field(between, "t2i", "the document", path), texts, images, path),
    }
    alike = [
        _alike(home / "cxc_i2i.json", images, ALIKE_IMAGES),
        _alike(home / "cxc_t2t.json", texts, ALIKE_TEXTS),
    ]
    siblings = [[other for other in own if other != text] for text, own in enumerate(_siblings(pairs))]
    of_texts = [[*some, *own] for some, own in zip(alike[1], siblings, strict=True)]
    within = {
        "i2i": ListedGroundTruth.of(alike[0], len(images)),
        "t2t": ListedGroundTruth.of(of_texts, len(texts)),
    }
    return found | {way: right for way, right in within.items() if len(right.queries)}


def _of_all_queries(table: Any, queries: _Ids, items: _Ids, path: Path) -> ListedGroundTruth:
    """CxC asks every image and every text, so that a missing one means other data."""
    absent = [name for name in queries.names if name not in table]
    if absent:
        raise InputError(
            f"{path} has no entry for {len(absent)} of {len(queries)} {queries.kind}s, the first with the id "
            f"{absent[0]} of {queries.path.name}; are they of the same split?"
        )
    right = [[pair[0] for pair in _pairs_of(table, name, path)] for name in queries.names]
    return ListedGroundTruth.of([_known(some, items) for some in right], len(items))


def _alike(path: Path, ids: _Ids, least: float) -> list[list[int]]:
    table = read_json(path)
    right = [[other for other, score in _pairs_of(table, name, path) if score >= least] for name in ids.names]
    return [[n for n in _known(some, ids) if n != own] for own, some in enumerate(right)]


def _pairs_of(table: Any, name: str, path: Path) -> list[tuple[Any, float]]:
    entry = table.get(name, []) if isinstance(table, dict) else None
    try:
        return [(pair[0], float(pair[1])) for pair in entry]  # type: ignore[union-attr]
    except (TypeError, IndexError, KeyError, ValueError):
        raise InputError(
            f"{path}: the entry of {name} is {str(entry)[:60]}; expected a list of [id, score]"
        ) from None


def _siblings(pairs: PairSet) -> list[list[int]]:
    """The texts of the same image, for each text."""
    of_image = pairs.texts_by_image()
    return [of_image[image] for image in pairs.image_of.tolist()]


def _listed(path: Path, queries: _Ids, items: _Ids) -> ListedGroundTruth:
    table = read_json(path)
    if not isinstance(table, dict) or not all(isinstance(entry, list) for entry in table.values()):
        raise InputError(f"{path}: expected an object: {queries.kind} id -> list of {items.kind} ids")
    right = ListedGroundTruth.of([_known(table.get(name, []), items) for name in queries.names], len(items))
    if not len(right.queries):
        found_id, known_id = next(iter(table), None), queries.names[0]
        raise InputError(
            f"{path} says nothing of the {len(queries)} {queries.kind}s of {queries.path.name}: its keys "
            f"start with {found_id!r}, the ids with {known_id!r}; are they of one data set?"
        )
    return right


def _known(ids: Sequence[Any], items: _Ids) -> list[int]:
    """The numbers of those that are among the items: annotations may tell of more."""
    return [items.numbers[str(name)] for name in ids if str(name) in items.numbers]


def _must_know_own_images(right: ListedGroundTruth, pairs: PairSet, home: Path, name: str) -> None:
    """Most annotated texts are right for their own image: otherwise the ids are in another order."""
    queries = right.queries.tolist()
    own = sum(int(pairs.image_of[text]) in right.answers(text) for text in queries)
    if 2 * own < len(queries):
        raise InputError(
            f"{home}: by {name} only {own} of {len(queries)} texts are right for their own image, so "
            f"{IMAGE_IDS} and {TEXT_IDS} are not in the order of {pairs.source or 'the pairs'}"
        )
