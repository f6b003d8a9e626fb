"""Measured cells -> a table of systems with losses: means over seeds, intervals, tested differences."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wordsight.evaluation.bootstrap import Difference, QueryHits, difference, interval
from wordsight.evaluation.recall import RESAMPLES
from wordsight.experiments.grid import Cell, Grid
from wordsight.experiments.run_cell import MEASURED, RANKS
from wordsight.files.json_text import rounded

RECALLS = [f"{way} R@{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)]


@dataclass(frozen=True, eq=False)
class SystemRow:
    """One system (with one loss) over its seeds."""

    name: str
    cells: Sequence[Mapping[str, Any]]  # measured.json of each seed
    wanted: int  # how many seeds the grid asks for
    interval: tuple[float, float]  # of the mean rsum over the seeds, 95 %
    against: Difference | None  # None: this row is the reference

    def mean(self, key: str) -> float:
        return float(np.mean([value(cell, key) for cell in self.cells]))

    def spread(self, key: str) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        values = [value(cell, key) for cell in self.cells]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def pointing(self) -> float | None:
        found = [cell["pointing"]["share"] for cell in self.cells if cell["pointing"]]
        return 100 * float(np.mean(found)) if found else None

    @property
    def resumed(self) -> bool:
        return any(cell["training_seconds"]["went_on"] for cell in self.cells)


def value(cell: Mapping[str, Any], key: str) -> float:
    """A number of measured.json by the name that the table gives it."""
    if key == "rsum":
        return float(cell["recalls"]["rsum"])
    if key in RECALLS:
        way, recall = key.split(" ")
        return float(cell["recalls"][way][recall])
    if key == "minutes":
        return float(cell["training_seconds"]["cpu"]) / 60
    return math.nan if cell[key] is None else float(cell[key])


def read_rows(grid: Grid, cells: Sequence[Cell], home: Path) -> list[SystemRow]:
    """The rows of all cells that have been measured so far, in the grid's order."""
    facts: dict[str, list[Mapping[str, Any]]] = {}
    hits: dict[str, list[QueryHits]] = {}
    for cell in cells:
        folder = cell.folder(home)
        if (folder / MEASURED).is_file():
            facts.setdefault(cell.name, []).append(
                json.loads((folder / MEASURED).read_text(encoding="utf-8"))
            )
            hits.setdefault(cell.name, []).append(_hits(folder / RANKS))
    means = {name: QueryHits.mean(seeds) for name, seeds in hits.items()}
    reference = means.get(grid.reference)
    order = [name for name in dict.fromkeys(cell.name for cell in cells) if name in facts]
    rows = []
    for name in order:
        compared = None if reference is None or name == grid.reference else difference(means[name], reference)
        rows.append(SystemRow(name, facts[name], len(grid.seeds), interval(means[name]), compared))
    return rows


def _hits(path: Path) -> QueryHits:
    with np.load(path) as saved:
        return QueryHits.of(
            *(saved[key] for key in ("images", "texts", "image_identities", "text_identities"))
        )


def to_markdown(grid: Grid, rows: Sequence[SystemRow]) -> str:
    """For a README: recalls as mean ± spread over the seeds."""
    head = ["", "i2t R@1", "R@5", "R@10", "t2i R@1", "R@5", "R@10", "rsum", "95 %", "against the reference"]
    head += ["training, CPU min", "peak MB", "million pairs scored/s"]
    pointing = any(row.pointing is not None for row in rows)
    head += ["pointing %"] if pointing else []
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        fields = [
            _name(row),
            *(_mean_and_spread(row, key) for key in RECALLS),
            f"**{_mean_and_spread(row, 'rsum')}**",
        ]
        fields += [f"{row.interval[0]:.1f}-{row.interval[1]:.1f}", _difference(row)]
        fields += [("≥ " if row.resumed else "") + f"{row.mean('minutes'):.1f}"]
        memory = row.mean("peak_memory_mb")
        fields += ["" if math.isnan(memory) else f"{memory:.0f}"]
        fields += [f"{row.mean('pairs_scored_per_second') / 1e6:.2f}"]
        if pointing:
            fields.append("" if row.pointing is None else f"{row.pointing:.1f}")
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join([*lines, "", _legend(grid, rows)]) + "\n"


def _name(row: SystemRow) -> str:
    missing = f" ({len(row.cells)} of {row.wanted} seeds)" if len(row.cells) < row.wanted else ""
    return row.name + missing


def _mean_and_spread(row: SystemRow, key: str) -> str:
    spread = row.spread(key)
    return f"{row.mean(key):.1f}" + ("" if spread is None else f" ± {spread:.1f}")


def _difference(row: SystemRow) -> str:
    if row.against is None:
        return "reference"
    low, high = row.against.ends
    least = 2 / RESAMPLES  # what a single resample that turns the sign would make of it
    chance = f"p {row.against.p:.3f}" if row.against.p else f"p < {least:.3f}"
    return f"{row.against.rsum:+.1f} ({low:+.1f} to {high:+.1f}), {chance}"


def _legend(grid: Grid, rows: Sequence[SystemRow]) -> str:
    cell = rows[0].cells[0]
    recalls, seeds = cell["recalls"], ", ".join(map(str, grid.seeds))
    return (
        f"Protocol {recalls['protocol']}: {recalls['images']} images, {recalls['texts']} texts, "
        f"{grid.split}; seeds {seeds}; mean ± standard deviation over seeds. 95 % and p: bootstrap over "
        "images with their texts, paired with the reference. They cover the choice of queries, for these "
        f"trained models; {_seeds_note(grid)} "
        f"Pairs scored: encoded sets on {cell['threads']} thread(s), encoding not counted."
    )


def _seeds_note(grid: Grid) -> str:
    if len(grid.seeds) == 1:
        return (
            "they do not cover the seed: with one run of each, a small p does not say that one system is "
            "better than another. --seeds 3 shows how far runs of one system differ."
        )
    return "how far runs of one system differ is the ± of its seeds."


def to_csv(rows: Sequence[SystemRow]) -> str:
    """One line per row, numbers as JSON has them."""
    keys = [*RECALLS, "rsum", "minutes", "peak_memory_mb", "pairs_scored_per_second", "weights"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["rsum low", "rsum high", "difference", "difference low", "difference high", "p", "pointing"]
    writer.writerow(["row", "seeds", *(f"{key}{kind}" for key in keys for kind in ("", " sd")), *ends])
    for row in rows:
        against = row.against
        difference = [None] * 4 if against is None else [against.rsum, *against.ends, against.p]
        numbers = [number for key in keys for number in (row.mean(key), row.spread(key))]
        measured = rounded([*numbers, *row.interval, *difference, row.pointing])
        writer.writerow([row.name, len(row.cells), *measured])
    return text.getvalue()
