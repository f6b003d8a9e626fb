"""Commands about data: features extract, data check, world, convert and records, vocab build and labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wordsight.cli import data_records, features_export, labels
from wordsight.cli.config_options import Changes
from wordsight.cli.data_options import (
    CaptionColumn,
    Division,
    DivisionSeed,
    ImageColumn,
    Pictures,
    SplitColumn,
    Splits,
    split_names,
)
from wordsight.cli.shared_options import Exclude, FollowLinks, NoLock
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError
from wordsight.files.json_text import to_json
from wordsight.runtime.malloc import share_freed_memory
from wordsight.runtime.progress import ProgressDisplay

Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def register(app: typer.Typer) -> None:
    features = typer.Typer(help="Region features of pictures.", no_args_is_help=True)
    features.command(
        epilog="Example: wordsight features extract photos/ --model facebook/dinov2-small --out features/"
    )(extract)
    features.command(epilog=features_export.EXPORT_EPILOG)(features_export.export)
    features.command(epilog=features_export.ENCODE_EPILOG)(features_export.encode)
    app.add_typer(features, name="features")
    data = typer.Typer(help="Data sets: look at them, convert them, generate one.", no_args_is_help=True)
    data.command(epilog="Example: wordsight data check data/f30k_precomp")(check)
    data.command(epilog="Example: wordsight data world world/ --images 1000")(world)
    data.command(epilog="Example: wordsight data convert f30k.tsv --ids train_ids.txt --out f30k_precomp")(
        convert
    )
    data.command(epilog=data_records.EPILOG)(data_records.records)
    app.add_typer(data, name="data")
    vocab = typer.Typer(help="Vocabularies of words and of labels.", no_args_is_help=True)
    vocab.command(epilog="Example: wordsight vocab build data/f30k_precomp --out f30k_vocab.json")(build)
    vocab.command("labels", epilog=labels.EPILOG)(labels.learn)
    app.add_typer(vocab, name="vocab")


def extract(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|DATA",
            help="A folder of pictures, hidden ones left out, or a caption file that names them.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The feature store; run again to go on or to add pictures.")],
    model: Annotated[
        str | None, typer.Option(help="The backbone: a hub name or a folder; else the one that made --out.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Take the [reader] of this configuration instead of --model.")
    ] = None,
    changes: Changes = None,
    grid: Annotated[str, typer.Option(help="Cells along a side: full, 4, or several as 1,2,4.")] = "full",
    signed_sqrt: Annotated[bool, typer.Option(help="Signed square root of the features.")] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the pictures in pixels; else as the model was trained.")
    ] = None,
    high_res_size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels of a second reading, for finer regions.")
    ] = None,
    high_res_grid: Annotated[str | None, typer.Option(help="The cells of that reading, as --grid.")] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="Also the boxes that it finds: a hub name, a folder, or a YOLOX as .onnx."),
    ] = None,
    detections: Annotated[int, typer.Option(min=1, help="At most so many boxes per picture.")] = 10,
    pictures: Pictures = None,
    image_column: ImageColumn = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    batch_size: Annotated[int, typer.Option(help="Pictures per batch.")] = 32,
    device: Annotated[str, typer.Option(help="cpu, cuda; auto takes the GPU if there is one.")] = "auto",
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Cut pictures into regions with a frozen pretrained backbone and store features, boxes and sizes."""
    share_freed_memory()
    from wordsight.read.datasets.detect_format import picture_paths
    from wordsight.read.features.extract import extract as run
    from wordsight.read.pictures.walk import WalkNotes, WalkRules, left_out_text

    if model is not None and config is not None:
        raise typer.BadParameter(
            "give a backbone with --model, or a configuration with --config, and not both"
        )
    if changes and config is None:
        raise typer.BadParameter("--set changes a configuration; give one with --config")
    notes = WalkNotes()
    rules = WalkRules().changed(exclude, follow_links)
    paths, closed = picture_paths(source, rules, notes, pictures=pictures, image_column=image_column)
    finer = () if high_res_grid is None else _cells(high_res_grid, "--high-res-grid")
    asked = {
        "grid": _cells(grid),
        "signed_sqrt": signed_sqrt,
        "size": size,
        "high_res_size": high_res_size,
        "high_res_grid": finer,
    }
    asked |= {"detector": detector, "detections": detections}
    if config is not None:
        reader = _configured_reader(config, changes or (), trust_remote_code)
    else:
        reader = _backbone(model, out, **asked)
    reader = reader.to(_device(device))
    with ProgressDisplay() as progress:
        result = run(reader, paths, out, batch_size, progress)
    skipped = [*closed, *result.skipped]
    typer.echo(f"{out}: {result.done} pictures stored, {result.reused} already there, {len(skipped)} skipped")
    if notes.left_out:
        typer.echo(left_out_text(notes.left_out), err=True)
    for path, reason in skipped:
        typer.echo(f"skipped {path}: {reason}", err=True)
    if skipped:
        raise typer.Exit(3)


def _configured_reader(config: str, changes: Sequence[str], trust_remote_code: bool) -> Any:
    from wordsight.builder import Builder
    from wordsight.config import load_config

    reader = Builder(load_config(config, changes, trust_remote_code)).reader()
    if not hasattr(reader, "identity") or not hasattr(reader, "to"):
        raise InputError(
            f"{config}: its reader, {type(reader).__name__}, has no network, so it makes no features",
            'train on the pictures as they are, or take [reader] name = "backbone"',
        )
    return reader


def _backbone(model: str | None, store: Path, **settings: Any) -> Any:
    """The backbone that was asked for; for a store that exists already, the one that made it."""
    from wordsight.read.pictures.backbone_reader import BackboneReader

    if model is not None:
        return BackboneReader(model, **settings)
    if not (store / "meta.json").is_file():
        raise typer.BadParameter("give a backbone with --model, or a configuration with --config")
    from wordsight.read.features.store import FeatureStore

    return BackboneReader(**FeatureStore.open(store).settings)


def _cells(grid: str, option: str = "--grid") -> Any:
    parts = grid.split(",")
    if wrong := [part for part in parts if part != "full" and not part.isdecimal()]:
        raise typer.BadParameter(f'{option} {grid}: "{wrong[0]}" is neither full nor a number of cells')
    cells = ["full" if part == "full" else int(part) for part in parts]
    return cells if len(cells) > 1 else cells[0]


def _device(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def check(
    path: Annotated[
        Path, typer.Argument(help="A precomputed folder, a caption file, or a folder of pictures.")
    ],
    vocabulary: Annotated[
        Path | None, typer.Option(help="Also count words that this vocabulary does not have.")
    ] = None,
    pictures: Pictures = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    split_column: SplitColumn = None,
    split: Division = None,
    split_seed: DivisionSeed = None,
    as_json: Json = False,
) -> None:
    """Say what a data set holds, what is wrong in it, where, and what to do."""
    from wordsight.read.validate.check import check as run

    columns = {"image_column": image_column, "caption_column": caption_column, "split_column": split_column}
    report = run(path, vocabulary=vocabulary, pictures=pictures, split=split, seed=split_seed, **columns)
    typer.echo(to_json(report.to_dict()) if as_json else report.to_text())
    if not report.ok:
        raise typer.Exit(1)


def world(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    images: Annotated[
        int, typer.Option(help="Pictures to train on; 500 each come for validation and test.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same world.")] = 0,
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


def build(
    source: Annotated[Path, typer.Argument(metavar="TEXTS|DATA", help="One text per line, or a data set.")],
    out: Annotated[Path, typer.Option(help="The JSON to write, in SCAN's layout.")],
    min_count: Annotated[int, typer.Option(help="Rarer words become <unk>.")] = 4,
    word_splitter: Annotated[
        str, typer.Option(help="How texts are cut into words: treebank, karpathy, cmpl or cmpl-cased.")
    ] = "treebank",
    splits: Splits = "train",
    caption_column: CaptionColumn = None,
    split_column: SplitColumn = None,
    split: Division = None,
    split_seed: DivisionSeed = None,
) -> None:
    """Learn a vocabulary from the texts of a data set or of a text file; published ones count train,val."""
    from wordsight.read.datasets.detect_format import texts_of
    from wordsight.read.text.vocabulary import Vocabulary

    columns = {"caption_column": caption_column, "split_column": split_column}
    texts = texts_of(source, split_names(splits), split=split, seed=split_seed, **columns)
    vocabulary = Vocabulary.learn(texts, word_splitter=word_splitter, min_count=min_count)
    vocabulary.save(out)
    typer.echo(f"{out}: {len(vocabulary)} words")
