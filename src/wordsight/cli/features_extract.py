"""The command features extract: pictures in, a store of features, boxes and sizes of their regions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.config_options import Changes
from wordsight.cli.data_options import ImageColumn, Pictures
from wordsight.cli.detector_options import DetectorOptions
from wordsight.cli.shared_options import Device, Exclude, FollowLinks, NoLock
from wordsight.cli.stderr import say
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError
from wordsight.runtime.device import find_device
from wordsight.runtime.malloc import share_freed_memory
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.read.features.extract import Extraction

EPILOG = "Example: wordsight features extract photos/ --model facebook/dinov2-small --out features/"


@dataclass(frozen=True)
class ReaderOptions:
    """The reader of pictures: a backbone and its regions, or the one of a configuration."""

    model: Annotated[
        str | None, typer.Option(help="Backbone: a hub name or a folder; by default the one that made --out.")
    ] = None
    config: Annotated[
        str | None, typer.Option(help="Take the [reader] of this configuration instead of --model.")
    ] = None
    changes: Changes = None
    grid: Annotated[str, typer.Option(help="Cells along a side: full, 4, or several as 1,2,4.")] = "full"
    signed_sqrt: Annotated[bool, typer.Option(help="Signed square root of the features.")] = False
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the pictures in pixels; by default as the model was trained."),
    ] = None
    high_res_size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels of a second reading, for finer regions.")
    ] = None
    high_res_grid: Annotated[str | None, typer.Option(help="Cells of that reading, as in --grid.")] = None
    kinds_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the detector's kinds of things beside the features.")
    ] = 0.0

    def check(self) -> None:
        if self.model is not None and self.config is not None:
            raise typer.BadParameter(
                "give a backbone with --model, or a configuration with --config, and not both"
            )
        if self.changes and self.config is None:
            raise typer.BadParameter("--set changes a configuration; give one with --config")

    def backbone(self) -> dict[str, Any]:
        """Settings of the backbone reader."""
        finer = () if self.high_res_grid is None else _cells(self.high_res_grid, "--high-res-grid")
        return {
            "grid": _cells(self.grid, "--grid"),
            "signed_sqrt": self.signed_sqrt,
            "size": self.size,
            "high_res_size": self.high_res_size,
            "high_res_grid": finer,
            "kinds_weight": self.kinds_weight,
        }


@dataclass(frozen=True)
class PictureOptions:
    """Choice of the pictures, and batches of them."""

    pictures: Pictures = None
    image_column: ImageColumn = None
    exclude: Exclude = None
    follow_links: FollowLinks = None
    mirrored: Annotated[
        bool,
        typer.Option(
            "--mirrored",
            help="Store each picture mirrored as well, for training with flip_pictures. A reader with "
            "mirrored = true always does.",
        ),
    ] = False
    batch_size: Annotated[int, typer.Option(help="Pictures per batch.")] = 32
    device: Device = "auto"


def extract(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|DATA",
            help="A folder of pictures, hidden ones left out, or a caption file that names them.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The feature store; run again to go on or to add pictures.")],
    *,
    how: ReaderOptions,
    boxes: DetectorOptions,
    which: PictureOptions,
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Cut pictures into regions with a frozen pretrained backbone and store features, boxes and sizes."""
    share_freed_memory()
    from wordsight.read.datasets.detect_format import picture_paths
    from wordsight.read.pictures.walk import WalkNotes, WalkRules, left_out_text

    how.check()
    boxes.check()
    notes = WalkNotes()
    rules = WalkRules().changed(which.exclude, which.follow_links)
    paths, closed = picture_paths(
        source, rules, notes, pictures=which.pictures, image_column=which.image_column
    )
    settings, device = (
        how.backbone() | boxes.settings,
        find_device(which.device),
    )  # checked before anything is loaded
    if how.config is not None:
        reader = _configured_reader(how.config, how.changes or (), trust_remote_code)
    else:
        reader = _backbone(how.model, out, **settings)
    reader = reader.to(device)
    result = _extracted(reader, paths, out, which)
    skipped = [*closed, *result.skipped]
    typer.echo(f"{out}: {result.done} pictures stored, {result.reused} already there, {len(skipped)} skipped")
    if notes.left_out:
        say(left_out_text(notes.left_out))
    for path, reason in skipped:
        say(f"skipped {path}: {reason}")
    if skipped:
        raise typer.Exit(3)


def _extracted(reader: Any, paths: Sequence[Path], out: Path, which: PictureOptions) -> "Extraction":
    """Features of the pictures as they are, and mirrored where that is wanted."""
    from wordsight.read.features.extract import extract
    from wordsight.read.features.mirrored import OneWayReader
    from wordsight.read.features.store import MIRRORED

    with ProgressDisplay() as progress:
        if not which.mirrored and not reader.settings.get("mirrored"):
            return extract(reader, paths, out, which.batch_size, progress)
        result = extract(OneWayReader(reader, mirrored=False), paths, out, which.batch_size, progress)
        extract(OneWayReader(reader, mirrored=True), paths, out / MIRRORED, which.batch_size, progress)
    return result


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
    """The backbone of the options; without a model, the one that made the store."""
    from wordsight.read.pictures.backbone_reader import BackboneReader

    if model is not None:
        return BackboneReader(model, **settings)
    if not (store / "meta.json").is_file():
        raise typer.BadParameter("give a backbone with --model, or a configuration with --config")
    from wordsight.read.features.store import FeatureStore

    return BackboneReader(**FeatureStore.open(store).settings)


def _cells(grid: str, option: str) -> Any:
    parts = grid.split(",")
    if wrong := [part for part in parts if part != "full" and not part.isdecimal()]:
        raise typer.BadParameter(f'{option} {grid}: "{wrong[0]}" is neither full nor a number of cells')
    cells = ["full" if part == "full" else int(part) for part in parts]
    return cells if len(cells) > 1 else cells[0]
