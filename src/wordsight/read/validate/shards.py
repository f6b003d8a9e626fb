"""A folder of shards -> its pairs by split; every record is read, CRCs included, and faults are reported."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wordsight.read.datasets.shard_files import find_shards, shards_by_split
from wordsight.read.datasets.shard_samples import Sample, Scan, look_through
from wordsight.read.validate.captions import Texts
from wordsight.read.validate.report import Report

if TYPE_CHECKING:
    from wordsight.read.datasets.shards import ShardDataset


def check_shards(dataset: "ShardDataset", folder: Path, report: Report) -> list[Texts]:
    """Every split, as far as it can be read."""
    splits = list(shards_by_split(folder, dataset.suffix))
    if splits == [None] and dataset.shares is None:
        what = "no splits: train cannot tell training from validation"
        todo = f"nothing, to write or to count them; to train, {dataset.without_splits}"
        report.add("warning", what, str(folder), todo)
    return [_split(dataset, folder, split, report) for split in splits]


def _split(dataset: "ShardDataset", folder: Path, split: str | None, report: Report) -> Texts:
    shards, samples, name = _found(folder, split, dataset.suffix, report), list[Sample](), split or "all"
    if shards:
        faults = len(report.findings)
        samples = look_through(shards, _reporting(dataset.scan, report))
        pairs = sum(len(sample.texts) for sample in samples)
        problem = "" if len(report.findings) > faults else dataset.not_all(folder, split, shards, pairs)
        if problem:
            report.add("error", problem, shards[0].parent.name, "fetch or write this split again")
        identities = len({sample.identity for sample in samples})
        what = f"{name}: {pairs:,} pairs of {identities:,} identities; shards: {len(shards):,}"
        report.add("note", what, shards[0].name, "nothing")
    of_text = [row for row, sample in enumerate(samples) for _ in sample.texts]
    return Texts(
        split=name,
        names=[sample.name for sample in samples],
        texts=[text for sample in samples for text in sample.texts],
        image_of=of_text,
        place=lambda text: _place(shards, samples[of_text[text]]),
    )


def _found(folder: Path, split: str | None, suffix: str, report: Report) -> list[Path]:
    try:
        return find_shards(folder, split, suffix)
    except (ValueError, FileNotFoundError) as error:
        report.add_error(error, str(folder))
        return []


def _reporting(scan: Scan, report: Report) -> Scan:
    """A scan that ends at the first fault of a shard and reports it instead of raising it."""

    def reported(shard: Path, number: int) -> Iterator[Sample]:
        try:
            yield from scan(shard, number)
        except ValueError as error:
            report.add_error(error, shard.name)

    return reported


def _place(shards: Sequence[Path], sample: Sample) -> str:
    return f"{shards[sample.shard].name} record {sample.number} ({sample.name})"
