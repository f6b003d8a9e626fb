"""The option that allows parts from outside wordsight, and the folder that they are imported from."""

import os
import sys
from typing import Annotated

import typer


def search_this_folder(allowed: bool) -> bool:
    """Let modules of the current folder be imported, after all that are installed."""
    if allowed and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return allowed


TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        callback=search_this_folder,
        help="Import the parts from outside wordsight that a model or configuration names (module:Class).",
    ),
]
