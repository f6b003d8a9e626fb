"""Pairs -> CMPL's TFRecords: one SequenceExample per pair, sharded, shuffled, with the counts of the words.

``train-00000-of-00004``...  the pairs; those of "train" in the order that the seed draws, as CMPL's are
``word_counts.txt``          two lines of totals, then each known word and its count, in order of ids
``train_data_info.txt``...   how many pairs, pictures and identities

CMPL's other dumps (``train_tfrecords.txt``, a pickled ``word_to_idx.pkl``) say nothing more; none is written.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from wordsight.errors import InputError
from wordsight.files.undecodable import exact_bytes
from wordsight.pairs import PairSet
from wordsight.read.datasets.tfrecords import CAPTION, CAPTION_IDS, DATA, END, FILENAME, LABEL, SPLIT, START
from wordsight.read.export.picture_bytes import picture_at, rgb_jpeg
from wordsight.read.export.resumable_shards import (
    TRAIN,
    Done,
    Shard,
    Skipped,
    convert,
    counted,
    cut,
    digests,
    in_published_order,
    readable,
)
from wordsight.read.formats.sequence_example import to_bytes
from wordsight.read.formats.tfrecord_file import framed
from wordsight.read.text.word_rules import split_words
from wordsight.runtime.progress import Progress, silent

COUNTS, INFO = "word_counts.txt", "{split}_data_info.txt"


@dataclass(frozen=True)
class RecordSettings:
    """All that the bytes depend on besides the pairs; the defaults are CMPL's, but for ``reencode``."""

    shards: int = 1  # of train; every other split is one (CMPL: 32 for Flickr30k and COCO)
    seed: int | None = 12345  # of the order of train; None keeps the order
    word_splitter: str = "cmpl"  # how texts are cut into words; CMPL's Flickr30k and COCO have "karpathy"
    min_count: int = 3  # rarer words of train have no id of their own
    reencode: bool = False  # decode and encode pictures that are RGB JPEGs already, as CMPL does
    quality: int = 95  # of the JPEGs that are encoded


def write_records(
    folder: str | Path,
    splits: Mapping[str, PairSet],
    settings: RecordSettings | None = None,
    skip_unreadable: bool = False,
    progress: Progress = silent,
) -> list[Skipped]:
    """Write the splits by name; returns the pairs left out because their picture cannot be decoded.

    Labels are the identities of the pairs. Safe to kill and to run again: finished shards are kept, and the
    folder appears when all are there. Raises ValueError for texts without words, and FileExistsError for a
    folder of other data or settings.
    """
    settings = settings or RecordSettings()
    words = {name: _words(pairs, settings.word_splitter) for name, pairs in splits.items()}
    if TRAIN not in words:
        raise InputError(
            f"words get their ids from the split {TRAIN!r}, and there is only {', '.join(words)}"
        )
    counts = Counter(word for text in words[TRAIN] for word in text)
    ids = word_ids(counts, settings.min_count)
    order = {
        name: in_published_order(range(len(pairs)), settings.seed if name == TRAIN else None)
        for name, pairs in splits.items()
    }

    def write(shard: Shard, file: BinaryIO, done: Done) -> Sequence[Skipped]:
        pairs, skipped = splits[shard.split], list[Skipped]()

        def make(text: int) -> bytes:
            return _record(pairs, text, words[shard.split][text], ids, shard.split, settings)

        items = [order[shard.split][item] for item in shard.items]
        for record in readable(make, items, skip_unreadable, skipped, done):
            file.write(framed(record))
        return skipped

    shards = [
        shard
        for name, pairs in splits.items()
        for shard in cut(name, len(pairs), settings.shards if name == TRAIN else 1)
    ]
    texts = {INFO.format(split=name): _info(name, pairs) for name, pairs in splits.items()}
    texts[COUNTS] = _counts_text(counts, ids)
    plan = {"layout": "tfrecord", **asdict(settings), "splits": digests(splits)}
    return convert(Path(folder), plan, shards, write, texts, progress)


def word_ids(counts: Counter[str], min_count: int) -> dict[str, int]:
    """The words seen ``min_count`` times or more, most frequent first (equally frequent ones by alphabet)."""
    frequent = [word for word, count in counts.items() if count >= min_count]
    return {word: n for n, word in enumerate(sorted(frequent, key=lambda word: (-counts[word], word)))}


def _words(pairs: PairSet, word_splitter: str) -> list[list[str]]:
    """The words of every text, between the specials."""
    words = [split_words(text, word_splitter) for text in pairs.texts]
    silent = [n for n, found in enumerate(words) if not found]
    if silent:
        picture = pairs.names[int(pairs.image_of[silent[0]])]
        raise InputError(
            f"{pairs.source}: {len(silent)} texts have no words by the rule {word_splitter!r}, the first "
            f"{pairs.texts[silent[0]]!r} of picture {picture}; correct them, or leave them out"
        )
    return [[START, *found, END] for found in words]


def _record(
    pairs: PairSet,
    text: int,
    words: Sequence[str],
    ids: Mapping[str, int],
    split: str,
    settings: RecordSettings,
) -> bytes:
    row = int(pairs.image_of[text])
    picture = picture_at(pairs.images, row, pairs.source)
    return to_bytes(
        context={
            DATA: rgb_jpeg(picture, settings.reencode, settings.quality),
            LABEL: int(pairs.identities[row]),
            FILENAME: exact_bytes(pairs.names[row]),
            SPLIT: split.encode(),
        },
        lists={
            CAPTION: [word.encode() for word in words],
            CAPTION_IDS: [ids.get(word, len(ids)) for word in words],  # the id after the last is the unknown
        },
    )


def _counts_text(counts: Counter[str], ids: Mapping[str, int]) -> str:
    totals = f"Total words: {len(counts)} \nWords in vocabulary: {len(ids)} \n"
    return totals + "\n".join(f"{word} {counts[word]}" for word in ids)


def _info(split: str, pairs: PairSet) -> str:
    counts = counted(pairs)
    return (
        f"{counts['pairs']} captions of {counts['pictures']} images of {counts['identities']} identities "
        f"in {split}\n"
    )
