"""A folder of shards -> its pairs by split; every record is looked at, CRCs included, and faults are told."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from wordsight.read.datasets import tfrecords, webdataset
from wordsight.read.datasets.shards import Sample, Scan, find_shards, look_through, splits_of_shards
from wordsight.read.validate.captions import Texts
from wordsight.read.validate.report import Report

KINDS: dict[str, tuple[str, Scan]] = {
    "": ("TFRecords in CMPL's layout", tfrecords.scan),
    webdataset.SUFFIX: ("WebDataset shards", webdataset.scan),
}  # by the suffix of the files


def shard_kind(folder: Path) -> str | None:
    """What the shards of a folder are; None if it has none."""
    return next((kind for suffix, (kind, _) in KINDS.items() if splits_of_shards(folder, suffix)), None)


def look_shards(path: Path, _pictures: Path | None, report: Report) -> list[Texts]:
    """Every split of every kind, as far as it can be read."""
    return [
        _split(path, split, suffix, report) for suffix in KINDS for split in splits_of_shards(path, suffix)
    ]


def _split(folder: Path, split: str, suffix: str, report: Report) -> Texts:
    shards, samples = _found(folder, split, suffix, report), list[Sample]()
    if shards:
        faults = len(report.findings)
        samples = look_through(shards, _telling(KINDS[suffix][1], report))
        pairs = sum(len(sample.texts) for sample in samples)
        if not suffix and len(report.findings) == faults:
            problem = tfrecords.not_all(folder, split, shards, pairs)
            if problem:
                report.add("error", problem, shards[0].parent.name, "fetch or write this split again")
        identities = len({sample.identity for sample in samples})
        what = f"{split}: {pairs:,} pairs of {identities:,} identities; shards: {len(shards):,}"
        report.add("note", what, shards[0].name, "nothing")
    of_text = [row for row, sample in enumerate(samples) for _ in sample.texts]
    return Texts(
        split=split,
        names=[sample.name for sample in samples],
        texts=[text for sample in samples for text in sample.texts],
        image_of=of_text,
        place=lambda text: _place(shards, samples[of_text[text]]),
    )


def _found(folder: Path, split: str, suffix: str, report: Report) -> list[Path]:
    try:
        return find_shards(folder, split, suffix)
    except (ValueError, FileNotFoundError) as error:
        report.add_error(error, str(folder))
        return []


def _telling(scan: Scan, report: Report) -> Scan:
    """The same scan, which ends at the first fault of a shard and tells it instead of raising it."""

    def told(shard: Path, number: int) -> Iterator[Sample]:
        try:
            yield from scan(shard, number)
        except ValueError as error:
            report.add_error(error, shard.name)

    return told


def _place(shards: Sequence[Path], sample: Sample) -> str:
    return f"{shards[sample.shard].name} record {sample.number} ({sample.name})"
