"""An encoded text and a picture -> maps of where the picture shows each word, and the whole text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wordsight.search.query.encoded import EncodedQuery
from wordsight.search.results import HeatMap, WordFound
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment
from wordsight.similarity.word_alignment import WHOLE_SHARE, region_votes

SIDE = 24  # rows and columns of a map of regions that are no grid
DIGITS = 2  # decimals of a map's values


class Heat(NamedTuple):
    """Maps of one picture; an empty one says that there is no place to show."""

    words: tuple[HeatMap, ...]
    text: HeatMap


def heat(
    encoded: EncodedQuery, picture: EmbeddingSet, alignments: Sequence[Alignment], words: Sequence[WordFound]
) -> Heat:
    """The maps of a text in ``picture``, a set of one.

    The regions that cover a place vote for it; 0 stands for the mean of a map and less, 1 for its largest
    value. The map of the text is that of its own vector where the model compares wholes; else the mean over
    the maps of the words that are found.
    """
    nothing = Heat(((),) * len(words), ())
    if picture.boxes is None or encoded.whole:
        return nothing
    boxes = picture.boxes[0].float().cpu().numpy()
    is_place = picture.mask[0].cpu().numpy() & _says_where(boxes)
    if not is_place.any():
        return nothing
    votes = region_votes(picture, encoded.set.to(picture.device), alignments)
    of_words = encoded.by_word(votes)[0].float().cpu().numpy()[is_place]
    covered = _covered(boxes[is_place])
    maps = [
        _scaled(covered @ of_words[:, n]) if word.judged and word.known else ()
        for n, word in enumerate(words)
    ]
    if any(one.hint or one.of_wholes for one in alignments):  # the first vector is that of the text
        return Heat(tuple(maps), _scaled(covered @ votes[0, :, 0].float().cpu().numpy()[is_place]))
    found = [np.array(one) for one, word in zip(maps, words, strict=True) if one and word.is_found]
    return Heat(tuple(maps), _scaled(np.mean(found, 0)) if found else ())


def _says_where(boxes: Float[np.ndarray, "region 4"]) -> Bool[np.ndarray, " region"]:
    """Whether each box has an extent, and is not the whole picture."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    says: np.ndarray = (sizes > 0).all(1) & (sizes.prod(1) <= WHOLE_SHARE)
    return says


def _covered(boxes: Float[np.ndarray, "region 4"]) -> Float[np.ndarray, "row column region"]:
    """1 where a box covers the centre of a place; the places are the cells, if the boxes are a grid."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    columns, rows = np.round(1 / sizes.mean(0)).astype(int)
    if np.abs(sizes - sizes[0]).max() > 1e-3 or rows * columns != len(boxes):
        rows = columns = SIDE
    y = ((np.arange(rows) + 0.5) / rows)[:, None, None]
    x = ((np.arange(columns) + 0.5) / columns)[None, :, None]
    left, top, right, bottom = boxes.T
    covered: np.ndarray = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return covered.astype(np.float32)


def _scaled(values: Float[np.ndarray, "row column"]) -> HeatMap:
    """Values from 0, at the mean and below, to 1; nothing if all are equal."""
    above = values - values.mean()
    most = float(above.max())
    if not most > 1e-6 * float(np.abs(values).max()):
        return ()
    return tuple(map(tuple, np.round(np.clip(above / most, 0, 1), DIGITS).tolist()))
