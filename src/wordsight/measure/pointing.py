"""A matcher and pictures with known objects -> does the region that a word picks lie on what it names?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wordsight.compare.evidence import chosen_regions
from wordsight.matcher import Matcher
from wordsight.measure.encoding import inference
from wordsight.pairs import PairSet, WordBox
from wordsight.read.tokenizer import Tokenizer, word_starts
from wordsight.sets import EmbeddingSet


@dataclass(frozen=True)
class Pointing:
    """How often words point at their objects; both shares in [0, 1]."""

    share: float  # of object words whose chosen region's centre lies in the object's box
    chance: float  # the same, if each word picked one of its picture's regions at random
    words: int

    def to_dict(self) -> dict[str, Any]:
        return {"share": self.share, "chance": self.chance, "words": self.words}

    def to_text(self) -> str:
        return (
            f"pointing accuracy {100 * self.share:.1f} % of {self.words} object words "
            f"(a region picked at random: {100 * self.chance:.1f} %)"
        )


def can_point(matcher: Matcher, pairs: PairSet) -> bool:
    """Whether objects of the pairs are known and the encoders keep regions and words apart: pool neither."""
    encoders = (matcher.image_encoder, matcher.text_encoder)
    return bool(pairs.objects) and all(getattr(encoder, "pool", None) is None for encoder in encoders)


def pointing_accuracy(matcher: Matcher, pairs: PairSet, batch_size: int = 64) -> Pointing:
    """Share of object words whose best region's centre lies in the object's box, next to chance.

    Raises ValueError when the pairs name no objects, or the encoders keep no boxes or no words apart.
    """
    if pairs.objects is None or not any(pairs.objects):
        raise ValueError(
            f"{pairs.source or 'these pairs'}: no word's object is known, so pointing cannot be measured; "
            "the generated world knows them (wordsight data world)"
        )
    asked = [text for text, objects in enumerate(pairs.objects) if objects]
    hits: list[Float[Tensor, " word"]] = []
    chances: list[Float[Tensor, " word"]] = []
    with inference(matcher):
        for start in range(0, len(asked), batch_size):
            batch = asked[start : start + batch_size]
            for hit, chance in _batch(matcher, pairs, batch):
                hits.append(hit)
                chances.append(chance)
    share, chance = torch.cat(hits).mean(), torch.cat(chances).mean()
    return Pointing(float(share), float(chance), sum(len(hit) for hit in hits))


def _batch(
    matcher: Matcher, pairs: PairSet, texts: Sequence[int]
) -> Iterator[tuple[Float[Tensor, " word"], Float[Tensor, " word"]]]:
    """For each text: whether each of its object words hits, and its chance to."""
    assert pairs.objects is not None
    rows, image_of = torch.unique(pairs.image_of[list(texts)], return_inverse=True)
    read = pairs.images.read(rows.tolist())
    images = matcher.encode_images(matcher.read_images(read))[image_of]
    if images.boxes is None:
        raise ValueError(
            "the image encoder returns regions without boxes, so nobody knows where a word points; "
            "extract the features again with boxes, or use a grid"
        )
    encoded = matcher.encode_texts([pairs.texts[text] for text in texts])
    regions = chosen_regions(matcher.similarity.align(images, encoded), images.mask)
    for row, text in enumerate(texts):
        words = _positions(matcher.tokenizer, pairs.texts[text], pairs.objects[text], encoded)
        inside = _inside(images.boxes[row], pairs.objects[text])
        picked = regions[row, words]
        valid = images.mask[row]
        hit = inside.gather(1, picked.clamp(min=0)[:, None]).squeeze(1) & (picked >= 0)
        yield hit.float(), (inside & valid).sum(1) / valid.sum()


def _positions(
    tokenizer: Tokenizer, text: str, objects: Sequence[WordBox], encoded: EmbeddingSet
) -> Int[Tensor, " word"]:
    """The token of each object word: of several wordpieces, the first."""
    starts = word_starts(tokenizer, text)
    for known in objects:
        if known.word >= len(starts):
            raise ValueError(
                f'"{text}" has {len(starts)} words, but an object is said to be at word {known.word} '
                "(from 0); the tokenizer splits it in another way than the data does"
            )
    positions = torch.tensor([starts[known.word] for known in objects], device=encoded.device)
    items = encoded.vectors.shape[1]
    if int(positions.max()) >= items:
        raise ValueError(
            f'"{text}": the word at token {int(positions.max())} has no vector of its own, the text encoder '
            f"returns {items} per text; pointing needs an encoder that does not pool the words"
        )
    return positions


def _inside(boxes: Float[Tensor, "region 4"], objects: Sequence[WordBox]) -> Bool[Tensor, "word region"]:
    """Whether each region's centre lies in each object's box."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    places = torch.tensor([known.box for known in objects], dtype=boxes.dtype, device=boxes.device)
    left, top, right, bottom = places.T[:, :, None].unbind()
    inside: Tensor = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return inside
