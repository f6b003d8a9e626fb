"""Options of the command index: caption files, how pictures are read and stored, upkeep."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.data_options import CaptionColumn, ImageColumn
from wordsight.cli.detector_options import DetectorOptions
from wordsight.cli.shared_options import Device, Exclude, FollowLinks

if TYPE_CHECKING:
    from wordsight.search.index.caption_file import CaptionFile
    from wordsight.search.index.encoder import Encoder
    from wordsight.search.index.interface import SearchableIndex


@dataclass(frozen=True)
class CaptionOptions:
    """Caption files of the indexed pictures, and their columns."""

    captions: Annotated[
        list[Path] | None,
        typer.Option(help="A caption file of the pictures, to filter by its words. Repeatable."),
    ] = None
    pictures: Annotated[Path | None, typer.Option(help="Folder of the pictures that --captions names.")] = (
        None
    )
    image_column: ImageColumn = None
    caption_column: CaptionColumn = None

    def files(self) -> "list[CaptionFile]":
        from wordsight.search.index.caption_file import CaptionFile

        return [
            CaptionFile(file, self.pictures, self.image_column, self.caption_column)
            for file in self.captions or ()
        ]


@dataclass(frozen=True)
class UpdateOptions(DetectorOptions):
    """How an index is brought up to date; the detector is that of a new index."""

    exclude: Exclude = None
    follow_links: FollowLinks = None
    precision: Annotated[
        str | None, typer.Option(help="Precision of a new index: float16 (the default) or int8.")
    ] = None
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures per batch; an interruption loses at most one batch.")
    ] = 32
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode pictures.")] = 4
    device: Device = "auto"
    drop_all: Annotated[
        bool, typer.Option("--drop-all", help="Delete the items of a folder that is missing or empty.")
    ] = False
    shards: Annotated[
        int, typer.Option(min=0, help="Of a new index on a server with Citus: spread it over so many shards.")
    ] = 0
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|HOST:PORT",
            help="Encode by processes of Ray, on this machine or on a running cluster; needs wordsight[ray].",
        ),
    ] = None
    ray_actors: Annotated[
        int, typer.Option(min=0, help="Processes of --ray; 0: one per GPU, or else one per processor.")
    ] = 0
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            help="Take what `features extract` stored of these pictures; only others are read.",
        ),
    ] = None

    export: Annotated[
        bool,
        typer.Option(
            "--export/--no-export",
            help="Leave an ONNX export of the model in the index, once: searches then start without torch. "
            "WORDSIGHT_NO_EXPORT=1 switches it off too.",
        ),
    ] = True

    def check(self) -> None:
        super().check()
        if self.features is not None and self.ray is not None:
            raise typer.BadParameter("--features reads on this machine, --ray on others: give one of them")

    @contextmanager
    def encoder(self, opened: "SearchableIndex") -> "Iterator[Encoder | None]":
        """The encoder of --ray or --features for the block; None without them."""
        if self.features is not None:
            from wordsight.read.features.store import FeatureStore
            from wordsight.search.index.stored_encoder import StoredEncoder

            yield StoredEncoder(opened.matcher, FeatureStore.open(self.features))
            return
        if self.ray is None:
            yield None
            return
        from wordsight.search.index.ray_encoder import RayEncoder

        made = RayEncoder(
            opened.model_folder, self.ray, self.ray_actors, self.device, opened.trust_remote_code
        )
        with closing(made):
            yield made


@dataclass(frozen=True)
class UpkeepOptions:
    """Work on an index that needs no pictures, done in the order of the fields."""

    copy_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="INDEX", help="Copy this local index to a server; reads no picture."),
    ] = None
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop damaged items, so that indexing makes them again.")
    ] = False
    compact: Annotated[
        bool, typer.Option("--compact", help="Free the space of deleted and changed items.")
    ] = False
    engine: Annotated[
        str | None,
        typer.Option(
            help="Engine to index for: regions (for large indexes; needs wordsight[faiss]), exact; auto, the "
            "default, decides by size."
        ),
    ] = None
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the integrity of the index; exit code 1 if a check fails.")
    ] = False
    stats: Annotated[bool, typer.Option("--stats", help="Print the sizes and counts of the index.")] = False

    @property
    def any(self) -> bool:
        return any((self.copy_from, self.repair, self.compact, self.engine, self.verify, self.stats))
