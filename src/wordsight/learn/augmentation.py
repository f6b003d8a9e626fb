"""Regions or one text in, fewer of them out; pictures cut and mirrored: for training only.

Source: VSE-infinity's augmentation, with CHAN's rates. All chance comes from the generator that the
caller passes, so that a training run can be repeated and resumed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wordsight.errors import InputError
from wordsight.read.pictures.crops import TRIES, AreaCut, Cut, SideCut
from wordsight.read.text.base import Tokenizer
from wordsight.sets import Pixels, Regions

Random = torch.Generator | np.random.Generator
WordIds = Sequence[Sequence[int]]  # the ids of each word of one text, specials left out


class DropRegions:
    """Drop each region with probability ``rate``; an image always keeps one of those it had."""

    def __init__(self, rate: float = 0.2) -> None:
        self.rate = _checked(rate)

    def __call__(self, regions: Regions, random: Random) -> Regions:
        """The kept regions in their order, moved to the front; padding is zero and no wider than needed."""
        draws = _uniform(random, *regions.mask.shape).to(regions.mask.device)
        return compact(regions, remaining_regions(draws, regions.mask, self.rate))


class DropWords:
    """Touch each word with probability ``rate``: mask half of these, delete 40 %, change 10 % to any other.

    Works on what ``tokenizer.words`` returns, so that a text is tokenized once, not in every epoch. At least
    one word stays: where all are deleted, the one with the largest draw is kept as it was.

    Raises ValueError for a tokenizer without a mask token.
    """

    def __init__(self, rate: float, tokenizer: Tokenizer) -> None:
        if tokenizer.mask_id is None:
            raise InputError(
                "dropping words needs a mask token, and the tokenizer has none; "
                "a word tokenizer gets one by mask = true"
            )
        self.rate = _checked(rate)
        self.tokenizer = tokenizer
        self.mask_id = tokenizer.mask_id

    def __call__(self, words: WordIds, random: Random) -> list[list[int]]:
        """The words that remain, for ``tokenizer.finish``."""
        draws, count = _uniform(random, len(words)).tolist(), len(self.tokenizer)
        remaining = drop_words(words, draws, lambda: _below(random, count), self.mask_id, self.rate)
        return remaining or [list(words[draws.index(max(draws))])]

    def ids(self, words: WordIds, random: Random, specials: bool = False) -> list[int]:
        """The finished ids; with ``specials``, ``<start>`` and ``<end>`` take part too (CHAN, BiGRU)."""
        if not specials:
            return self.tokenizer.finish(self(words, random))
        around = self.tokenizer.finish([])  # both, or what the tokenizer sets of them
        together = [word for word in (around[:1], *words, around[1:]) if word]
        return [id for word in self(together, random) for id in word]


class ChangePictures:
    """Show a part of each picture, enlarged to the whole; mirror it left to right with probability ``flip``.

    ``crop``   the least share of both sides that the part has, in the shape of the whole; it lies anywhere
    ``area``   instead, the least share of the area, in a shape from 3:4 to 4:3 (torchvision's
               RandomResizedCrop)

    With 1 for both, pictures stay whole. VSE-infinity: flip 0.5, crop 0.6; VSE++: 0.5, area 0.08; CMPL: 0.5.
    """

    def __init__(self, flip: float = 0.0, crop: float = 1.0, area: float = 1.0) -> None:
        if not 0 <= flip <= 1:
            raise InputError(f"flip is {flip}; it is the share of pictures to mirror, from 0 to 1")
        if not 0 < crop <= 1:
            raise InputError(f"crop is {crop}; it is the smallest share of each side, above 0 and at most 1")
        if not 0 < area <= 1:
            raise InputError(f"area is {area}; it is the smallest share of the area, above 0 and at most 1")
        if crop < 1 and area < 1:
            raise InputError(
                f"crop is {crop} and area is {area}; parts are cut by one of them, leave one at 1"
            )
        self.flip = flip
        self.crop = crop
        self.area = area

    def cuts(self, pictures: int, random: Random) -> list[Cut] | None:
        """The part to read of each of so many pictures; None = all of it."""
        if self.area < 1:
            tries = _uniform(random, pictures, TRIES, 4).tolist()
            return [AreaCut(self.area, draws) for draws in tries]
        if self.crop < 1:
            draws = _uniform(random, pictures, 3).tolist()
            return [SideCut(self.crop + share * (1 - self.crop), *place) for share, *place in draws]
        return None

    def chosen(self, pictures: int, random: Random) -> Bool[Tensor, " picture"]:
        """Draw for each of so many pictures whether it is mirrored."""
        return _uniform(random, pictures) < self.flip

    def mirrored(self, pixels: Pixels, random: Random) -> Pixels:
        chosen = self.chosen(len(pixels), random).to(pixels.device)
        turned = pixels.values.flip(-1)
        if pixels.sizes is not None:  # back to the left, where each picture begins
            width = pixels.values.shape[3]
            place = torch.arange(width, device=pixels.device) + width - pixels.sizes[:, 1:]
            turned = turned.gather(3, (place % width)[:, None, None].expand_as(turned))
        return replace(pixels, values=torch.where(chosen[:, None, None, None], turned, pixels.values))


def drop_words(
    words: WordIds,
    draws: Sequence[float],
    random_id: Callable[[], int],
    mask_id: int,
    rate: float = 0.2,
) -> list[list[int]]:
    """Drop, mask or replace each word by its draw from [0, 1); may leave nothing.

    Below 0.5 ``rate`` every piece becomes the mask, below 0.6 ``rate`` an id of its own from ``random_id``,
    below ``rate`` the word is deleted (CHAN, VSE-infinity).
    """
    remaining: list[list[int]] = []
    for word, draw in zip(words, draws, strict=True):
        if draw >= rate:
            remaining.append(list(word))
        elif draw / rate < 0.5:
            remaining.append([mask_id] * len(word))
        elif draw / rate < 0.6:
            remaining.append([random_id() for _ in word])
    return remaining


def remaining_regions(
    draws: Float[Tensor, "image region"], mask: Bool[Tensor, "image region"], rate: float
) -> Bool[Tensor, "image region"]:
    """A region is kept if its draw exceeds ``rate``; where none does, the one with the largest draw is."""
    remaining = (draws > rate) & mask
    largest = draws.masked_fill(~mask, -1).argmax(1, keepdim=True)
    rescued = torch.zeros_like(mask).scatter(1, largest, ~remaining.any(1, keepdim=True))
    return remaining | (rescued & mask)


def compact(regions: Regions, remaining: Bool[Tensor, "image region"]) -> Regions:
    """Only the kept regions, in their order, padded with zeros to the largest number kept."""
    counts = remaining.sum(1)
    width = int(counts.max()) if len(counts) else 0
    front = torch.argsort((~remaining).int(), dim=1, stable=True)[:, :width]
    mask = torch.arange(width, device=remaining.device) < counts[:, None]
    images = torch.arange(len(remaining), device=remaining.device)[:, None]

    def moved(values: Tensor) -> Tensor:
        return values[images, front].masked_fill_(~mask[..., None], 0)

    boxes = None if regions.boxes is None else moved(regions.boxes)
    labels = None if regions.labels is None else regions.labels[images, front] * mask
    return Regions(moved(regions.features), boxes, mask, labels)


def _checked(rate: float) -> float:
    if not 0 <= rate < 1:
        raise InputError(f"rate is {rate}; it is the share to drop, at least 0 and below 1")
    return rate


def _uniform(random: Random, *shape: int) -> Tensor:
    """Draws from [0, 1)."""
    if isinstance(random, torch.Generator):
        return torch.rand(shape, generator=random, device=random.device)
    return torch.from_numpy(random.random(shape))


def _below(random: Random, end: int) -> int:
    """A whole number from 0 to ``end`` - 1."""
    if isinstance(random, torch.Generator):
        return int(torch.randint(end, (1,), generator=random, device=random.device))
    return int(random.integers(end))
