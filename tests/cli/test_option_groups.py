"""A dataclass of options in the signature of a command becomes single options of that command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from wordsight.cli.option_groups import with_options


@dataclass(frozen=True)
class Paper:
    """Options of a sheet of paper."""

    width: Annotated[int, typer.Option(min=1, help="Width in millimetres.")]
    grain: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None
    fold: Annotated[bool, typer.Option("--fold/--flat", help="Fold it.")] = False


@dataclass(frozen=True)
class Ink:
    """Options of the ink."""

    colour: str = "black"


def application() -> tuple[typer.Typer, list[object]]:
    app, calls = typer.Typer(rich_markup_mode=None), list[object]()

    @app.command()
    @with_options
    def paint(
        path: Path,
        *,
        copies: Annotated[int, typer.Option("--copies", "-n")] = 1,
        paper: Paper,
        ink: Ink,
    ) -> None:
        """Paint a picture."""
        calls.append((path, copies, paper, ink))

    return app, calls


def test_the_command_gets_its_dataclasses_from_single_options() -> None:
    app, calls = application()
    words = ["a.png", "--width", "3", "--grain", "x", "--grain", "y", "--fold", "-n", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert calls == [(Path("a.png"), 2, Paper(3, ["x", "y"], True), Ink("black"))]


def test_limits_defaults_and_help_are_those_of_the_fields() -> None:
    app, calls = application()
    help_text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "Paint a picture." in help_text
    assert "Width in millimetres." in help_text
    for refused, reason in ((["a", "--width", "0"], "Invalid value for '--width'"), (["a"], "--width")):
        done = CliRunner().invoke(app, refused)
        assert done.exit_code == 2
        assert reason in done.output
    assert calls == []


def test_one_name_in_two_groups_is_an_error_of_the_program() -> None:
    @dataclass(frozen=True)
    class Other:
        width: int = 1

    def paint(paper: Paper, other: Other) -> None:
        """Never called."""

    paint.__annotations__ = {"paper": Paper, "other": Other, "return": None}
    with pytest.raises(TypeError, match="paint has the option width in two groups"):
        with_options(paint)
