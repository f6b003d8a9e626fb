"""A folder of annotations (Crisscrossed Captions, ECCV Caption, or your own) -> the matching items per query.

``testall_ids.txt``           the id of each image, in the order of the split, once or once per text;
                              without it, the numbers at the end of the pictures' file names
``testall_capids.txt``        the id of each text; without it, ``coco_test_ids.npy`` of ECCV Caption
CxC as released: ``released_annotations``. CxC, as VSE-infinity prepared it:
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
from wordsight.evaluation.released_annotations import (
    CAPTION_IDS,
    MATCHING,
    ScoredPairs,
    cxc_file,
    find_file,
    read_caption_ids,
)
from wordsight.files.documents import field, read_json, read_lines
from wordsight.pairs import PairSet
from wordsight.read.annotations.coco_instances import coco_id

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
    images, texts = _image_ids(home, pairs), _text_ids(home, pairs)
    if name == "cxc" and find_file(home, CXC) is not None:
        ways = _read_cxc(home, images, texts, pairs)
    elif name == "cxc" and (sits := cxc_file(home, "sits", texts.names)) is not None:
        ways = _released_cxc(home, sits, images, texts, pairs)
    else:
        ways = {
            "i2t": _listed(_path(home, f"{name}_image_to_caption.json"), images, texts),
            "t2i": _listed(_path(home, f"{name}_caption_to_image.json"), texts, images),
        }
    _must_know_own_images(ways["t2i"], pairs, home, name)
    return Relevance(name, ways)


def _path(home: Path, name: str) -> Path:
    return find_file(home, name) or home / name


def _image_ids(home: Path, pairs: PairSet) -> _Ids:
    path = find_file(home, IMAGE_IDS)
    if path is None:
        return _ids_of_file_names(home, pairs)
    names, images = read_lines(path), len(pairs.images)
    if len(names) == len(pairs.texts) != images:
        first_text = {int(image): text for text, image in reversed(list(enumerate(pairs.image_of)))}
        names = [names[first_text[image]] for image in range(images)] if len(first_text) == images else names
    if len(names) != images:
        raise InputError(
            f"{path} has {len(names)} ids for {images} images with {len(pairs.texts)} texts; "
            "expected one line per image, or one per text"
        )
    return _Ids(names, path, "image")


def _ids_of_file_names(home: Path, pairs: PairSet) -> _Ids:
    """COCO's own file names end with the id of the image."""
    ids = [coco_id(Path(name).name) for name in pairs.names]
    absent = next((name for name, number in zip(pairs.names, ids, strict=True) if number is None), None)
    if absent is not None:
        raise _missing_ids(home / IMAGE_IDS, "image", f"and the name {absent!r} does not end with one")
    return _Ids([str(number) for number in ids], Path(pairs.source or "the pictures' names"), "image")


def _text_ids(home: Path, pairs: PairSet) -> _Ids:
    path = find_file(home, TEXT_IDS) or find_file(home, CAPTION_IDS)
    if path is None:
        raise _missing_ids(home / TEXT_IDS, "text", f"and {CAPTION_IDS} of ECCV Caption is not there either")
    names = read_caption_ids(path) if path.name == CAPTION_IDS else read_lines(path)
    if len(names) != len(pairs.texts):
        raise InputError(
            f"{path} has {len(names)} ids for {len(pairs.texts)} texts; expected one line per text"
        )
    return _Ids(names, path, "text")


def _missing_ids(path: Path, kind: str, also: str) -> MissingFileError:
    return MissingFileError(
        f"{path} does not exist, {also}; it holds the id of each {kind}, one per line, in the order of the "
        "split (VSE-infinity's cxc_annots has it for COCO's testall)"
    )


def _released_cxc(
    home: Path, sits: ScoredPairs, images: _Ids, texts: _Ids, pairs: PairSet
) -> dict[str, ListedGroundTruth]:
    """A query matches what people gave a high score; queries without such an item are left out."""

    def rows(matches: dict[str, list[str]], queries: _Ids, items: _Ids) -> list[list[int]]:
        return [_known(matches.get(name, []), items) for name in queries.names]

    found = {
        "i2t": ListedGroundTruth.of(rows(sits.reversed().matches(MATCHING), images, texts), len(texts)),
        "t2i": ListedGroundTruth.of(rows(sits.matches(MATCHING), texts, images), len(images)),
    }
    if not len(found["t2i"].queries):
        raise InputError(
            f"{sits.path} scores none of the {len(texts)} texts of {texts.path.name}; are they of one data "
            "set, and of the same split?"
        )
    if (sis := cxc_file(home, "sis", images.names)) is not None:
        similar_images = rows(sis.matches(ALIKE_IMAGES, both_ways=True), images, images)
        found["i2i"] = ListedGroundTruth.of(similar_images, len(images))
    if (sts := cxc_file(home, "sts", texts.names)) is not None:
        found["t2t"] = _with_siblings(rows(sts.matches(ALIKE_TEXTS, both_ways=True), texts, texts), pairs)
    return {way: right for way, right in found.items() if len(right.queries)}


def _with_siblings(similar: Sequence[Sequence[int]], pairs: PairSet) -> ListedGroundTruth:
    """Texts that are alike, and the other texts of the same image."""
    siblings = [[other for other in own if other != text] for text, own in enumerate(_siblings(pairs))]
    both = [[*some, *own] for some, own in zip(similar, siblings, strict=True)]
    return ListedGroundTruth.of(both, len(pairs.texts))


def _read_cxc(home: Path, images: _Ids, texts: _Ids, pairs: PairSet) -> dict[str, ListedGroundTruth]:
    """Between kinds every annotated pair is right; within a kind those that are alike enough."""
    path = _path(home, CXC)
    between = read_json(path)
    found = {
        "i2t": _of_all_queries(field(between, "i2t", "the document", path), images, texts, path),
        "t2i": _of_all_queries(field(between, "t2i", "the document", path), texts, images, path),
    }
    similar_images = _alike(_path(home, "cxc_i2i.json"), images, ALIKE_IMAGES)
    similar_texts = _alike(_path(home, "cxc_t2t.json"), texts, ALIKE_TEXTS)
    within = {
        "i2i": ListedGroundTruth.of(similar_images, len(images)),
        "t2t": _with_siblings(similar_texts, pairs),
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
