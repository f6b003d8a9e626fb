"""The verbs of the command line, as the command lists them."""

from typing import Any

from wordsight.cli.main import app


def verbs() -> dict[str, Any]:
    import typer.main

    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {key}": value for key, value in inner.items()} if inner else {name: command}
    return found
