"""The command that serves: an index of pictures, one of texts, or both in; a page and REST out."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from wordsight.cli.choose_export import choose_export
from wordsight.cli.open_index import index_at, index_place
from wordsight.cli.option_groups import with_options
from wordsight.cli.search_options import MemoryMb, ModelName
from wordsight.cli.shared_options import Device
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError
from wordsight.runtime.malloc import share_freed_memory

if TYPE_CHECKING:
    from wordsight.search.searcher import Searcher
    from wordsight.web.security import AccessPolicy

EPILOG = "Example: wordsight serve photos.index --open"
NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
_log = logging.getLogger("wordsight.web")


class LogLevel(StrEnum):
    """From which importance on something is written to stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(with_options(serve))


@dataclass(frozen=True)
class NetworkOptions:
    """Where the server listens, to whom it answers, and what it hands out."""

    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765
    token: Annotated[
        str | None,
        typer.Option(
            envvar="WORDSIGHT_TOKEN",
            show_envvar=True,
            help="Bearer token required from clients; 16 characters or more.",
        ),
    ] = None
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Also send pictures below this folder; needed for an index that somebody else made. "
            "Repeatable.",
        ),
    ] = None
    originals: Annotated[
        bool, typer.Option("--originals/--no-originals", help="Send whole files, with their metadata.")
    ] = True
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Also answer to this name, of a proxy in front. Repeatable."),
    ] = None
    root_path: Annotated[
        str, typer.Option(metavar="/PREFIX", help="Path at which a proxy shows the server, e.g. /photos.")
    ] = ""

    def policy(self) -> "AccessPolicy":
        from wordsight.web.server import access_policy

        allowed, roots = self.allow_host or (), self.root or ()
        return access_policy(self.host, self.token, allowed, self.root_path, roots, self.originals)


def serve(
    indexes: Annotated[
        list[Any],  # of Paths, or of addresses
        typer.Argument(
            metavar="INDEX...",
            parser=index_place,
            help="An index of pictures, one of texts, or one of each; or a folder of pictures.",
        ),
    ],
    model: ModelName = None,
    *,
    network: NetworkOptions,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    log_level: Annotated[
        LogLevel, typer.Option(help="Least important messages that are written to stderr.")
    ] = LogLevel.info,
    memory_mb: MemoryMb = 256,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Serve the search page and the REST interface (described in /openapi.json) until Ctrl-C.

    An index that is updated meanwhile is followed; nothing needs to be restarted.
    """
    need_extra()
    choose_export(indexes, model, device)
    share_freed_memory()
    from wordsight.web import server
    from wordsight.web.app import create_app

    policy = network.policy()
    with server.logged_to_stderr(log_level.value):
        images, texts = _searchers(indexes, model, memory_mb, trust_remote_code, device)
        if images is not None:
            _confirm_roots(images, policy.roots)
        app = create_app(images, texts, policy)
        listener = server.listen(network.host, network.port)
        address = server.address_of(listener, network.host)
        _log.info("getting ready: the model, and what the index scores in general")
        app.state.library.prepare()

        def started() -> None:
            _log.info("serving %s at %s (Ctrl-C ends)", ", ".join(map(str, indexes)), address)
            if open_page:
                typer.launch(address + (f"#token={quote(network.token)}" if network.token else ""))

        server.run(app, listener, started)


def missing_packages() -> list[str]:
    """Packages of the extra ``serve`` that are not installed."""
    return [package for module, package in NEEDED.items() if find_spec(module) is None]


def need_extra() -> None:
    missing = missing_packages()
    if missing:
        raise InputError(f"serving needs {', '.join(missing)}: pip install 'wordsight[serve]'")


def _searchers(
    folders: list[Any], model: str | None, memory_mb: float, trust_remote_code: bool, device: str
) -> tuple["Searcher | None", "Searcher | None"]:
    """Searchers of pictures and of texts; raises ValueError for two of one kind."""
    from wordsight.search.searcher import Searcher

    by_kind: dict[str, Searcher] = {}
    for folder in folders:
        index = index_at(folder, model, trust_remote_code=trust_remote_code, device=device)
        if index.kind in by_kind:
            other = by_kind[index.kind].index.name
            raise InputError(f"{other} and {folder} both hold {index.kind}; serve one index of a kind")
        by_kind[index.kind] = Searcher(index, memory_mb)
    return by_kind.get("images"), by_kind.get("texts")


def _confirm_roots(images: "Searcher", named: Sequence[Path]) -> None:
    """An index that this user did not make names pictures by its own choice: which may be handed out?"""
    from wordsight.files.undecodable import shown
    from wordsight.search.index.picture_roots import PictureRoots, remember

    index = images.index
    if PictureRoots(index.folder, tuple(named)).all():
        return
    with index.snapshot() as snapshot:
        folders, count = list(snapshot.items_in()), len(snapshot)
    if not count:
        return  # what is indexed meanwhile is known to be the user's
    top = os.fsdecode(os.path.commonpath(folders))
    named_top = shown(top)
    message = (
        f"{index.name} was made by somebody else, or was moved: it names {count:,} pictures below {named_top}"
    )
    if sys.stdin.isatty() and sys.stderr.isatty():
        if typer.confirm(f"{message}\nHand out pictures below this folder?", err=True):
            remember(index.folder, [Path(top)])
    else:
        _log.warning("%s; none is shown until you name its folder: --root %s", message, named_top)
