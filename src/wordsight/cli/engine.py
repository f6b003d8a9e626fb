"""The command engine: a data folder in, a database server for indexes that runs on this machine out."""

from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli.stderr import say

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Data folder of the server.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Run a PostgreSQL server with pgvector on this machine, for indexes with several writers.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command(epilog="Example: wordsight engine start ~/engine")(start)
    group.command(epilog="Example: wordsight engine stop ~/engine")(stop)
    group.command(epilog="Example: wordsight engine status ~/engine")(status)
    app.add_typer(group, name="engine")


def start(folder: Folder) -> None:
    """Start the server, made at the first start, and print its URL: the place of an index."""
    from wordsight.search.postgres import local_server

    typer.echo(local_server.start(folder))
    say(f"running until: wordsight engine stop {folder}")


def stop(folder: Folder) -> None:
    """Stop the server; what was committed stays."""
    from wordsight.search.postgres import local_server

    say("stopped" if local_server.stop(folder) else "it was not running")


def status(folder: Folder) -> None:
    """Print the URL of the running server; exit code 1 if it does not run."""
    from wordsight.search.postgres import local_server

    url = local_server.status(folder)
    if url is None:
        say(f"not running; start it: wordsight engine start {folder}")
        raise typer.Exit(1)
    typer.echo(url)
