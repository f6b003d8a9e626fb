"""The rows of a comparison -> a picture: rsum with its interval, and every seed as a dot."""

from collections.abc import Sequence
from pathlib import Path

from wordsight.experiments.grid import Grid
from wordsight.experiments.table import SystemRow, value
from wordsight.files.atomic import atomic_file


def write_plot(path: Path, grid: Grid, rows: Sequence[SystemRow]) -> None:
    """A PNG; needs matplotlib (ModuleNotFoundError without it)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.1 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        low, high = row.interval
        reference = row.name == grid.reference
        axes.plot([low, high], [place, place], color="#9aa5b1", linewidth=7, solid_capstyle="butt", zorder=1)
        axes.plot(
            [row.mean("rsum")] * 2, [place - 0.28, place + 0.28], color="#1f2933", linewidth=2, zorder=2
        )
        seeds = [value(cell, "rsum") for cell in row.cells]
        axes.scatter(seeds, [place] * len(seeds), color="#c2410c" if reference else "#0b69a3", s=22, zorder=3)
    axes.set_yticks(
        range(len(rows)), [row.name + (" (reference)" * (row.name == grid.reference)) for row in rows]
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"rsum, {grid.split}: mean (line), each seed (dot), 95 % over queries (bar)")
    axes.grid(axis="x", color="#e4e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
