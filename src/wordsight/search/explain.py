"""A text, a picture and their alignment -> the words found, their boxes, and the parts of the score."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.query.encoded import EncodedQuery, EncodedWord
from wordsight.search.query.stop_words import names_something
from wordsight.search.results import Box, Evidence, ExplainedWord, Explanation, Part, WordFound
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment
from wordsight.similarity.word_alignment import chosen_regions, found_by_word

WHOLE_PICTURE: Box = (0.0, 0.0, 1.0, 1.0)


def explain(
    encoded: EncodedQuery, scorer: QueryScorer, picture: EmbeddingSet, levels: Sequence[float]
) -> Explanation:
    """Explanation of the score of one picture; ``scorer.side`` must be "image"."""
    with torch.no_grad():
        alignments = scorer.align(picture)
    words = found_words(encoded, alignments, picture, levels)[0]
    shares = encoded.shares(alignments)[0].cpu()
    real = picture.mask[0].cpu()
    kind = evidence(encoded, picture, alignments)
    parts = tuple(Part(one.direction, float(one.score[0])) for one in alignments)
    return Explanation(
        kind=kind,
        sentence=describe_evidence(kind, alignments, picture, encoded),
        words=tuple(ExplainedWord(word, tuple(shares[real, n].tolist())) for n, word in enumerate(words)),
        regions=tuple(_box(box) for box in picture.boxes[0][real].cpu()) if picture.boxes is not None else (),
        parts=parts,
        score=sum(part.score for part in parts),
        text=encoded.sentence,
        unread=encoded.unread,
    )


class Reason(NamedTuple):
    """The words found in one hit, and the kind of that evidence."""

    evidence: Evidence
    words: tuple[WordFound, ...]


def reasons(
    encoded: EncodedQuery, alignments: Sequence[Alignment], pictures: EmbeddingSet, levels: Sequence[float]
) -> list[Reason]:
    """The reason for each picture."""
    words = found_words(encoded, alignments, pictures, levels)
    return [Reason(evidence(encoded, pictures[[row]], alignments), own) for row, own in enumerate(words)]


def found_words(
    encoded: EncodedQuery, alignments: Sequence[Alignment], pictures: EmbeddingSet, levels: Sequence[float]
) -> list[tuple[WordFound, ...]]:
    """The words of the text as found in each picture."""
    found = encoded.found(found_by_word(alignments)).float().tolist()
    boxes = _boxes_at(pictures, _places(encoded, alignments, pictures))
    judged = [encoded.whole or names_something(word.text) for word in encoded.words]
    return [
        tuple(map(_word, encoded.words, found[row], levels, boxes[row], judged))
        for row in range(len(pictures))
    ]


def _word(word: EncodedWord, found: float, level: float, box: Box | None, judged: bool) -> WordFound:
    level = level if judged else found  # function words cannot be missing
    level = level if word.known else 1.0
    is_found = word.known and found >= level
    return WordFound(word.text, found, level, is_found, box, judged, word.known, word.required, word.weight)


def _places(encoded: EncodedQuery, alignments: Sequence[Alignment], pictures: EmbeddingSet) -> Tensor:
    """The best region of each word (over all its pieces), -1 if none."""
    single = all(len(word.items) == 1 for word in encoded.words)
    if single:
        chosen = chosen_regions(alignments, pictures.mask)
        return chosen[:, [word.items[0] for word in encoded.words]].cpu()
    shares = encoded.shares(alignments).masked_fill(~pictures.mask[:, :, None], -1)
    best = shares.max(1)
    return best.indices.masked_fill(best.values <= 0, -1).cpu()


def _boxes_at(pictures: EmbeddingSet, places: Int[Tensor, "pair word"]) -> list[list[Box | None]]:
    """The boxes of these regions; None without a region or box."""
    if pictures.boxes is None:
        alone = pictures.lengths.eq(1).tolist()
        known = [[WHOLE_PICTURE if one else None] * places.shape[1] for one in alone]
    else:
        chosen = pictures.boxes.cpu()[torch.arange(len(places))[:, None], places.clamp(min=0)]
        known = [[(left, top, right, bottom) for left, top, right, bottom in row] for row in chosen.tolist()]
    return [
        [box if place >= 0 else None for box, place in zip(*row, strict=True)]
        for row in zip(known, places.tolist(), strict=True)
    ]


def _box(box: Float[Tensor, "4"]) -> Box:
    left, top, right, bottom = (float(side) for side in box.cpu())
    return left, top, right, bottom


def evidence(encoded: EncodedQuery, picture: EmbeddingSet, alignments: Sequence[Alignment] = ()) -> Evidence:
    """The kind of a word's box: a region, a cell of a grid, or the whole picture.

    "hint": a cell, from a model that was not trained to locate words.
    """
    count = int(picture.lengths[0])
    if encoded.whole or count == 1:
        return "whole"
    if any(one.hint for one in alignments):
        return "hint"
    return "cell" if _is_grid(picture) else "region"


def _is_grid(picture: EmbeddingSet) -> bool:
    """Whether the boxes tile the picture: all of one size, together as large as the picture."""
    if picture.boxes is None:
        return False
    boxes = picture.boxes[0][picture.mask[0]].cpu()
    sizes = boxes[:, 2:] - boxes[:, :2]
    alike = bool((sizes - sizes[0]).abs().max() < 1e-3)
    return alike and abs(float(sizes.prod(1).sum()) - 1) < 0.01


def describe_evidence(
    kind: Evidence, alignments: Sequence[Alignment], picture: EmbeddingSet, encoded: EncodedQuery
) -> str:
    """The kind of evidence, in one sentence."""
    attending = {one.direction for one in alignments}
    count = int(picture.lengths[0])
    if kind == "whole":
        both = "sentence and picture each as a whole" if encoded.whole else "each word with the whole picture"
        return (
            f"This model compares {both}: the score is no evidence of where anything is, and a box would "
            "claim more than it knows."
        )
    if kind == "hint":
        return (
            "The evidence is the whole picture against the whole sentence; the box of a word is the patch "
            "nearest to it, a hint: this model was never trained to say where a word is."
        )
    name = "cells of a grid" if kind == "cell" else "regions"
    if "word" in attending:
        sentence = (
            f"Each word looks for itself among {count} {name}; the box is the one that it looks at most"
        )
    else:
        sentence = (
            f"Each of {count} {name} looks for itself among the words; the box is the one that looks most "
            "at the word"
        )
    extra = [
        *(["regions look among words too"] if {"word", "region"} <= attending else []),
        *(["the agreement on labels is a part of the score"] if "label" in attending else []),
    ]
    return sentence + "".join(f"; {one}" for one in extra) + "."
