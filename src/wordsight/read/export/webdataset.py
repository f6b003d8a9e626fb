"""Pairs -> WebDataset shards, whose bytes are equal for equal pairs and settings: no owner, no time.

``KEY.jpg``   the picture as its file has it (or ``.png`` and so on)
``KEY.json``  ``name``, ``identity``, ``split`` and ``captions``, a list
``KEY.txt``   the same captions, one per line, for readers that know only text
"""

import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from wordsight.files.undecodable import exact_bytes, json_bytes
from wordsight.pairs import PairSet
from wordsight.read.datasets.webdataset import SUFFIX
from wordsight.read.export.picture_bytes import as_it_is, picture_at
from wordsight.read.export.resumable_shards import (
    TRAIN,
    Done,
    Shard,
    Skipped,
    convert,
    cut,
    digests,
    in_published_order,
    readable,
)
from wordsight.runtime.progress import Progress, silent

Member = tuple[str, bytes]  # name and content


def write_webdataset(
    folder: str | Path,
    splits: Mapping[str, PairSet],
    shards: int = 1,
    seed: int | None = 12345,
    skip_unreadable: bool = False,
    progress: Progress = silent,
) -> list[Skipped]:
    """Write the splits by name, train in ``shards`` files and in the order that the seed draws.

    Returns the pictures that were left out because they cannot be decoded. Safe to kill and to run again.
    """
    order = {
        name: in_published_order(range(len(pairs.images)), seed if name == TRAIN else None)
        for name, pairs in splits.items()
    }
    texts = {name: _texts_by_row(pairs) for name, pairs in splits.items()}

    def write(shard: Shard, file: BinaryIO, done: Done) -> Sequence[Skipped]:
        pairs, skipped = splits[shard.split], list[Skipped]()

        def make(item: int) -> list[Member]:
            row = order[shard.split][item]
            return _members(f"{shard.split}-{item:08d}", shard.split, pairs, row, texts[shard.split][row])

        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for members in readable(make, shard.items, skip_unreadable, skipped, done):
                for name, content in members:
                    _add(tar, name, content)
        return skipped

    files = [
        shard
        for name, pairs in splits.items()
        for shard in cut(name, len(pairs.images), shards if name == TRAIN else 1, SUFFIX)
    ]
    plan = {"layout": "webdataset", "shards": shards, "seed": seed, "splits": digests(splits)}
    return convert(Path(folder), plan, files, write, {}, progress)


def _texts_by_row(pairs: PairSet) -> list[list[str]]:
    return [[pairs.texts[text] for text in own] for own in pairs.texts_by_image()]


def _members(key: str, split: str, pairs: PairSet, row: int, texts: list[str]) -> list[Member]:
    content, suffix = as_it_is(picture_at(pairs.images, row, pairs.source))
    identity = int(pairs.identities[row])
    said = {"name": pairs.names[row], "identity": identity, "split": split, "captions": texts}
    lines = "".join(f"{' '.join(text.split())}\n" for text in texts)
    return [
        (f"{key}{suffix}", content),
        (f"{key}.json", json_bytes(said)),
        (f"{key}.txt", exact_bytes(lines)),
    ]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, BytesIO(content))
