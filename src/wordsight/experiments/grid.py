"""A grid file, or the names of configurations -> the cells of a comparison: one run each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wordsight.config import Config, configs_folder, load_config
from wordsight.errors import InputError
from wordsight.files.toml import changed, read_tables
from wordsight.registry import instantiate, nearest
from wordsight.registry.settings import settings_of
from wordsight.runtime.device import find_device

OWN = ("config",)  # of a system: what it starts from instead of the grid's base
AXES = ("systems", "losses")


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: a system with a loss and a seed."""

    system: str
    loss: str  # "" where the grid names no losses
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Name of the table row; all seeds share it."""
        return f"{self.system}, {self.loss}" if self.loss else self.system

    def folder(self, home: Path) -> Path:
        return home / "cells" / _file_name(self.name) / f"seed-{self.seed}"


@dataclass(frozen=True)
class Grid:
    """The top of a grid file: what every cell starts from, and how often each is run."""

    base: str = ""  # a configuration; a system may name another one as `config`
    seeds: Sequence[int] = (0,)
    split: str = "test"
    reference: str = ""  # the row that the others are compared with; the first one if left out


def read_grid(
    names: Sequence[str],
    seeds: int | None = None,
    trust_remote_code: bool = False,
    device: str = "auto",
) -> tuple[Grid, list[Cell]]:
    """The cells of one grid file (a TOML with [systems]), or of several configurations by name.

    ``seeds`` runs every cell with the seeds 0, 1, ... instead of those of the file. Cells come seed by seed,
    so that a comparison that is stopped early has run every system equally often. ``trust_remote_code`` lets
    the configurations name parts from outside wordsight. ``device`` replaces their own, unless it is "auto".
    """
    grid, systems, losses = _read(names)
    if seeds is not None:
        grid = replace(grid, seeds=tuple(range(seeds)))
    if not grid.seeds:
        raise InputError("seeds = []; a comparison needs at least one seed")
    cells = [
        Cell(system, loss, seed, _config(grid, changes, losses.get(loss, {}), seed, trust_remote_code))
        for seed in grid.seeds
        for system, changes in systems.items()
        for loss in losses or ("",)
    ]
    if device != "auto":
        find_device(device)  # an error comes before the first run
        cells = [replace(cell, config=_moved(cell.config, device)) for cell in cells]
    _must_be_apart(cells)
    rows = list(dict.fromkeys(cell.name for cell in cells))
    if grid.reference and grid.reference not in rows:
        raise InputError(
            f'reference = "{grid.reference}" is no row{nearest(grid.reference, rows)}; '
            f"known: {'; '.join(rows)}"
        )
    return replace(grid, reference=grid.reference or rows[0]), cells


def _moved(config: Config, device: str) -> Config:
    return replace(config, tables=changed(config.tables, {"training": {"device": device}}))


Named = Mapping[str, Mapping[str, Any]]


def _read(names: Sequence[str]) -> tuple[Grid, Named, Named]:
    path = Path(names[0])
    shipped = configs_folder() / "grids" / f"{names[0]}.toml"
    path = shipped if not path.is_file() and shipped.is_file() else path
    tables = read_tables(path) if len(names) == 1 and path.is_file() else {}
    if "systems" not in tables:
        return Grid(), _by_stem(names), {}
    top = {key: value for key, value in tables.items() if key not in AXES}
    known = [*settings_of(Grid), *AXES]
    for key in top:
        if key not in known:
            raise InputError(
                f"{path}: {key} is no part of a grid{nearest(key, known)}; known: {', '.join(known)}"
            )
    grid: Grid = instantiate(Grid, str(path), top)
    for axis in AXES:
        for name, table in tables.get(axis, {}).items():
            if not isinstance(table, Mapping):
                raise InputError(f"{path}: [{axis}] {name} = {table!r}; expected a table of changes")
    return grid, tables["systems"], tables.get("losses", {})


def _by_stem(names: Sequence[str]) -> Named:
    """Configurations as systems."""
    systems: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if Path(name).stem in systems:
            first = systems[Path(name).stem]["config"]
            raise InputError(
                f"{first} and {name} would be one row, {Path(name).stem}; rename one of the files"
            )
        systems[Path(name).stem] = {"config": name}
    return systems


def _must_be_apart(cells: Sequence[Cell]) -> None:
    """Names that differ in signs alone would share a folder, and so a result."""
    known: dict[Path, Cell] = {}
    for cell in cells:
        other = known.setdefault(cell.folder(Path()), cell)
        if other is not cell:
            raise InputError(
                f'"{other.name}" and "{cell.name}", seed {cell.seed}, would have one folder, '
                f"{cell.folder(Path())}; tell names apart by letters or digits, and give every seed once"
            )


def _config(
    grid: Grid, system: Mapping[str, Any], loss: Mapping[str, Any], seed: int, trust_remote_code: bool
) -> Config:
    start = system.get("config", grid.base)
    if not start:
        raise InputError("the grid names no base, and a system no config: which configuration is changed?")
    config = load_config(start, trust_remote_code=trust_remote_code)
    tables = changed(config.tables, {key: value for key, value in system.items() if key not in OWN})
    tables = changed(tables, {"loss": loss} if loss else {})
    return replace(config, tables=changed(tables, {"training": {"seed": seed}}))


def _file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
