"""Commands about data sets: data check, world, convert and records."""

from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli import data_records
from wordsight.cli.data_options import DatasetOptions
from wordsight.cli.option_groups import with_options
from wordsight.files.json_text import to_json
from wordsight.runtime.progress import ProgressDisplay

Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def register(app: typer.Typer) -> None:
    data = typer.Typer(help="Check, convert and generate data sets.", no_args_is_help=True)
    data.command(epilog="Example: wordsight data check data/f30k_precomp")(with_options(check))
    data.command(epilog="Example: wordsight data world world/ --images 1000")(world)
    data.command(epilog="Example: wordsight data convert f30k.tsv --ids train_ids.txt --out f30k_precomp")(
        convert
    )
    data.command(epilog=data_records.EPILOG)(with_options(data_records.records))
    app.add_typer(data, name="data")


def check(
    path: Annotated[
        Path, typer.Argument(help="A precomputed folder, a caption file, or a folder of pictures.")
    ],
    vocabulary: Annotated[
        Path | None, typer.Option(help="Also count words that this vocabulary does not have.")
    ] = None,
    *,
    dataset: DatasetOptions,
    as_json: Json = False,
) -> None:
    """Check a data set: its contents, its errors, where they are, and what to do."""
    from wordsight.read.validate.check import check as run

    report = run(path, vocabulary=vocabulary, **dataset.settings())
    typer.echo(to_json(report.to_dict()) if as_json else report.to_text())
    if not report.ok:
        raise typer.Exit(1)


def world(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    images: Annotated[
        int, typer.Option(help="Pictures to train on; 500 each come for validation and test.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
    size: Annotated[int, typer.Option(help="Pixels along a side.")] = 64,
) -> None:
    """Write the generated world: pictures, five sentences each, splits, and the box of every object."""
    from wordsight.read.synthetic.export import write_world

    typer.echo(write_world(out, seed=seed, images=images, size=size))


def convert(
    source: Annotated[list[Path], typer.Argument(metavar="TSV...", help="Bottom-up-attention TSV files.")],
    out: Annotated[Path, typer.Option(help="The precomputed folder to write.")],
    split: Annotated[str, typer.Option(help="train, dev, test or testall.")] = "train",
    ids: Annotated[
        Path | None, typer.Option(help="One image id per line: the order of the rows, if not the TSV's own.")
    ] = None,
) -> None:
    """Turn bottom-up-attention TSV files into a precomputed folder, boxes included."""
    from wordsight.read.export.bottom_up_tsv import convert_bottom_up

    with ProgressDisplay() as progress:
        converted = convert_bottom_up(source, out, split, ids, progress=progress)
    typer.echo(converted)
