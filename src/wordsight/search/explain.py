"""A text, a picture and their alignment -> where each word looks, and what adds up to the score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from jaxtyping import Float, Int

from wordsight.presence.model import WEAK_PROBABILITY
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.heat import heat
from wordsight.search.query.encoded import EncodedQuery, EncodedWord
from wordsight.search.query.stop_words import names_something
from wordsight.search.results import Box, Evidence, ExplainedWord, Explanation, Part, WordFound
from wordsight.sets import EmbeddingSet
from wordsight.similarity.base import Alignment
from wordsight.similarity.word_alignment import found_by_word, pointed_regions
from wordsight.tensors import Tensor, torch


@dataclass(frozen=True)
class Chances:
    """How likely each picture shows each word, and from which probability on a word is found."""

    by_word: Sequence[Sequence[float | None]]  # for each picture
    least: float


WHOLE_PICTURE: Box = (0.0, 0.0, 1.0, 1.0)


def explain(
    encoded: EncodedQuery,
    scorer: QueryScorer,
    picture: EmbeddingSet,
    levels: Sequence[float],
    chances: Chances | None = None,
    phrases: Sequence[str] = (),
) -> Explanation:
    """``picture`` is a set of one; ``scorer.side`` must be "image"; ``phrases`` are the matcher's."""
    with torch.no_grad():
        alignments = scorer.align(picture)
    words = found_words(encoded, alignments, picture, levels, chances, phrases)[0]
    shares = encoded.shares(alignments)[0].cpu()
    real = picture.mask[0].cpu()
    kind = evidence(encoded, picture, alignments)
    with torch.no_grad():
        maps = heat(encoded, picture, alignments, words)
    parts = tuple(Part(one.direction, float(one.score[0])) for one in alignments)
    return Explanation(
        kind=kind,
        sentence=describe_evidence(kind, alignments, picture, encoded),
        words=tuple(
            ExplainedWord(word, tuple(shares[real, n].tolist()), maps.words[n])
            for n, word in enumerate(words)
        ),
        heat=maps.text,
        regions=tuple(_box(box) for box in picture.boxes[0][real].cpu()) if picture.boxes is not None else (),
        phrases=_names(picture.labels[0].cpu()[real], phrases) if picture.labels is not None else (),
        parts=parts,
        score=sum(part.score for part in parts),
        text=encoded.sentence,
        unread=encoded.unread,
    )


class Reason(NamedTuple):
    """Why one picture has its place among the hits."""

    evidence: Evidence
    words: tuple[WordFound, ...]


def reasons(
    encoded: EncodedQuery,
    alignments: Sequence[Alignment],
    pictures: EmbeddingSet,
    levels: Sequence[float],
    chances: Chances | None = None,
    phrases: Sequence[str] = (),
) -> list[Reason]:
    """For each picture, what each word finds, and what evidence that is."""
    words = found_words(encoded, alignments, pictures, levels, chances, phrases)
    return [Reason(evidence(encoded, pictures[[row]], alignments), own) for row, own in enumerate(words)]


def found_words(
    encoded: EncodedQuery,
    alignments: Sequence[Alignment],
    pictures: EmbeddingSet,
    levels: Sequence[float],
    chances: Chances | None = None,
    phrases: Sequence[str] = (),
) -> list[tuple[WordFound, ...]]:
    """For each picture, what each word finds; ``phrases``: of the labels of its regions."""
    found = encoded.found(found_by_word(alignments)).float().tolist()
    places = _places(encoded, alignments, pictures)
    boxes, named = _boxes_at(pictures, places), _phrases_at(pictures, places, phrases)
    judged = [encoded.whole or names_something(word.text) for word in encoded.words]
    words = [
        tuple(map(_word, encoded.words, found[row], levels, zip(boxes[row], named[row], strict=True), judged))
        for row in range(len(pictures))
    ]
    return (
        words
        if chances is None
        else [_by_chances(*row, chances.least) for row in zip(words, chances.by_word, strict=True)]
    )


def _word(
    word: EncodedWord, found: float, level: float, place: tuple[Box | None, str], judged: bool
) -> WordFound:
    box, phrase = place
    level = level if judged else found  # what cannot be missing needs no more than it has
    level = level if word.known else 1.0
    is_found = word.known and found >= level
    return WordFound(
        word.text, found, level, is_found, box, judged, word.known, word.required, word.weight, phrase=phrase
    )


def _by_chances(
    words: Sequence[WordFound], chances: Sequence[float | None], least: float
) -> tuple[WordFound, ...]:
    """Words judged by their probabilities."""
    weak = min(WEAK_PROBABILITY, least)
    return tuple(
        word
        if not (word.judged and word.known) or chance is None
        else replace(word, probability=chance, is_found=chance >= least, is_weak=weak <= chance < least)
        for word, chance in zip(words, chances, strict=True)
    )


def _places(encoded: EncodedQuery, alignments: Sequence[Alignment], pictures: EmbeddingSet) -> Tensor:
    """The region that each word points at, -1 if none; several pieces at the one they look at together."""
    single = all(len(word.items) == 1 for word in encoded.words)
    if single:
        repeated = encoded.set.to(pictures.device)[[0] * len(pictures)]
        chosen = pointed_regions(pictures, repeated, alignments)
        return chosen[:, [word.items[0] for word in encoded.words]].cpu()
    shares = encoded.shares(alignments).masked_fill(~pictures.mask[:, :, None], -1)
    best = shares.max(1)
    return best.indices.masked_fill(best.values <= 0, -1).cpu()


def _boxes_at(pictures: EmbeddingSet, places: Int[Tensor, "pair word"]) -> list[list[Box | None]]:
    """The boxes of these regions; None where there is no region, or its box is unknown or of no extent."""
    if pictures.boxes is None:
        alone = pictures.lengths.eq(1).tolist()
        known = [[WHOLE_PICTURE if one else None] * places.shape[1] for one in alone]
    else:
        chosen = pictures.boxes.cpu()[torch.arange(len(places))[:, None], places.clamp(min=0)]
        known = [[_extended(box) for box in row] for row in chosen.tolist()]
    return [
        [box if place >= 0 else None for box, place in zip(*row, strict=True)]
        for row in zip(known, places.tolist(), strict=True)
    ]


def _extended(box: Sequence[float]) -> Box | None:
    left, top, right, bottom = box
    return (left, top, right, bottom) if right > left and bottom > top else None


def _phrases_at(
    pictures: EmbeddingSet, places: Int[Tensor, "pair word"], phrases: Sequence[str]
) -> list[tuple[str, ...]]:
    """The phrases of a detector that found these regions; "" where none did."""
    if pictures.labels is None:
        return [("",) * places.shape[1]] * len(places)
    labels = pictures.labels.cpu()[torch.arange(len(places))[:, None], places.clamp(min=0)]
    return [_names(row, phrases) for row in labels.masked_fill(places < 0, 0)]


def _names(labels: Int[Tensor, " item"], phrases: Sequence[str]) -> tuple[str, ...]:
    return tuple(phrases[label - 1] if 0 < label <= len(phrases) else "" for label in labels.tolist())


def _box(box: Float[Tensor, "4"]) -> Box:
    left, top, right, bottom = (float(side) for side in box.cpu())
    return left, top, right, bottom


def evidence(encoded: EncodedQuery, picture: EmbeddingSet, alignments: Sequence[Alignment] = ()) -> Evidence:
    """Whether a word points at a region of its own, at a cell of a grid, or at the picture as a whole.

    "hint": at a cell, by a model that was never trained to point.
    """
    count = int(picture.lengths[0])
    if encoded.whole or count == 1:
        return "whole"
    if any(one.hint for one in alignments):
        return "hint"
    return "cell" if _is_grid(picture, any(one.of_wholes for one in alignments)) else "region"


def _is_grid(picture: EmbeddingSet, after_whole: bool) -> bool:
    """Boxes that tile the picture: of one size, no two alike, together as large as it.

    ``after_whole``: the first one is the whole picture, and no place.
    """
    if picture.boxes is None:
        return False
    boxes = picture.boxes[0][picture.mask[0]].cpu()[int(after_whole) :]
    sizes = boxes[:, 2:] - boxes[:, :2]
    sizes = sizes[sizes.amin(1) > 0]  # others are of no place in the picture
    alike = len(sizes) > 0 and bool((sizes - sizes[0]).abs().max() < 1e-3)
    return alike and abs(float(sizes.prod(1).sum()) - 1) < 0.01


def _place_count(picture: EmbeddingSet) -> int:
    """How many vectors are of a place in the picture; those of ColPali's prompt have boxes without a size."""
    if picture.boxes is None:
        return int(picture.lengths[0])
    boxes = picture.boxes[0][picture.mask[0]]
    return int(((boxes[:, 2:] - boxes[:, :2]).amin(1) > 0).sum())


def describe_evidence(
    kind: Evidence, alignments: Sequence[Alignment], picture: EmbeddingSet, encoded: EncodedQuery
) -> str:
    """The kind of evidence, in one sentence."""
    attending = {one.direction for one in alignments}
    count = _place_count(picture)
    if kind == "whole":
        both = "the sentence with the whole picture" if encoded.whole else "each word with the whole picture"
        return f"This model compares {both}: it cannot say where anything is."
    if kind == "hint":
        return (
            "The score compares the whole picture with the whole sentence. The box of a word is only a hint: "
            "this model was never trained to say where a word is."
        )
    name = "cells of a grid on the picture" if kind == "cell" else "regions of the picture"
    if any(one.of_wholes for one in alignments):
        return (
            "The score compares the whole picture with the whole sentence. The box of a word is the one of "
            f"{count - 1} {name} that fits it best; this model was trained to say where a word is."
        )
    if "word" in attending:
        sentence = f"Each word was compared with {count} {name}; its box is the one that fits it best"
    else:
        sentence = (
            f"Each of {count} {name} was compared with the words; a word's box is the one that it fits best"
        )
    extra = [
        *(["each region was compared with the words, too"] if {"word", "region"} <= attending else []),
        *(["the labels on which both agree count in the score"] if "label" in attending else []),
    ]
    return sentence + "".join(f"; {one}" for one in extra) + "."
