"""Hits -> what a search command prints, opens and returns as exit code."""

import os
import sys
from typing import TYPE_CHECKING

import typer

from wordsight.cli.search_options import OutputOptions, roots_of
from wordsight.cli.stderr import say

if TYPE_CHECKING:
    from wordsight.search.results import Hit, Hits
    from wordsight.search.searcher import Searcher

NOTHING_MATCHES = 5  # the exit code of --strict when nothing matches


def show_hits(hits: "Hits", kind: str, seconds: float, strict: bool, output: OutputOptions) -> None:
    """Hits to stdout, their number and notes on the query to stderr. ``kind``: "pictures" or "sentences"."""
    from wordsight.cli.hits_output import notes, summary

    shown = _shown(hits, strict)
    if output.null:
        sys.stdout.flush()
        typer.echo(b"".join(os.fsencode(hit.item.path) + b"\0" for hit in shown), nl=False)
    else:
        _print(hits, shown, output.as_json)
    for line in (summary(hits, seconds, kind), *notes(hits)):
        say(line)


def open_best(hits: "Hits", strict: bool, searcher: "Searcher", output: OutputOptions) -> None:
    """Open the first hit that is shown, if --open was given."""
    shown = _shown(hits, strict)
    if output.open_best and shown:
        typer.launch(str(roots_of(searcher, output.root).resolve(shown[0].item.path)))


def exit_if_nothing_matches(hits: "Hits", strict: bool) -> None:
    """End with exit code 5 under --strict."""
    if strict and hits.nothing_matches:
        raise typer.Exit(NOTHING_MATCHES)


def _shown(hits: "Hits", strict: bool) -> "list[Hit]":
    return [hit for hit in hits.hits if hit.relevant or not strict]


def _print(hits: "Hits", shown: "list[Hit]", as_json: bool) -> None:
    """Paths need not be text: they are written with the bytes that they have."""
    from dataclasses import replace

    from wordsight.cli import hits_output

    if as_json:
        lines = [hits_output.as_json(hit, n) for n, hit in enumerate(shown, start=hits.offset + 1)]
    else:
        lines = list(hits_output.table(replace(hits, hits=tuple(shown))))
    for line in lines:
        typer.echo(os.fsencode(line))
