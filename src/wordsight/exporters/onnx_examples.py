"""A matcher -> batches that show its encoders what they read: for tracing, and others for checking."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from wordsight.errors import InputError
from wordsight.exporters.onnx_graphs import Example
from wordsight.matcher import Matcher
from wordsight.sets import Pixels, Regions, Tokens

SENTENCES = (
    "a brown dog runs on the green grass near a man in a red shirt",
    "two people ride bicycles along the beach",
    "a child in a blue hat jumps",
    "children play football",
    "a dog",
)
REGIONS = 7  # of an example picture whose reader cannot read one


def text_examples(matcher: Matcher) -> list[Example]:
    """Batches of texts, longest first; the first one is for tracing."""
    readable = [text for text in SENTENCES if _can_read(matcher, text)] or ["a dog"]
    batches = [readable[:3], readable, readable[-1:]]
    return [_of_tokens(matcher.tokenizer(texts)) for texts in batches]


def _can_read(matcher: Matcher, text: str) -> bool:
    try:
        return len(matcher.encode_texts([text])) == 1
    except ValueError:
        return False


def _of_tokens(tokens: Tokens) -> Example:
    longest_first = tokens[tokens.lengths.argsort(descending=True, stable=True)]
    return Example(Tokens, {"ids": longest_first.ids, "mask": longest_first.mask})


def image_examples(matcher: Matcher) -> list[Example]:
    """Batches of pictures; the first one is for tracing."""
    chance = np.random.default_rng(0)
    reader: Any = matcher.reader
    if not hasattr(reader, "prepare"):
        return [_regions(matcher, chance, count) for count in (3, 5, 1)]
    return [_read(reader, [_picture(chance) for _ in range(count)]) for count in (3, 5, 1)]


def _picture(chance: np.random.Generator) -> np.ndarray:
    """Soft spots of colour: nearer to a photograph than noise of single pixels."""
    spots = chance.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return spots.repeat(40, 0).repeat(40, 1)


def _read(reader: Any, pictures: Sequence[np.ndarray]) -> Example:
    read = reader(pictures)
    if isinstance(read, Pixels) and read.sizes is not None:
        raise InputError(
            "a model that reads each picture in its own shape (SigLIP 2 NaFlex) cannot be written as ONNX",
            "export a model of a fixed size",
        )
    if isinstance(read, Pixels):
        return Example(Pixels, {"values": read.values})
    return _of_regions(read)


def _regions(matcher: Matcher, chance: np.random.Generator, count: int) -> Example:
    """Regions with features of random numbers, some of them padding."""
    size = matcher.image_encoder.options.feature_dim
    features = torch.from_numpy(chance.random((count, REGIONS, size), dtype=np.float32))
    corners = torch.from_numpy(chance.random((count, REGIONS, 2), dtype=np.float32)) / 2
    boxes = torch.cat([corners, corners + 0.5], 2)
    mask = torch.arange(REGIONS) < REGIONS - torch.arange(count)[:, None].clamp(max=REGIONS - 1)
    zeroed = features * mask[..., None]
    return _of_regions(Regions(zeroed, boxes * mask[..., None], mask))


def _of_regions(regions: Regions) -> Example:
    tensors = {"features": regions.features, "mask": regions.mask}
    return Example(Regions, tensors if regions.boxes is None else tensors | {"boxes": regions.boxes})
