"""The command that examines this machine and installation: facts, what is wrong, and what to do about it."""

from typing import Annotated, Any

import typer

from wordsight.cli.open_index import index_place
from wordsight.cli.stderr import say
from wordsight.files.json_text import to_json

EPILOG = "Example: wordsight doctor photos.index"
BUG_REPORT = (
    "With a bug report, send: the output of wordsight doctor --json; the command, and what it prints with "
    "--traceback; for a wrong result, also the model's config.json. The report names no picture and no token."
)


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(doctor)


def doctor(
    indexes: Annotated[
        list[Any] | None,  # folders, and addresses of indexes on a server
        typer.Argument(metavar="[INDEX]...", parser=index_place, help="Also examine these indexes."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
    network: Annotated[
        bool,
        typer.Option(
            "--network/--no-network", help="Ask whether the model hub answers: two seconds at most."
        ),
    ] = True,
) -> None:
    """Examine processor, GPU, versions, extras, caches, disk, hub access, and the health of an index.

    "!" marks a problem and "-" a remark; the exit code is 1 if there is a problem.
    """
    from wordsight.doctor.examination import examine

    report = examine(indexes or (), network)
    typer.echo(to_json(report.to_dict()) if as_json else report.to_text())
    count = len(report.problems)
    say(f"\n{count or 'no'} problem{'' if count == 1 else 's'}. {BUG_REPORT}")
    if count:
        raise typer.Exit(1)
