"""The command that compares: a grid of systems, losses and seeds in, one table out."""

from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli.shared_options import Device, NoLock, say_written
from wordsight.cli.stderr import say
from wordsight.cli.trust import search_this_folder


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight compare systems-flickr8k --out runs/systems --jobs 2")(compare)


def compare(
    grid: Annotated[
        list[str],
        typer.Argument(
            metavar="GRID | CONFIG...",
            help="A grid file (TOML with [systems], perhaps [losses]) or a shipped one by name; or several "
            "configurations, one row each.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The comparison's folder; by default runs/ and the grid's name.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Run every cell with this many seeds: 0, 1, ...")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads per run.")] = 1,
    device: Device = "auto",
    no_lock: NoLock = False,  # noqa: ARG001
) -> None:
    """Train and measure every system with every loss and seed: R@K, tested differences, time, memory.

    Started again, it continues: measured cells are skipped, stopped ones resume. The table is printed as
    Markdown and written as table.md, table.csv and table.png.
    """
    from wordsight.experiments.grid import read_grid
    from wordsight.experiments.sweep import compare as run
    from wordsight.experiments.sweep import write_tables
    from wordsight.experiments.table import to_markdown

    home = out or Path("runs") / Path(grid[0]).stem
    search_this_folder(True)  # what is compared may name parts of one's own
    top, cells = read_grid(grid, seeds, trust_remote_code=True, device=device)
    failed = run(top, cells, home, jobs, threads, say)
    rows = write_tables(top, cells, home, say)
    if rows:
        typer.echo(to_markdown(top, rows), nl=False)
        say_written("tables", home)
    for reason in failed:
        say(f"failed: {reason}")
    if failed:
        raise typer.Exit(1)
