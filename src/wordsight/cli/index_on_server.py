"""The command index for an index on a server: made, opened to be written, or copied there."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wordsight.cli.index_options import UpdateOptions
from wordsight.errors import InputError
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.search.index.interface import SearchableIndex
    from wordsight.search.places import Place, ServerAddress


def server_to_write(
    out: "ServerAddress", model: str | None, kind: str, how: UpdateOptions, trust_remote_code: bool
) -> "SearchableIndex":
    """The index at this address, made if it is not there."""
    from wordsight.runs.opening import matcher_folder
    from wordsight.search.places import server_index

    kind_of_index = server_index(out)
    if not kind_of_index.is_there(out):
        if model is None:
            raise typer.BadParameter(f"{out} is not there yet: give the model that makes it with --model")
        return kind_of_index.create(out, matcher_folder(model), kind, how.shards, trust_remote_code)
    opened = kind_of_index.open(out, trust_remote_code)
    if how.precision not in (None, opened.meta.precision):
        raise InputError(f"{out} is in {opened.meta.precision}; leave --precision out")
    if model is not None:
        opened.check_model(matcher_folder(model))
        opened.adopt_presence(matcher_folder(model))
    if opened.kind != kind:
        raise InputError(f"{out} is an index of {opened.kind}; give another #name to index {kind}")
    return opened


def copy_to_server(source: Path, out: "Place", shards: int, trust_remote_code: bool) -> "SearchableIndex":
    """A copy of a local index at this address."""
    from wordsight.search.index.index import Index
    from wordsight.search.remote.copy_index import copy_index

    if isinstance(out, Path):
        raise typer.BadParameter(f"--from copies to a server; to copy to a folder: cp -r {source} {out}")
    with ProgressDisplay() as progress:
        opened = copy_index(Index.open(source, trust_remote_code), out, shards, progress, trust_remote_code)
    typer.echo(f"{opened.name}: {opened.stats().items} items copied from {source}")
    return opened
