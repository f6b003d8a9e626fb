"""Code -> the reference pages of the site: commands, configuration, REST interface, Python.

They are made whenever the site is built, so they cannot differ from the code.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any


def pages() -> dict[str, str]:
    """The text of each page, by its file name."""
    made = {"cli.md": cli(), "config.md": config(), "rest.md": rest(), "python.md": python()}
    return {name: re.sub(r"[ \t]+\n", "\n", text).strip() + "\n" for name, text in made.items()}


def cell(text: Any) -> str:
    """Text of a table's cell."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def cli() -> str:
    import typer.main

    from wordsight.cli.main import app

    parts = ["# Commands\n\nEvery command also has `--help`. `wordsight --version` prints the version.\n"]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for full, one in _leaves(name, command):
            parts.append("\n".join(_command(full, one)))
    return "\n\n".join(parts)


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
    for key, one in (inner or {}).items():
        yield from _leaves(f"{name} {key}", one)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    yield f"## wordsight {name}\n\n{inspect.cleandoc(command.help or '')}\n"
    if command.epilog:
        yield f"{command.epilog.replace('Example: ', 'Example: `')}`\n"
    yield "| argument or option | default | meaning |\n|---|---|---|"
    for one in arguments:
        yield f"| `{cell(one.metavar or one.name.upper())}` | | {cell(getattr(one, 'help', '') or '')} |"
    for one in command.params:
        if one.param_type_name == "option" and not getattr(one, "hidden", False) and one.name != "help":
            flags = ", ".join(f"`{flag}`" for flag in [*one.opts, *one.secondary_opts])
            default = "" if one.default in (None, False, ()) or callable(one.default) else f"`{one.default}`"
            yield f"| {flags} | {cell(default)} | {cell(one.help or '')} |"


def config() -> str:
    from wordsight import registry
    from wordsight.config import SETTINGS, DataSplits

    parts = [
        "# Configuration\n\nA configuration is a TOML file. `wordsight config show NAME` prints one with "
        "every default written out. A table with a `name` is a part; its other keys are that part's "
        "settings. `--set table.key=value` changes one.\n"
    ]
    for name, table in {**SETTINGS, "data": DataSplits}.items():
        kind = "splits and features" if name == "data" else "settings"
        rows = [(field.name, field.default, field.type) for field in fields(table)]
        parts.append(f"## [{name}], {kind}\n\n{_settings(rows)}")
    for kind, names in registry.REGISTRY.items():
        for name in names:
            part = registry.find(kind, name)
            first = (inspect.getdoc(part) or "").split("\n\n")[0]
            found = registry.settings_of(part)
            rows = [(key, one.default, one.annotation) for key, one in found.items()]
            parts.append(f'## {kind}, name = "{name}"\n\n{cell(first)}\n\n{_settings(rows)}')
    return "\n\n".join(parts)


def _settings(rows: list[tuple[str, Any, Any]]) -> str:
    if not rows:
        return "No settings."
    lines = ["| setting | default | kind |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{key}` | {_default(value)} | {_kind(kind)} |" for key, value, kind in rows)]
    )


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty or type(value).__name__ == "_MISSING_TYPE":
        return "required"
    if callable(value) or is_dataclass(value):
        return ""
    return f"`{cell(value)}`" if str(value) else "empty"


def _kind(kind: Any) -> str:
    """A type without the names of modules."""
    text = kind.__name__ if isinstance(kind, type) else str(kind)
    limits = re.search(r"Limits\(least=(\S+), most=(\S+), words='(.*?)'\)", text)
    text = re.sub(r"typing\.Annotated\[(.*?), (Limits|OneOf).*\]", r"\1", text)
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).replace("typing.", "")
    if limits:
        least, most = (float(number) for number in limits.groups()[:2])
        text += f", from {least:.4g}" if least > 1e-300 else ", above 0"
        text += f" to {most:.4g}" if most < 1e15 else ""
    return cell(text)


def rest() -> str:
    from fastapi import FastAPI

    from wordsight.web import item_routes, search_routes

    app = FastAPI()
    for routes in (search_routes.router, item_routes.router):
        app.include_router(routes)
    schema = app.openapi()
    parts = [
        "# REST\n\n`wordsight serve` describes all of this, with every schema, in `/openapi.json` "
        "(OpenAPI 3.1).\n"
    ]
    for path, ways in schema["paths"].items():
        for way, one in ways.items():
            parts.append(
                f"## {way.upper()} {path}\n\n{cell(one.get('description') or one.get('summary', ''))}"
            )
            rows = [
                f"| `{given['name']}` | {'yes' if given.get('required') else ''} | "
                f"{cell(given.get('description') or given['schema'].get('description', ''))} |"
                for given in one.get("parameters", [])
            ]
            if rows:
                parts.append("\n".join(["| parameter | required | meaning |", "|---|---|---|", *rows]))
            parts.append("Answers: " + ", ".join(f"{code}" for code in one["responses"]))
    return "\n\n".join(parts)


def python() -> str:
    import wordsight

    parts = [
        "# Python\n\n`from wordsight import NAME`: these names are the public surface. Everything else may "
        "change between versions.\n"
    ]
    for name in wordsight.__all__:
        one = getattr(wordsight, name)
        parts.append(f"## {name}\n\n{_text(one)}")
        if inspect.isclass(one):
            rows = [f"| `{key}` | {cell(text)} |" for key, text in _methods(one)]
            if rows:
                parts.append("\n".join(["| method | what it does |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _text(one: Any) -> str:
    """The docstring as a block that keeps its lines."""
    text = inspect.getdoc(one) or ""
    return f"```text\n{text}\n```" if text and not text.startswith(one.__name__ + "(") else ""


def _methods(one: type) -> Iterator[tuple[str, str]]:
    for key, member in vars(one).items():
        text = inspect.getdoc(getattr(member, "__func__", member)) if not key.startswith("_") else None
        if text and (callable(member) or isinstance(member, classmethod | staticmethod | property)):
            yield key, text.split("\n\n")[0]
