"""The commands features export and features encode: stored regions, and a model's vectors, as .npy files."""

from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli.config_options import Changes
from wordsight.cli.data_options import DatasetOptions
from wordsight.cli.data_records import SHORT
from wordsight.runtime.progress import ProgressDisplay

EXPORT_EPILOG = "Example: wordsight features export features/ captions.csv --out data/mine_precomp"
ENCODE_EPILOG = "Example: wordsight features encode runs/cmpl-cuhk-pedes-mobilenet --split test --out vectors"


def export(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Made by features extract.")],
    source: Annotated[Path, typer.Argument(metavar="DATA", help="The caption file of its pictures.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    *,
    dataset: DatasetOptions,
) -> None:
    """Write stored regions and their captions as SCAN, VSE-infinity and CHAN read them (SPLIT_ims.npy...)."""
    from wordsight.read.datasets.detect_format import open_dataset
    from wordsight.read.datasets.records import VALIDATION
    from wordsight.read.export.precomputed import write_store
    from wordsight.read.features.store import FeatureStore

    data = open_dataset(source, **dataset.settings())
    opened = FeatureStore.open(store)
    for name in data.chosen(None):
        written = "dev" if name in VALIDATION else name or "train"  # dev is what their code opens
        with ProgressDisplay() as progress:
            images = write_store(out, written, opened, data.read(name), progress)
        shape = f"{images} x {opened.regions} x {opened.feature_dim}"
        typer.echo(
            f"{out / f'{written}_ims.npy'}: {shape}, float32; captions, ids and boxes in the same folder"
        )


def encode(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run's folder, a model's folder, or a hub name.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    config: Annotated[
        str | None, typer.Option(help="Where [data] stands, if it is not the run's own configuration.")
    ] = None,
    changes: Changes = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts per batch.")] = 64,
) -> None:
    """Write the vectors of a model as .npy: SPLIT_image_features, SPLIT_caption_features and their labels."""
    from wordsight.cli.config_options import split_name
    from wordsight.evaluation.write_vectors import write_vectors
    from wordsight.runs.opening import open_data, open_matcher

    which = split_name(split)
    data = open_data(model, config, changes or (), which)
    name = SHORT.get(which, which)
    with ProgressDisplay() as progress:
        files = write_vectors(open_matcher(model), data.pairs, out, name, batch_size, progress)
    for path, shape in files:
        typer.echo(f"{path}: {' x '.join(map(str, shape))}")
