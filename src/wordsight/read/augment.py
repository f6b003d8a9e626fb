"""Regions or one text in, fewer of them out; pictures in, mirrored and cut ones out: for training only.

Source: VSE-infinity's augmentation, with CHAN's rates. All chance comes from the generator that the
caller passes, so that a training run can be repeated and resumed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from wordsight.read.tokenizer import Tokenizer
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
        return compact(regions, kept_regions(draws, regions.mask, self.rate))


class DropWords:
    """Touch each word with probability ``rate``: mask half of these, delete 40 %, change 10 % to any other.

    Works on what ``tokenizer.words`` returns, so that a text is tokenized once, not in every epoch. At least
    one word stays: where all are deleted, the one with the largest draw is kept as it was.

    Raises ValueError for a tokenizer without a mask token.
    """

    def __init__(self, rate: float, tokenizer: Tokenizer) -> None:
        if tokenizer.mask_id is None:
            raise ValueError(
                "dropping words needs a mask token, and the tokenizer has none; "
                "a word tokenizer gets one by mask = true"
            )
        self.rate = _checked(rate)
        self.tokenizer = tokenizer
        self.mask_id = tokenizer.mask_id

    def __call__(self, words: WordIds, random: Random) -> list[list[int]]:
        """The words that remain, for ``tokenizer.finish``."""
        draws, count = _uniform(random, len(words)).tolist(), len(self.tokenizer)
        kept = drop_words(words, draws, lambda: _below(random, count), self.mask_id, self.rate)
        return kept or [list(words[draws.index(max(draws))])]

    def ids(self, words: WordIds, random: Random, specials: bool = False) -> list[int]:
        """The finished ids; with ``specials``, ``<start>`` and ``<end>`` take part too (CHAN, BiGRU)."""
        if not specials:
            return self.tokenizer.finish(self(words, random))
        around = self.tokenizer.finish([])  # both, or what the tokenizer sets of them
        together = [word for word in (around[:1], *words, around[1:]) if word]
        return [id for word in self(together, random) for id in word]


class ChangePictures:
    """Mirror a picture left to right with probability ``flip``; cut out a part and enlarge it to the whole.

    The part has a share of both sides that is drawn from ``crop`` to 1, and lies anywhere; with ``crop`` = 1
    pictures stay whole. VSE-infinity: 0.5 and 0.6; CMPL: 0.5 and 1.
    """

    def __init__(self, flip: float = 0.0, crop: float = 1.0) -> None:
        if not 0 <= flip <= 1:
            raise ValueError(f"flip is {flip}; it is the share of pictures to mirror, from 0 to 1")
        if not 0 < crop <= 1:
            raise ValueError(f"crop is {crop}; it is the smallest share of each side, above 0 and at most 1")
        self.flip = flip
        self.crop = crop

    def __call__(self, pixels: Pixels, random: Random) -> Pixels:
        draws = _uniform(random, len(pixels), 4)
        changed = [self._changed(*pair) for pair in zip(pixels.values, draws.tolist(), strict=True)]
        return Pixels(torch.stack(changed)) if changed else pixels

    def _changed(
        self, picture: Float[Tensor, "3 height width"], draws: Sequence[float]
    ) -> Float[Tensor, "3 height width"]:
        side, down, right, mirror = draws
        if self.crop < 1:
            picture = _cut(picture, self.crop + side * (1 - self.crop), down, right)
        return picture.flip(-1) if mirror < self.flip else picture


def _cut(
    picture: Float[Tensor, "3 height width"], share: float, down: float, right: float
) -> Float[Tensor, "3 height width"]:
    """A part of ``share`` of each side, ``down`` and ``right`` in [0, 1) of where it can lie, enlarged."""
    height, width = picture.shape[1:]
    high, wide = max(round(share * height), 1), max(round(share * width), 1)
    top, left = int(down * (height - high + 1)), int(right * (width - wide + 1))
    part = picture[None, :, top : top + high, left : left + wide]
    return F.interpolate(part, (height, width), mode="bilinear", align_corners=False)[0]


def drop_words(
    words: WordIds,
    draws: Sequence[float],
    random_id: Callable[[], int],
    mask_id: int,
    rate: float = 0.2,
) -> list[list[int]]:
    """What becomes of each word, given its draw from [0, 1); may leave nothing.

    Below 0.5 ``rate`` every piece becomes the mask, below 0.6 ``rate`` an id of its own from ``random_id``,
    below ``rate`` the word is deleted (CHAN, VSE-infinity).
    """
    kept: list[list[int]] = []
    for word, draw in zip(words, draws, strict=True):
        if draw >= rate:
            kept.append(list(word))
        elif draw / rate < 0.5:
            kept.append([mask_id] * len(word))
        elif draw / rate < 0.6:
            kept.append([random_id() for _ in word])
    return kept


def kept_regions(
    draws: Float[Tensor, "image region"], mask: Bool[Tensor, "image region"], rate: float
) -> Bool[Tensor, "image region"]:
    """A region is kept if its draw exceeds ``rate``; where none does, the one with the largest draw is."""
    kept = (draws > rate) & mask
    largest = draws.masked_fill(~mask, -1).argmax(1, keepdim=True)
    rescued = torch.zeros_like(mask).scatter(1, largest, ~kept.any(1, keepdim=True))
    return kept | (rescued & mask)


def compact(regions: Regions, kept: Bool[Tensor, "image region"]) -> Regions:
    """Only the kept regions, in their order, padded with zeros to the largest number kept."""
    counts = kept.sum(1)
    width = int(counts.max()) if len(counts) else 0
    front = torch.argsort((~kept).int(), dim=1, stable=True)[:, :width]
    mask = torch.arange(width, device=kept.device) < counts[:, None]
    images = torch.arange(len(kept), device=kept.device)[:, None]

    def moved(values: Tensor) -> Tensor:
        return values[images, front].masked_fill_(~mask[..., None], 0)

    boxes = None if regions.boxes is None else moved(regions.boxes)
    return replace(regions, features=moved(regions.features), boxes=boxes, mask=mask)


def _checked(rate: float) -> float:
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}; it is the share to drop, at least 0 and below 1")
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
