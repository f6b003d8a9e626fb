"""The command export: a model folder in, its ONNX export beside the weights."""

from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli.choose_export import silence_exporter
from wordsight.cli.stderr import say
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight export runs/chan-f30k-gru --int8")(export)


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A run, a saved model, or an index, whose model is exported."),
    ],
    form: Annotated[str, typer.Option("--format", help="The format to write: onnx.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write encoders with 8-bit weights: a quarter of the size.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write a copy of the model with the export there; by default the model gets it."),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Export both encoders of a model, so that it searches and indexes without torch.

    Its folder gets onnx/: the image side, the text side and the reader's network as ONNX, and a JSON. Scores
    are compared with torch's first; an export that differs by more than 1e-4 is not written.
    """
    silence_exporter()
    from wordsight.exporters.onnx_export import export_onnx
    from wordsight.files.index_folder import META, MODEL
    from wordsight.runs.opening import matcher_folder

    if form != "onnx":
        raise InputError(f"--format {form} is unknown; known: onnx")
    is_index = (Path(model) / META).is_file()
    home = Path(model) / MODEL if is_index else matcher_folder(model)
    report = export_onnx(home, out, int8, trust_remote_code)
    say(report.to_text())
    typer.echo(report.folder)
