"""The command data records: a configuration's data, or a data set, as shards."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.data_options import DatasetOptions, changes_of
from wordsight.cli.shared_options import NoLock
from wordsight.cli.trust import TrustRemoteCode
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.pairs import PairSet
    from wordsight.read.export.resumable_shards import Skipped

SHORT = {"validation": "val"}  # as the shards of everybody are called
EPILOG = "Example: wordsight data records cuhk-pedes/reid_raw.json --out records/pedes --shards 4"


class Restval(StrEnum):
    """Where COCO's restval pictures belong."""

    train = "train"
    val = "val"


class Format(StrEnum):
    """Format of the shards."""

    tfrecord = "tfrecord"
    webdataset = "webdataset"


@dataclass(frozen=True)
class ShardOptions:
    """The form of the shards."""

    format_: Annotated[
        Format, typer.Option("--format", help="CMPL's TFRecords, or tar files that keep texts as they are.")
    ] = Format.tfrecord
    shards: Annotated[int, typer.Option(help="Files of the training split; other splits are one file.")] = 1
    restval: Annotated[
        Restval | None,
        typer.Option(help="Split of COCO's restval; by default val in TFRecords (as in CMPL), else train."),
    ] = None
    seed: Annotated[int, typer.Option(help="Seed of the order of the training split; 12345 is CMPL's.")] = (
        12345
    )
    keep_order: Annotated[bool, typer.Option("--keep-order", help="Do not shuffle.")] = False
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out pictures that cannot be decoded.")
    ] = False

    @property
    def order(self) -> int | None:
        """The seed of the order of the training split; None keeps it."""
        return None if self.keep_order else self.seed


@dataclass(frozen=True)
class RecordOptions:
    """How TFRecords hold texts and pictures."""

    word_splitter: Annotated[
        str | None,
        typer.Option(
            help="How TFRecords cut texts: cmpl, karpathy or treebank; by default as CONFIG does, or cmpl."
        ),
    ] = None
    min_count: Annotated[int, typer.Option(help="Rarer words have no id in TFRecords.")] = 3
    reencode: Annotated[
        bool, typer.Option("--reencode", help="Encode RGB JPEGs anew in TFRecords, as CMPL does.")
    ] = False
    quality: Annotated[int, typer.Option(help="Quality of the JPEGs that are encoded.")] = 95


def records(
    source: Annotated[
        str, typer.Argument(metavar="CONFIG|DATA", help="A configuration, a caption file, or its folder.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; it appears when it is complete.")],
    *,
    form: ShardOptions,
    dataset: DatasetOptions,
    record: RecordOptions,
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write pairs as TFRecords or WebDataset shards; run it again to go on after an interruption."""
    default = Restval.val if form.format_ == Format.tfrecord else Restval.train
    restval = form.restval or default
    splits, own_splitter = _splits(source, restval, dataset.settings(), trust_remote_code)
    with ProgressDisplay() as progress:
        if form.format_ == Format.webdataset:
            from wordsight.read.export.webdataset import write_webdataset

            skipped = write_webdataset(out, splits, form.shards, form.order, form.skip_unreadable, progress)
        else:
            from wordsight.read.export.tfrecords import RecordSettings, write_records

            splitter = record.word_splitter or own_splitter or "cmpl"
            settings = RecordSettings(
                form.shards, form.order, splitter, record.min_count, record.reencode, record.quality
            )
            skipped = write_records(out, splits, settings, form.skip_unreadable, progress)
    _show_report(out, splits, skipped)


def _splits(
    source: str, restval: Restval, settings: dict[str, Any], trust_remote_code: bool
) -> tuple[dict[str, "PairSet"], str | None]:
    """The pairs by the name of their split; with a configuration, also the rule of its words."""
    if not _is_config(source):
        return _of_data_set(source, restval, settings), None
    from wordsight.builder import Builder
    from wordsight.config import SPLITS, load_config

    config = load_config(source, changes_of(**settings), trust_remote_code)
    splits = {SHORT.get(which, which): Builder(config).captioned(which) for which in SPLITS}
    return splits, config.tables.get("tokenizer", {}).get("word_splitter")


def _of_data_set(source: str, restval: Restval, settings: dict[str, Any]) -> dict[str, "PairSet"]:
    """The pairs by the names that shards have: val for every name of validation, and restval in its place."""
    from wordsight.read.datasets.detect_format import open_dataset
    from wordsight.read.datasets.karpathy import Karpathy
    from wordsight.read.datasets.records import VALIDATION

    dataset = open_dataset(source, **settings)
    if isinstance(dataset, Karpathy):
        dataset.restval = restval == Restval.train
    splits = {split: dataset.read(split) for split in dataset.chosen(None)}
    if "restval" in splits:
        left_out = splits.pop("val", None)
        splits = {"val" if split == "restval" else split: pairs for split, pairs in splits.items()}
        if left_out is not None:
            typer.echo(
                f"restval is written as val, as in CMPL; the {len(left_out.images):,} of val are left out "
                "(--restval train writes them as val, and restval as training)",
                err=True,
            )
    return {"val" if split in VALIDATION else split or "train": pairs for split, pairs in splits.items()}


def _is_config(source: str) -> bool:
    from wordsight.config import CONFIG, configs_folder

    path, shipped = Path(source), configs_folder() / f"{source}.toml"
    return path.suffix == ".toml" or (path / CONFIG).is_file() or (not path.exists() and shipped.is_file())


def _show_report(out: Path, splits: dict[str, "PairSet"], skipped: list["Skipped"]) -> None:
    counts = [
        f"{name} {len(pairs):,} pairs of {len(pairs.images):,} pictures" for name, pairs in splits.items()
    ]
    typer.echo(f"{out}: {', '.join(counts)}; {len(skipped)} skipped")
    for one in skipped:
        typer.echo(f"skipped {one.picture}: {one.reason}", err=True)
    if skipped:
        raise typer.Exit(3)
