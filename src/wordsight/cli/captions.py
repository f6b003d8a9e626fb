"""The command captions: a picture and an index of texts in, the sentences that describe it out."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from wordsight.cli.choose_export import choose_export
from wordsight.cli.filter_options import filters_of
from wordsight.cli.item_arguments import picture_file
from wordsight.cli.open_index import index_at, index_place
from wordsight.cli.option_groups import with_options
from wordsight.cli.search_options import MemoryMb, OutputOptions, PageOptions, Text, searcher_of
from wordsight.cli.shared_options import Device
from wordsight.cli.show_hits import exit_if_nothing_matches, show_hits
from wordsight.cli.trust import TrustRemoteCode


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight captions sentences.index dog.jpg")(with_options(captions))


def captions(
    index: Annotated[Any, typer.Argument(metavar="INDEX", parser=index_place, help="An index of texts.")],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A file.")],
    *,
    hits: PageOptions,
    text: Text = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per hit.")] = False,
    memory_mb: MemoryMb = 256,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Find the sentences of an index of texts that describe a picture, best first."""
    choose_export([index], device=device)
    from wordsight.search.index.index import Index

    started = time.perf_counter()
    opened = (
        Index.open(index, trust_remote_code, device)
        if isinstance(index, Path)
        else index_at(index, trust_remote_code=trust_remote_code, device=device)
    )
    searcher = searcher_of(opened, memory_mb, hits.false_positive_rate, hits.min_probability)
    filters = filters_of(text=text)
    found = searcher.find_texts(picture_file(str(picture)), hits.top, hits.offset, filters)
    show_hits(found, "sentences", time.perf_counter() - started, hits.strict, OutputOptions(as_json))
    exit_if_nothing_matches(found, hits.strict)
