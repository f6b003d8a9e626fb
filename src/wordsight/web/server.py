"""Run an app on an address, with graceful shutdown."""

import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from wordsight.errors import InputError, MissingFileError
from wordsight.runtime.malloc import return_freed_memory
from wordsight.web.http_protocol import LimitedProtocol
from wordsight.web.log_writer import LogWriter
from wordsight.web.security import HOST, LOOPBACK, AccessPolicy, is_loopback

MIN_TOKEN_CHARACTERS = 16
SHUTDOWN_SECONDS = 10  # for running requests when the server stops
RETURN_SECONDS = 10  # between two times that freed memory is given back to the system
MAX_HEAD_BYTES = 64 * 1024  # of a request
ROOT_PATH = re.compile(r"(/[\w.~-]+)+", re.ASCII)
TOKEN_HINT = "Create one with: python -c 'import secrets; print(secrets.token_urlsafe())'"


_log = logging.getLogger("wordsight.web")


def access_policy(
    host: str,
    token: str | None,
    allowed_hosts: Sequence[str] = (),
    root_path: str = "",
    roots: Sequence[Path] = (),
    originals: bool = True,
) -> AccessPolicy:
    """Build the access policy.

    Raises InputError for an address that others can reach without a token, and for invalid names of hosts.
    """
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        raise InputError(
            f"the token has {len(token)} characters; at least {MIN_TOKEN_CHARACTERS} are needed. {TOKEN_HINT}"
        )
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"the token has characters other than printable ASCII. {TOKEN_HINT}")
    if token is None and not all(is_loopback(address) for address in _addresses(host)):
        raise InputError(
            f"others can reach {host}, so a token is needed: --token or the variable WORDSIGHT_TOKEN. "
            f"{TOKEN_HINT}. Or listen on this machine alone: --host 127.0.0.1"
        )
    names = {*LOOPBACK, host.lower().strip("[]"), *map(_host_name, allowed_hosts)}
    prefix = root_path.rstrip("/")
    if prefix and not ROOT_PATH.fullmatch(prefix):
        raise InputError(f"--root-path {root_path} is not a path; e.g. --root-path /photos")
    for folder in roots:
        if not folder.exists():
            raise MissingFileError(f"there is no folder {folder}; --root takes the folder of the pictures")
    is_local = not allowed_hosts and not prefix and all(map(is_loopback, _addresses(host)))
    return AccessPolicy(token, frozenset(names), prefix, tuple(roots), originals, is_local)


def _host_name(given: str) -> str:
    match = HOST.fullmatch(given)
    if match is None or match["port"] is not None or not (match["ipv6"] or match["name"]):
        raise InputError(
            f"--allow-host {given} is not a host name; give it without http:// and without a port, "
            "e.g. --allow-host photos.example.org"
        )
    return (match["ipv6"] or match["name"]).lower()


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"the host {host} has no address ({error}); e.g. --host 127.0.0.1") from error
    return [str(address[0]) for *_, address in found]


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port. Raises InputError if it is taken or not allowed."""
    family = socket.AF_INET6 if ":" in _addresses(host)[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: asyncio sends at once
    if sys.platform != "win32":  # there it would take the port from a server that listens already
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        message = f"cannot listen on {host}, port {port} ({error.strerror})"
        raise InputError(f"{message}; choose another with --port (0: any free one)") from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """URL of the server for a browser on this machine."""
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"


@contextmanager
def logged_to_stderr(level: str) -> Iterator[None]:
    """Log wordsight from this level on, and warnings of other packages; no request waits for the log."""
    root, wordsight = logging.getLogger(), logging.getLogger("wordsight")
    wordsight.handlers.clear()  # a command's plain lines: those here have a time
    wordsight.setLevel(level.upper())
    line = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    writer = LogWriter(sys.stderr, line)
    root.addHandler(writer)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(writer)
        writer.close()


def run(app: FastAPI, listener: socket.socket, started: Callable[[], None]) -> None:
    """Run until SIGINT or SIGTERM, then finish the running requests."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        log_config=None,
        log_level="error",  # uvicorn warns of every malformed request
        access_log=False,  # queries must not be logged
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        callback_notify=_return_memory,
        timeout_notify=RETURN_SECONDS,
    )
    server = _Server(config, started)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again after its shutdown
        pass
    finally:
        listener.close()


async def _return_memory() -> None:
    return_freed_memory()


class _Server(uvicorn.Server):
    """Server that reports its start and logs its end."""

    def __init__(self, config: uvicorn.Config, say: Callable[[], None]) -> None:
        super().__init__(config)
        self.say = say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.began = time.monotonic()
        if self.started:
            self.say()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        answered, seconds = self.server_state.total_requests, time.monotonic() - self.began
        _log.info("stopped: %d requests were answered in %.0f s", answered, seconds)
