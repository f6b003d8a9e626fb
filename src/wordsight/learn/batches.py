"""Pairs -> batches ready for the encoders; every batch is a function of (seed, epoch, number in the epoch).

Nothing is remembered from batch to batch, so that a run may stop anywhere and go on anywhere.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from wordsight.errors import InputError
from wordsight.learn.augmentation import ChangePictures, DropRegions, DropWords, WordIds
from wordsight.learn.processes import Processes
from wordsight.learn.settings import Training
from wordsight.learn.swap_words import SwapWords
from wordsight.matcher import Matcher
from wordsight.pairs import PairBatch, PairSet, read_mirrored, read_plain
from wordsight.read.text.base import Tokenizer
from wordsight.read.text.padding import pad_ids
from wordsight.runtime.prefetch import prefetch
from wordsight.sets import Pixels, Regions, Tokens

Made = TypeVar("Made")
ORDER, AUGMENTATION, WEIGHTS = range(3)  # what a random number is for; the same seed serves all three


def random_seed(purpose: int, *place: int) -> int:
    """A seed for one purpose at one place of the run; neighbours in any number are unrelated."""
    low, high = np.random.SeedSequence([purpose, *place]).generate_state(2, np.uint32)
    return int(low) | (int(high) >> 1) << 32


@dataclass(frozen=True, eq=False)
class TextIds:
    """The ids of every word of every text, specials left out, in three flat arrays: tokenized once."""

    ids: np.ndarray  # of all words of all texts
    words: np.ndarray  # where each word starts in ids, and the end
    texts: np.ndarray  # where each text starts in words, and the end

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Tokenizer) -> "TextIds":
        ids: list[int] = []
        words, starts = [0], [0]
        for text in texts:
            for word in tokenizer.words(text):
                ids.extend(word)
                words.append(len(ids))
            starts.append(len(words) - 1)
        return cls(np.array(ids, np.int32), np.array(words), np.array(starts))

    def __getitem__(self, text: int) -> list[list[int]]:
        bounds = self.words[self.texts[text] : self.texts[text + 1] + 1]
        return [self.ids[start:stop].tolist() for start, stop in pairwise(bounds)]


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of every epoch: each text once, in an order drawn anew from the seed and the epoch.

    ``batch_size``       pairs per batch over all processes; this process makes its share of them only
    ``read_images``      what ``pairs.images.read`` returns -> Regions or Pixels (``Matcher.read_images``)
    ``drop_regions``, ``drop_words``   size augmentation, drawn anew for every batch; ``drop_specials`` lets
                         it touch <start> and <end>
    ``swap_words``       makes wrong copies of a share of the texts, ``swap_rate``, after which they are
                         augmented like the others
    ``change_pictures``  the same for pictures that are read as pixels; parts of them by ``read_parts``, the
                         reader's, which takes pictures and the cuts
    ``distinct_images``  no two pairs of one identity in a batch
    ``texts_per_image``  so many texts of one image follow each other; more than 1: they share the image
    """

    pairs: PairSet
    tokenizer: Tokenizer
    read_images: Callable[[Any], Regions | Pixels]
    batch_size: int
    seed: int = 0
    drop_last: bool = True
    distinct_images: bool = False
    texts_per_image: int = 1
    drop_regions: DropRegions | None = None
    drop_words: DropWords | None = None
    drop_specials: bool = False
    swap_words: SwapWords | None = None
    swap_rate: float = 1.0
    change_pictures: ChangePictures | None = None
    read_parts: Callable[[Any, Any], Pixels] | None = None
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        if len(self.pairs) < 2:
            source = self.pairs.source or "the training set"
            raise InputError(f"{source} has {len(self.pairs)} pairs; training needs at least 2")
        object.__setattr__(self, "text_ids", TextIds.of(self.pairs.texts, self.tokenizer))

    text_ids: TextIds = field(init=False)

    def digest(self) -> str:
        """Equal for equal texts (as ids) of equal images, with equal labels, in equal order."""
        known = self.text_ids
        joined = hashlib.blake2b(digest_size=12)
        for part in (known.ids, known.words, known.texts, self.pairs.image_of, self.pairs.identities):
            joined.update(np.asarray(part, np.int64).tobytes())
        if self.pairs.labels is not None:
            joined.update(np.asarray(self.pairs.labels, np.uint8).tobytes())
        return joined.hexdigest()

    def rows(self, epoch: int) -> list[list[int]]:
        """The texts of each batch of an epoch, by row, over all processes."""
        draw = np.random.default_rng(random_seed(ORDER, self.seed, epoch))
        order = draw.permutation(len(self.pairs)).tolist()
        if self.texts_per_image > 1:
            order = _side_by_side(order, self.pairs.image_of.tolist(), self.texts_per_image)
        if self.distinct_images:
            batches = _without_repeats(order, self.pairs.text_identities.tolist(), self.batch_size)
        else:
            batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        short = self.drop_last and len(batches[-1]) < len(batches[0])
        too_few = len(batches[-1]) < self.processes.world  # each process needs a pair
        return batches[:-1] if len(batches) > 1 and (short or too_few) else batches

    def make(self, epoch: int, number: int, rows: Sequence[int]) -> PairBatch:
        """This process's share of batch ``number``, whose rows are ``self.rows(epoch)[number]``."""
        mine = self.processes.share(rows)
        draw = np.random.default_rng(random_seed(AUGMENTATION, self.seed, epoch, number, self.processes.rank))
        rows_of_images = self.pairs.image_of[mine]
        different, image_of = rows_of_images, None
        if self.texts_per_image > 1:
            different, image_of = torch.unique(rows_of_images, return_inverse=True)
        images = self._changed(self._images(different.tolist(), draw), draw)
        labels = None if self.pairs.labels is None else self.pairs.labels[rows_of_images]
        texts = [self.text_ids[row] for row in mine]
        return PairBatch(
            images, self._texts(texts, draw), self.pairs.text_identities[mine], labels, image_of,
            self._negative_texts(texts, draw),
        )  # fmt: skip

    def _images(self, rows: Sequence[int], draw: np.random.Generator) -> Regions | Pixels:
        """Each image is read once, however many of its texts are in the batch; but a part for each text."""
        different, place = np.unique(rows, return_inverse=True)
        read = partial(read_plain, self.pairs.images) if self.change_pictures else self.pairs.images.read
        pictures = read(different.tolist())
        cuts = self.change_pictures.cuts(len(rows), draw) if self.change_pictures else None
        if cuts is None:
            images = self.read_images(pictures)[torch.from_numpy(place)]
            if isinstance(images, Regions) and self.change_pictures:
                return self._some_mirrored(images, rows, self.change_pictures.chosen(len(rows), draw))
            return images
        if self.read_parts is None or isinstance(pictures, Regions | Pixels):
            raise InputError(
                "crop_pictures and crop_area show parts of pictures, and these images are no pictures that "
                "the reader makes pixels of; leave them out, or train from pictures with the reader "
                '"pixels" or "model-pixels"'
            )
        return self.read_parts([pictures[row] for row in place], cuts)

    def _some_mirrored(self, images: Regions, rows: Sequence[int], chosen: Bool[Tensor, " row"]) -> Regions:
        """The chosen rows from the mirrored features, the others as they are."""
        numbers = chosen.nonzero().flatten().tolist()
        if not numbers:
            return images
        mirrored = self.read_images(read_mirrored(self.pairs.images, [rows[n] for n in numbers]))
        places = torch.arange(len(images))
        places[chosen] = len(images) + torch.arange(len(numbers))
        return Regions.join([images, cast(Regions, mirrored)])[places]

    def _changed(self, images: Regions | Pixels, draw: np.random.Generator) -> Regions | Pixels:
        if isinstance(images, Regions):
            return self.drop_regions(images, draw) if self.drop_regions else images
        return self.change_pictures.mirrored(images, draw) if self.change_pictures else images

    def _negative_texts(self, texts: Sequence[WordIds], draw: np.random.Generator) -> Tokens | None:
        """Wrong copies of some of the texts; maybe none of them can be made wrong."""
        if self.swap_words is None:
            return None
        chosen = [text for text in texts if draw.random() < self.swap_rate]
        wrong = [copy for text in chosen if (copy := self.swap_words(text, draw)) is not None]
        if not wrong:
            return Tokens(torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, 1, dtype=torch.bool))
        return self._texts(wrong, draw)

    def _texts(self, texts: Sequence[WordIds], draw: np.random.Generator) -> Tokens:
        if self.drop_words is None:
            return pad_ids([self.tokenizer.finish(words) for words in texts])
        return pad_ids([self.drop_words.ids(words, draw, self.drop_specials) for words in texts])


def make_batches(matcher: Matcher, train: PairSet, settings: Training, processes: Processes) -> Batches:
    """The batches that a matcher is trained on as the settings say."""
    regions, words = settings.drop_regions, settings.drop_words
    changes = settings.flip_pictures, settings.crop_pictures, settings.crop_area
    return Batches(
        train, matcher.tokenizer, matcher.read_images, settings.batch_size,
        seed=settings.seed, drop_last=settings.drop_last, distinct_images=settings.distinct_images,
        texts_per_image=settings.texts_per_image,
        drop_regions=DropRegions(regions) if regions else None,
        drop_words=DropWords(words, matcher.tokenizer) if words else None,
        drop_specials=settings.drop_specials,
        swap_words=SwapWords(matcher.tokenizer) if settings.swap_words else None,
        swap_rate=settings.swap_words,
        change_pictures=ChangePictures(*changes) if changes != (0.0, 1.0, 1.0) else None,
        read_parts=getattr(matcher.reader, "read_parts", None),
        processes=processes,
    )  # fmt: skip


def _without_repeats(order: Sequence[int], identities: Sequence[int], size: int) -> list[list[int]]:
    """Cut the order into batches; a text whose identity is in the batch already waits for the next one."""
    size = min(size, len(set(identities)))
    coming, batches = deque(order), []
    while coming:
        batch: list[int] = []
        there: set[int] = set()
        waiting: list[int] = []
        while coming and len(batch) < size:
            text = coming.popleft()
            if identities[text] in there:
                waiting.append(text)
            else:
                there.add(identities[text])
                batch.append(text)
        coming.extendleft(reversed(waiting))
        batches.append(batch)
    return batches


def _side_by_side(order: Sequence[int], image_of: Sequence[int], together: int) -> list[int]:
    """So many texts of one image after each other, where the first of them stood."""
    groups: list[list[int]] = []
    open_groups: dict[int, list[int]] = {}
    for text in order:
        group = open_groups.get(image_of[text])
        if group is None or len(group) == together:
            group = open_groups[image_of[text]] = []
            groups.append(group)
        group.append(text)
    return [text for group in groups for text in group]


def ahead(make: Callable[[int], Made], numbers: Sequence[int], workers: int, ready: int) -> Iterator[Made]:
    """``make`` of each number, in order, made by other threads while the caller works on the one before.

    At most ``ready`` wait to be taken. An error in ``make`` is raised here, when its turn comes.
    """
    if workers == 0:
        yield from map(make, numbers)
        return
    yield from prefetch(make, numbers, workers, max(ready, workers) + 1)
