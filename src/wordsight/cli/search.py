"""The command search: a sentence and an index in, the pictures that match it out."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.choose_export import choose_export
from wordsight.cli.option_groups import with_options
from wordsight.cli.search_options import (
    FilterOptions,
    HitOptions,
    IndexOptions,
    IndexOrFolder,
    OutputOptions,
    roots_of,
    searcher_of,
)
from wordsight.cli.shared_options import say_written
from wordsight.cli.show_hits import exit_if_nothing_matches, open_best, show_hits
from wordsight.cli.stderr import say

if TYPE_CHECKING:
    from wordsight.search.results import Hits
    from wordsight.search.searcher import Searcher


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: wordsight search photos.index "a dog +running -person" --strict')(
        with_options(search)
    )


def search(
    index: IndexOrFolder,
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY",
            help='A sentence. +word must be found, -word must not, word^2 counts twice, "as is".',
        ),
    ],
    *,
    hits: HitOptions,
    filters: FilterOptions,
    explain: Annotated[
        Path | None,
        typer.Option(help="Write why: .html, a page of all hits; .png, the best hit with its boxes."),
    ] = None,
    output: OutputOptions,
    source: IndexOptions,
) -> None:
    """Find the pictures that a sentence describes, best first, with the words that each one shows.

    Those that match come first; a line ends them. Put -- before a query that begins with a minus.
    """
    choose_export([index], source.model, source.device, hits.engine, reads_pictures=False)
    searcher = searcher_of(
        source.open(index), source.memory_mb, hits.false_positive_rate, hits.min_probability
    )
    started = time.perf_counter()
    found = searcher.find_images(query, hits.top, hits.offset, filters.filters(), hits.engine, hits.sort)
    if explain is not None:
        _explain(explain, query, found, searcher, output)
    show_hits(found, "pictures", time.perf_counter() - started, hits.strict, output)
    open_best(found, hits.strict, searcher, output)
    exit_if_nothing_matches(found, hits.strict)


def _explain(path: Path, query: str, hits: "Hits", searcher: "Searcher", output: OutputOptions) -> None:
    from wordsight.cli.explanation_files import explain_hits

    if not hits.hits:
        say(f"no hit to explain: {path} is not written")
        return
    roots = roots_of(searcher, output.root)
    explain_hits(path, query, hits, lambda hit: searcher.explain(query, hit.item.id), roots)
    say_written("explanation", path)
