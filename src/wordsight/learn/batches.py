"""Pairs -> batches ready for the encoders; every batch is a function of (seed, epoch, number in the epoch).

Nothing is remembered from batch to batch, so that a run may stop anywhere and go on anywhere.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Generator

from wordsight.learn.processes import Processes
from wordsight.pairs import PairBatch, PairSet
from wordsight.read.tokenizer import Tokenizer
from wordsight.sets import Pixels, Regions, Tokens

Words: TypeAlias = list[list[int]]  # the ids of each word of one text, specials left out
Made = TypeVar("Made")
ORDER, AUGMENTATION, WEIGHTS = range(3)  # what a random number is for; the same seed serves all three


def random_seed(purpose: int, *place: int) -> int:
    """A seed for one purpose at one place of the run; neighbours in any number are unrelated."""
    low, high = np.random.SeedSequence([purpose, *place]).generate_state(2, np.uint32)
    return int(low) | (int(high) >> 1) << 32


@dataclass(frozen=True, eq=False)
class TextIds:
    """The ids of every word of every text, in three flat arrays."""

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

    def __getitem__(self, text: int) -> Words:
        bounds = self.words[self.texts[text] : self.texts[text + 1] + 1]
        return [self.ids[start:stop].tolist() for start, stop in pairwise(bounds)]

    def digest(self) -> str:
        joined = hashlib.blake2b(digest_size=8)
        for array in (self.ids, self.words, self.texts):
            joined.update(array.astype(np.int64).tobytes())
        return joined.hexdigest()


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of every epoch: each text once, in an order drawn anew from the seed and the epoch.

    ``batch_size``       pairs per batch over all processes; this process makes its share of them only
    ``read_images``      what ``pairs.images.read`` returns -> Regions or Pixels (``Matcher.read_images``)
    ``drop_regions``, ``drop_words``   training's augmentation, given the generator to draw from
    ``distinct_images``  no two pairs of one identity in a batch
    """

    pairs: PairSet
    tokenizer: Tokenizer
    read_images: Callable[[Any], Regions | Pixels]
    batch_size: int
    seed: int = 0
    drop_last: bool = True
    distinct_images: bool = False
    drop_regions: Callable[[Regions, Generator], Regions] | None = None
    drop_words: Callable[[Words, Generator], Words] | None = None
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        if len(self.pairs) < 2:
            source = self.pairs.source or "the training set"
            raise ValueError(f"{source} has {len(self.pairs)} pairs; training needs at least 2")
        object.__setattr__(self, "text_ids", TextIds.of(self.pairs.texts, self.tokenizer))

    text_ids: TextIds = field(init=False)

    def digest(self) -> str:
        """Equal for equal texts (as ids) of equal images in equal order."""
        rows = hashlib.blake2b(digest_size=8)
        for tensor in (self.pairs.image_of, self.pairs.identities):
            rows.update(tensor.numpy().astype(np.int64).tobytes())
        return f"{self.text_ids.digest()}-{rows.hexdigest()}"

    def rows(self, epoch: int) -> list[list[int]]:
        """The texts of each batch of an epoch, by row, over all processes."""
        draw = np.random.default_rng(random_seed(ORDER, self.seed, epoch))
        order = draw.permutation(len(self.pairs)).tolist()
        if self.distinct_images:
            batches = _without_repeats(order, self.pairs.text_identities.tolist(), self.batch_size)
        else:
            batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        short = self.drop_last and len(batches) > 1 and len(batches[-1]) < len(batches[0])
        return batches[:-1] if short else batches

    def make(self, epoch: int, number: int, rows: Sequence[int]) -> PairBatch:
        """This process's share of batch ``number``, whose rows are ``self.rows(epoch)[number]``."""
        mine = self.processes.share(rows)
        generator = Generator().manual_seed(
            random_seed(AUGMENTATION, self.seed, epoch, number, self.processes.rank)
        )
        images = self._images(self.pairs.image_of[mine].tolist())
        if self.drop_regions and isinstance(images, Regions):
            images = self.drop_regions(images, generator)
        return PairBatch(images, self._texts(mine, generator), self.pairs.text_identities[mine])

    def _images(self, rows: Sequence[int]) -> Regions | Pixels:
        """Each image is read once, however many of its texts are in the batch."""
        different, place = np.unique(rows, return_inverse=True)
        read = self.read_images(self.pairs.images.read(different.tolist()))
        return read[torch.from_numpy(place)]

    def _texts(self, rows: Sequence[int], generator: Generator) -> Tokens:
        texts = [self.text_ids[row] for row in rows]
        if self.drop_words:
            texts = [self.drop_words(words, generator) for words in texts]
        return padded([self.tokenizer.finish(words) for words in texts])


def padded(texts: Sequence[Sequence[int]]) -> Tokens:
    """Lists of ids, filled up to the longest with 0 and mask False."""
    ids = torch.zeros(len(texts), max(map(len, texts), default=0), dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text, dtype=torch.long)
        mask[row, : len(text)] = True
    return Tokens(ids, mask)


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


def ahead(make: Callable[[int], Made], numbers: Sequence[int], workers: int, ready: int) -> Iterator[Made]:
    """``make`` of each number, in order, made by other threads while the caller works on the one before.

    At most ``ready`` wait to be taken. An error in ``make`` is raised here, when its turn comes.
    """
    if workers == 0:
        yield from map(make, numbers)
        return
    threads = ThreadPoolExecutor(workers, thread_name_prefix="read-images")
    coming: deque[Future[Made]] = deque()
    try:
        for number in numbers:
            coming.append(threads.submit(make, number))
            if len(coming) > max(ready, workers):
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
