"""Pictures and captions of all splits -> those that are there twice: exactly, nearly, or word for word."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wordsight.audit.dataset import AuditedData
from wordsight.audit.words import CaptionWords
from wordsight.evaluation.encode import batches
from wordsight.read.pictures.decode import UnreadablePicture, open_picture
from wordsight.read.validate.pictures import equal_files
from wordsight.runtime.progress import Progress

SIDE = 16  # of the grid whose neighbours are compared: 256 bits
LIGHTER = 4  # grey levels: less is the noise of a JPEG
SAME_BITS, SAME_SHARE = 24, 0.3  # the same picture, saved again; the share is of the bits that are set
ALIKE_BITS, ALIKE_COSINE = 60, 0.92  # the same scene, a moment later
SAME_FEATURES = 0.999  # cosine, of data without picture files
BLOCK = 1024
MOST = 10_000  # pairs that are listed


class Kind(StrEnum):
    """How two pictures or captions are duplicates."""

    exact = "same file"
    near = "same picture"
    alike = "same scene"
    caption = "same caption"


@dataclass(frozen=True)
class Duplicate:
    """Two pictures, or two captions, by their numbers among all splits."""

    kind: Kind
    first: int
    second: int
    across: bool  # whether they are in different splits
    cosine: float | None = None


def duplicate_pictures(
    data: AuditedData, means: Float[Tensor, "image dim"], progress: Progress
) -> list[Duplicate]:
    """Pairs of pictures, the exact ones first, those across splits before the others of their kind."""
    exact = set(_exact(data.paths)) if data.paths is not None else set()
    hashes = None if data.paths is None else picture_hashes(data.paths, progress)
    found = [_pair(data, Kind.exact, *pair) for pair in sorted(exact)]
    for kind, first, second, cosine in _close(means, hashes, progress):
        if (first, second) not in exact and len(found) < MOST:
            found.append(_pair(data, kind, first, second, cosine))
    order = list(Kind)
    return sorted(found, key=lambda one: (order.index(one.kind), not one.across, one.first, one.second))


def _pair(data: AuditedData, kind: Kind, first: int, second: int, cosine: float | None = None) -> Duplicate:
    return Duplicate(kind, first, second, data.split_of[first] != data.split_of[second], cosine)


def _exact(paths: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Numbers of pictures in files of equal bytes: the first of a group with each of the others."""
    numbers: dict[Path, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        numbers[path].append(number)
    groups = [[n for path in group for n in numbers[path]] for group in equal_files(list(numbers))]
    groups += [same for same in numbers.values() if len(same) > 1]
    for group in groups:
        first, *others = sorted(group)
        yield from ((first, other) for other in others)


def picture_hashes(paths: Sequence[Path], progress: Progress) -> UInt8[np.ndarray, "image bit"]:
    """256 bits of each picture: whether a cell of a small grey copy is clearly lighter than its left one."""
    bits = np.zeros((len(paths), SIDE * SIDE), np.uint8)
    for number, path in enumerate(paths):
        try:
            small = open_picture(path, 2 * SIDE).convert("L").resize((SIDE + 1, SIDE))
        except UnreadablePicture:
            continue  # the matcher could not read it either, or it came from stored features
        grey = np.asarray(small, np.int16)
        bits[number] = (grey[:, 1:] > grey[:, :-1] + LIGHTER).ravel()
        if number % 64 == 63 or number + 1 == len(paths):
            progress("comparing pictures", number + 1, len(paths))
    return bits


def _close(
    means: Float[Tensor, "image dim"], hashes: UInt8[np.ndarray, "image bit"] | None, progress: Progress
) -> Iterator[tuple[Kind, int, int, float]]:
    units = torch.nn.functional.normalize(means, dim=-1)
    bits = None if hashes is None else torch.from_numpy(hashes).float()
    for rows in batches(len(units), BLOCK):
        cosines = units[rows.start : rows.stop] @ units[rows.start :].T
        near, alike = _kinds(cosines, bits, rows)
        for kind, chosen in ((Kind.near, near), (Kind.alike, alike & ~near)):
            later = chosen.triu(1)
            for first, second in later.nonzero().tolist():
                yield kind, rows.start + first, rows.start + second, float(cosines[first, second])
        progress("duplicates", rows.stop, len(units))


def _kinds(cosines: Tensor, bits: Tensor | None, rows: range) -> tuple[Tensor, Tensor]:
    if bits is None:
        near = cosines >= SAME_FEATURES
        return near, near
    some, rest = bits[rows.start : rows.stop], bits[rows.start :]
    counts = some.sum(1)[:, None], rest.sum(1)
    different = counts[0] + counts[1] - 2 * some @ rest.T
    fewer = torch.minimum(*counts)  # of a picture of one colour, none
    near = (different <= SAME_BITS) & (different < SAME_SHARE * fewer) | (cosines >= SAME_FEATURES)
    return near, (different <= ALIKE_BITS) & (different < fewer) & (cosines >= ALIKE_COSINE)


def duplicate_captions(data: AuditedData, words: CaptionWords) -> list[Duplicate]:
    """Captions that are word for word in two splits, those with most to say first."""
    by_text: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(data.texts):
        by_text[" ".join(text.lower().split())].append(number)
    found = []
    for numbers in by_text.values():
        first = numbers[0]
        split = data.split_of[data.image_of[first]]
        other = next((n for n in numbers if data.split_of[data.image_of[n]] != split), None)
        if other is not None:
            found.append(Duplicate(Kind.caption, first, other, True))
    found.sort(key=lambda one: (-sum(map(words.weight, words.forms[one.first])), one.first))
    return found[:MOST]
