"""The command that serves: an index of pictures, one of texts, or both in; a page and REST out."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from wordsight.cli.folder_index import index_at
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError
from wordsight.runtime.malloc import share_freed_memory

if TYPE_CHECKING:
    from wordsight.search.searcher import Searcher

EPILOG = "Example: wordsight serve photos.index --open"
NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(serve)


def serve(
    indexes: Annotated[
        list[Path],
        typer.Argument(
            metavar="INDEX...",
            help="An index of pictures, one of texts, or one of each; or a folder of pictures.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="That indexes a folder of pictures, needed once: a run, a CLIP, a SigLIP."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="WORDSIGHT_TOKEN", show_envvar=True, help="Who asks must send it."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    memory_mb: Annotated[float, typer.Option(min=1, help="What one search holds of an index at once.")] = 256,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Serve the search page and the REST interface (its description: /openapi.json) until Ctrl-C.

    An index that is updated meanwhile is followed; nothing needs to be restarted.
    """
    need_extra()
    from wordsight.web import server
    from wordsight.web.app import create_app

    share_freed_memory()
    rules = server.access_policy(host, token)
    images, texts = _searchers(indexes, model, memory_mb, trust_remote_code)
    app = create_app(images, texts, rules)
    listener = server.listen(host, port)
    address = server.address_of(listener, host)
    _print_status("getting ready: the model, and what the index scores in general")
    app.state.library.prepare()

    def started() -> None:
        _print_status(f"serving {', '.join(map(str, indexes))} at {address} (Ctrl-C ends)")
        if open_page:
            typer.launch(address + (f"#token={quote(token)}" if token else ""))

    server.run(app, listener, started)


def missing_packages() -> list[str]:
    """Of those that the extra ``serve`` brings."""
    return [package for module, package in NEEDED.items() if find_spec(module) is None]


def need_extra() -> None:
    missing = missing_packages()
    if missing:
        raise InputError(f"serving needs {', '.join(missing)}: pip install 'wordsight[serve]'")


def _searchers(
    folders: list[Path], model: str | None, memory_mb: float, trust_remote_code: bool
) -> tuple["Searcher | None", "Searcher | None"]:
    """Of pictures and of texts; raises ValueError for two of one kind."""
    from wordsight.search.searcher import Searcher

    by_kind: dict[str, Searcher] = {}
    for folder in folders:
        index = index_at(folder, model, trust_remote_code=trust_remote_code)
        if index.kind in by_kind:
            other = by_kind[index.kind].index.folder
            raise InputError(f"{other} and {folder} both hold {index.kind}; serve one index of a kind")
        by_kind[index.kind] = Searcher(index, memory_mb)
    return by_kind.get("images"), by_kind.get("texts")


def _print_status(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
