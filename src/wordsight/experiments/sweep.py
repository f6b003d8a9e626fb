"""The cells of a comparison -> runs, several at once, and the table written anew after each of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from wordsight.experiments.grid import Cell, Grid
from wordsight.experiments.plot import write_plot
from wordsight.experiments.run_cell import is_done, run_cell
from wordsight.experiments.table import SystemRow, read_rows, to_csv, to_markdown
from wordsight.files.atomic import atomic_file

Say = Callable[[str], None]


def compare(grid: Grid, cells: Sequence[Cell], home: Path, jobs: int, threads: int, say: Say) -> list[str]:
    """Run every cell that is not measured yet, ``jobs`` at once; what failed, one line each.

    A cell that fails does not stop the others. ``home`` gets table.md, table.csv and table.png, whole after
    every cell. Started again, it goes on: finished cells are kept, a stopped one resumes its training.
    """
    waiting = [cell for cell in cells if not is_done(cell, cell.folder(home))]
    say(f"{len(cells)} runs, {len(cells) - len(waiting)} of them done before; {home}")
    write_tables(grid, cells, home, say)
    failed: list[str] = []
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        running = {pool.submit(run_cell, cell, home, grid.split, threads): cell for cell in waiting}
        try:
            for done, future in enumerate(as_completed(running), 1):
                cell, error = running[future], future.exception()
                if error is not None:
                    failed.append(str(error))
                say(f"{done}/{len(waiting)} {cell.name}, seed {cell.seed}: {error or 'measured'}")
                write_tables(grid, cells, home, say)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def write_tables(grid: Grid, cells: Sequence[Cell], home: Path, say: Say) -> list[SystemRow]:
    """table.md, table.csv and table.png of what has been measured so far."""
    rows = read_rows(grid, cells, home)
    if rows:
        for name, text in (("table.md", to_markdown(grid, rows)), ("table.csv", to_csv(rows))):
            with atomic_file(home / name) as file:
                file.write(text.encode())
        try:
            write_plot(home / "table.png", grid, rows)
        except ModuleNotFoundError as error:
            say(f"no table.png: it needs the package {error.name} (pip install 'wordsight[plots]')")
    return rows
