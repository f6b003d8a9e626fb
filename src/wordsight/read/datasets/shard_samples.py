"""Shards -> the samples inside them: where each picture is, and its texts."""

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wordsight.runtime.progress import LoggedProgress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """A picture inside a shard, and what is said of it."""

    shard: int
    number: int  # of the record or the sample in its shard, from 0
    start: int  # the byte of the shard where it begins
    size: int  # bytes
    name: str
    identity: int | None  # None: every picture its own
    texts: list[str]


Scan = Callable[[Path, int], Iterator[Sample]]  # a shard and its number -> what is in it
Pick = Callable[[Path, Sample], bytes]  # a shard and a sample -> the bytes of the picture


def look_through(shards: Sequence[Path], scan: Scan) -> list[Sample]:
    """Every picture with all that is said of it, in order of first appearance.

    Samples of equal name and identity are one picture; those without an identity are each their own.
    """
    samples: dict[Hashable, Sample] = {}
    with LoggedProgress(_log) as progress:
        for number, shard in enumerate(shards):
            progress("reading shards", number, len(shards))
            for sample in scan(shard, number):
                own = (number, sample.number) if sample.identity is None else sample.identity
                known = samples.setdefault((sample.name, own), sample)
                if known is not sample:
                    known.texts.extend(sample.texts)
    return list(samples.values())
