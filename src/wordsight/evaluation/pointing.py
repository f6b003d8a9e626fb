"""A matcher and pictures with known objects -> does the region that a word points at lie on what it names?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Bool, Float

from wordsight.errors import InputError
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet, WordBox
from wordsight.read.text.align_words import counterparts
from wordsight.read.text.base import Tokenizer, spelled_words
from wordsight.read.text.word_rules import split_words
from wordsight.sets import EmbeddingSet
from wordsight.similarity.word_alignment import pointed_regions
from wordsight.tensors import Tensor, torch


@dataclass(frozen=True)
class Pointing:
    """How often words point at their objects; the shares in [0, 1]."""

    share: float  # of object words that point at a region whose centre lies in one of the object's boxes
    chance: float  # the same, if each word picked one of its picture's regions at random
    centre: float  # the same, if each word picked the centre of the picture
    words: int
    unplaced: int = 0  # words with boxes that the texts, or what the model reads of them, do not have
    unknown: int = 0  # pictures of which no object is known

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        found = (
            f"pointing accuracy {100 * self.share:.1f} % of {self.words} object words "
            f"(a region picked at random: {100 * self.chance:.1f} %, "
            f"the picture's centre: {100 * self.centre:.1f} %)"
        )
        left = {
            "words with boxes that are not in their texts": self.unplaced,
            "pictures without known boxes": self.unknown,
        }
        counts = ", ".join(f"{name} ({count})" for name, count in left.items() if count)
        return f"{found}\nleft out: {counts}" if counts else found


def can_point(matcher: Matcher, pairs: PairSet) -> bool:
    """Whether objects of the pairs are known and the encoders keep regions and words apart: pool neither."""
    encoders = (matcher.image_encoder, matcher.text_encoder)
    return bool(pairs.objects) and all(getattr(encoder, "pool", None) is None for encoder in encoders)


def pointing_accuracy(matcher: Matcher, pairs: PairSet, batch_size: int = 64) -> Pointing:
    """Share of object words that point at a region whose centre lies in a box of it, next to two baselines.

    That is the pointing game (Zhang et al., ECCV 2016) with regions instead of pixels and without its margin.
    Raises ValueError when the pairs name no objects, or none of these in their texts, or the encoders keep no
    boxes or no words apart.
    """
    if pairs.objects is None or not any(pairs.objects):
        raise InputError(
            f"{pairs.source or 'these pairs'}: no word's object is known, so pointing cannot be measured; "
            "the generated world knows them (wordsight data world), or give known boxes (evaluate --objects)"
        )
    texts = [text for text, objects in enumerate(pairs.objects) if objects]
    found: list[Bool[Tensor, "word 2"]] = []
    chances: list[Float[Tensor, " word"]] = []
    with inference(matcher):
        for start in range(0, len(texts), batch_size):
            for points, odds in _batch(matcher, pairs, texts[start : start + batch_size]):
                found.append(points)
                chances.append(odds)
    placed, words = sum(len(pairs.objects[text]) for text in texts), sum(map(len, found))
    if not words:
        raise InputError(
            f"{pairs.source or 'these pairs'}: none of the {placed} words with known boxes is in its text; "
            "are the boxes for other sentences?"
        )
    share, centre = torch.cat(found).float().mean(0).tolist()
    seen = len(set(pairs.image_of[texts].tolist()))
    chance = float(torch.cat(chances).mean())
    return Pointing(share, chance, centre, words, placed - words, len(pairs.images) - seen)


def _batch(
    matcher: Matcher, pairs: PairSet, texts: Sequence[int]
) -> Iterator[tuple[Bool[Tensor, "word 2"], Float[Tensor, " word"]]]:
    """For each text: whether each of its object words, and the picture's centre, hits; and the chance to."""
    assert pairs.objects is not None
    rows, image_of = torch.unique(pairs.image_of[list(texts)], return_inverse=True)
    read = pairs.images.read(rows.tolist())
    images = matcher.encode_images(matcher.read_images(read))[image_of]
    if images.boxes is None:
        raise InputError(
            "the image encoder returns regions without boxes, so nobody knows where a word points; "
            "extract the features again with boxes, or use a grid"
        )
    encoded = matcher.encode_texts([pairs.texts[text] for text in texts])
    regions = pointed_regions(images, encoded, matcher.similarity.align(images, encoded))
    for row, text in enumerate(texts):
        placed = _placed(matcher.tokenizer, pairs.texts[text], pairs.objects[text], encoded)
        if placed:
            words, objects = zip(*placed, strict=True)
            boxes, valid = images.boxes[row], images.mask[row]
            points = torch.cat([_centres(boxes), torch.full_like(boxes[:1, :2], 0.5)])
            inside, central = torch.split(_inside(points, objects), [len(boxes), 1], 1)
            picked = regions[row, list(words)]
            hit = inside.gather(1, picked.clamp(min=0)[:, None]).squeeze(1) & (picked >= 0)
            yield torch.stack([hit, central.squeeze(1)], 1), (inside & valid).sum(1) / valid.sum()


def _placed(
    tokenizer: Tokenizer, text: str, objects: Sequence[WordBox], encoded: EmbeddingSet
) -> list[tuple[int, WordBox]]:
    """The object words that the model reads, and the token of each: of several wordpieces, the first."""
    words, read = split_words(text), spelled_words(tokenizer, text)
    within = counterparts(words, [spelling for _, spelling in read])
    placed: list[tuple[int, WordBox]] = []
    for known in objects:
        if known.word is not None and known.word >= len(words):
            raise InputError(
                f'"{text}" has {len(words)} words, but an object is said to be at word {known.word} '
                "(from 0, punctuation marks are words)"
            )
        place = None if known.word is None else within[known.word]
        if place is not None:
            placed.append((read[place][0], known))
    last, items = max((token for token, _ in placed), default=0), encoded.vectors.shape[1]
    if last >= items:
        raise InputError(
            f'"{text}": the word at token {last} has no vector of its own, the text encoder '
            f"returns {items} per text; pointing needs an encoder that does not pool the words"
        )
    return placed


def _centres(boxes: Float[Tensor, "region 4"]) -> Float[Tensor, "region 2"]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _inside(points: Float[Tensor, "point 2"], objects: Sequence[WordBox]) -> Bool[Tensor, "word point"]:
    """Whether each point lies in any of each object's boxes."""
    boxes = points.new_tensor([box for known in objects for box in (known.box, *known.others)])[:, None]
    within = ((boxes[..., :2] <= points) & (points <= boxes[..., 2:])).all(2)
    counts = [1 + len(known.others) for known in objects]
    return (
        within
        if len(within) == len(counts)
        else torch.stack([some.any(0) for some in torch.split(within, counts)])
    )
