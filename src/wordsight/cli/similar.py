"""The command similar: a picture and an index in, the pictures like it out."""

import time
from typing import Annotated

import typer

from wordsight.cli.choose_export import choose_export
from wordsight.cli.item_arguments import picture_or_id
from wordsight.cli.option_groups import with_options
from wordsight.cli.search_options import (
    FilterOptions,
    HitOptions,
    IndexOptions,
    IndexOrFolder,
    OutputOptions,
    searcher_of,
)
from wordsight.cli.show_hits import exit_if_nothing_matches, open_best, show_hits


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: wordsight similar photos.index dog.jpg --words "in the snow"')(
        with_options(similar)
    )


def similar(
    index: IndexOrFolder,
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A file, or the id of an item.")],
    *,
    words: Annotated[
        str | None, typer.Option(help="A sentence that the pictures should match too; operators count.")
    ] = None,
    weight: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of --words; the picture has the rest.")
    ] = 0.5,
    hits: HitOptions,
    filters: FilterOptions,
    output: OutputOptions,
    source: IndexOptions,
) -> None:
    """Find the pictures like a picture; with --words, those that also match a sentence."""
    choose_export([index], source.model, source.device, hits.engine)
    searcher = searcher_of(
        source.open(index), source.memory_mb, hits.false_positive_rate, hits.min_probability
    )
    started = time.perf_counter()
    query = picture_or_id(picture)
    found = searcher.similar(
        query, hits.top, hits.offset, filters.filters(), words, weight, hits.engine, hits.sort
    )
    show_hits(found, "pictures", time.perf_counter() - started, hits.strict, output)
    open_best(found, hits.strict, searcher, output)
    exit_if_nothing_matches(found, hits.strict)
