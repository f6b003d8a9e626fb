"""A matcher and some texts of a test set -> Examples: where each word looks, and how the picture ranked."""

from collections.abc import Sequence
from dataclasses import dataclass

from wordsight.errors import InputError
from wordsight.evaluation.encode import encode_images
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet, Picture
from wordsight.read.text.base import word_starts
from wordsight.report.overlay import HeatMap, WordMatch
from wordsight.sets import EmbeddingSet
from wordsight.similarity.word_alignment import found_by_word, pointed_regions
from wordsight.tensors import torch

COMPARED = 100  # other pictures that say what a word finds where it does not belong
ALIKE = 1e-5  # cosines closer than this are the same
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a picture of one vector


@dataclass(frozen=True, eq=False)
class Example:
    """One text, its own picture, and what each word found there."""

    picture: Picture
    text: str
    words: Sequence[WordMatch]
    score: float
    rank: int  # of its picture among all pictures, from 1; ties count against it; 0: not ranked
    pictures: int = 0  # how many it was ranked among
    name: str = ""  # of the picture
    relevant: bool | None = None  # of a search's hit: above its line; None: the text's own picture
    heat: HeatMap = ()  # where the picture shows the text; empty where that is unknown


def make_examples(
    matcher: Matcher, pairs: PairSet, rows: Sequence[int], pictures: Sequence[Picture] | None = None
) -> list[Example]:
    """Examples of the texts in ``rows``, ranked among all images of ``pairs``.

    A word counts as not found when more than half of the other pictures (the first 100 are asked) answer
    it at least as well as its own does. ``pictures``, one per image, are what to show where ``pairs`` holds
    features.
    """
    with inference(matcher):
        images = encode_images(matcher, pairs)
        return [_example(matcher, pairs, images, row, pictures) for row in rows]


def _example(
    matcher: Matcher,
    pairs: PairSet,
    images: EmbeddingSet,
    row: int,
    pictures: Sequence[Picture] | None,
) -> Example:
    text, image = pairs.texts[row], int(pairs.image_of[row])
    encoded = matcher.encode_texts([text])
    scores = matcher.similarity(images, encoded)[:, 0]
    wrong = (pairs.identities != pairs.identities[image]).to(scores.device)
    return Example(
        picture=pictures[image] if pictures is not None else _picture(pairs, image),
        text=text,
        words=_words(matcher, text, encoded, images, image),
        score=float(scores[image]),
        rank=1 + int((wrong & (scores >= scores[image])).sum()),
        pictures=len(images),
        name=pairs.names[image],
    )


def _picture(pairs: PairSet, image: int) -> Picture:
    read = pairs.images.read([image])
    if not isinstance(read, list):
        raise InputError(
            f"{pairs.source or 'these pairs'} hold features and no pictures to show; "
            "pass pictures=, one per image"
        )
    return read[0]


def _words(
    matcher: Matcher, text: str, encoded: EmbeddingSet, images: EmbeddingSet, image: int
) -> list[WordMatch]:
    """One entry per token that is not a special; a text of one vector is one entry."""
    own = images[[image]]
    alignments = matcher.similarity.align(own, encoded)
    regions = pointed_regions(own, encoded, alignments)[0].tolist()
    found = found_by_word(alignments)[0].cpu()
    others = images[[other for other in range(len(images)) if other != image][:COMPARED]]
    missing = torch.zeros(len(found), dtype=torch.bool)
    if len(others):
        texts = encoded[[0] * len(others)]
        elsewhere = found_by_word(matcher.similarity.align(others, texts)).cpu()
        missing = (elsewhere >= found - ALIKE).float().mean(0) > 0.5
    return [
        WordMatch(
            label,
            float(found[token]),
            None if missing[token] or regions[token] < 0 else _box(own, regions[token]),
        )
        for token, label in _labels(matcher, text, len(found))
    ]


def _labels(matcher: Matcher, text: str, items: int) -> list[tuple[int, str]]:
    """The items of the text to show and their labels: its words, or all of it where it is one vector."""
    if items == 1:
        return [(0, text)]
    labels = matcher.tokenizer.labels(text)
    pieces = sum(len(word) for word in matcher.tokenizer.words(text))
    start = word_starts(matcher.tokenizer, text)[0]
    return [(token, labels[token]) for token in range(start, start + pieces)]


def _box(images: EmbeddingSet, region: int) -> tuple[float, float, float, float] | None:
    if images.boxes is None:
        return WHOLE if images.mask.shape[1] == 1 else None
    left, top, right, bottom = images.boxes[0, region].tolist()
    return left, top, right, bottom
