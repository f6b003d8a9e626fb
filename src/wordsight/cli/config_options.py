"""Options of commands that read a configuration: the file, changes of its settings, a split of its data."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

SPLIT_NAMES = {"val": "validation", "dev": "validation"}
SPLITS = ("train", "validation", "test")

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="TABLE.KEY=VALUE",
        help="Change one setting, or with nothing after = take it out; may be given several times.",
    ),
]
ConfigFile = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A TOML file, or the name of one in configs/.")
]
DataConfig = Annotated[
    str | None, typer.Option(help="Configuration whose [data] is used, if not the run's own.")
]
Split = Annotated[str, typer.Option(help="train, validation or test.")]


@dataclass(frozen=True)
class ConfigOptions:
    """The configuration whose data are used, and changes of it."""

    config: DataConfig = None
    changes: Changes = None


@dataclass(frozen=True)
class DataOptions(ConfigOptions):
    """A split of the data of a configuration."""

    split: Split = "test"


def split_name(given: str) -> Any:
    """The name of a split; val and dev are validation."""
    name = SPLIT_NAMES.get(given, given)
    if name not in SPLITS:
        raise typer.BadParameter(f"--split {name}; known: {', '.join(SPLITS)}")
    return name
