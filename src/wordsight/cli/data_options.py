"""Options of every command that reads a data set: its pictures, its columns, its splits."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

Pictures = Annotated[
    Path | None,
    typer.Option("--pictures", help="Folder of the pictures, if not that of the caption file."),
]
ImageColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of the pictures in a table, if its name is not a usual one."),
]
CaptionColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column of the captions in a table, or key in WebDataset's .json."),
]
SplitColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of the splits in a table (train, val, test).")
]
Division = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="TRAIN/VAL/TEST",
        help="Divide data without splits at random, picture by picture: 80/10/10.",
    ),
]
DivisionSeed = Annotated[
    int | None, typer.Option("--split-seed", help="Seed of the division by --split (0 by default).")
]
Splits = Annotated[
    str,
    typer.Option(help="Splits whose texts count, as train,val; data without splits counts whole."),
]


@dataclass(frozen=True)
class DatasetOptions:
    """How a data set is read: its pictures, its columns, its splits."""

    pictures: Pictures = None
    image_column: ImageColumn = None
    caption_column: CaptionColumn = None
    split_column: SplitColumn = None
    split: Division = None
    split_seed: DivisionSeed = None

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of ``open_dataset``, and keys of [data]."""
        return {
            "pictures": self.pictures,
            "image_column": self.image_column,
            "caption_column": self.caption_column,
            "split_column": self.split_column,
            "split": self.split,
            "seed": self.split_seed,
        }

    def changes(self) -> list[str]:
        """The options that were given, as changes of [data]."""
        return changes_of(**self.settings())


def changes_of(**settings: Any) -> list[str]:
    """The settings that were given, as changes of a configuration's [data]."""
    return [
        f"data.{name}={value if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)}"
        for name, value in settings.items()
        if value is not None
    ]


def split_names(splits: str) -> list[str]:
    """The names in "train,val"."""
    names = [name.strip() for name in splits.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter(f"--splits {splits!r} names no split; for instance train,val")
    return names
