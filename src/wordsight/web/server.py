"""An app and an address -> a server that listens, answers, and ends in good order."""

import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from wordsight.errors import InputError, MissingFileError
from wordsight.web.http_protocol import LimitedProtocol
from wordsight.web.security import HOST, LOOPBACK, AccessPolicy, is_loopback

MIN_TOKEN_CHARACTERS = 16  # characters of a token
SHUTDOWN_SECONDS = 10  # seconds that requests under way have when the server ends
MAX_HEAD_BYTES = 64 * 1024  # bytes of a request's head
ROOT_PATH = re.compile(r"(/[\w.~-]+)+", re.ASCII)
TOKEN_HINT = "choose one with: python -c 'import secrets; print(secrets.token_urlsafe())'"


_log = logging.getLogger("wordsight.web")


def access_policy(
    host: str,
    token: str | None,
    allowed_hosts: Sequence[str] = (),
    root_path: str = "",
    roots: Sequence[Path] = (),
    originals: bool = True,
) -> AccessPolicy:
    """Raises ValueError for an address that others can reach, without a token; for no name of a host."""
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        raise InputError(
            f"the token has {len(token)} characters, and the least is {MIN_TOKEN_CHARACTERS}; {TOKEN_HINT}"
        )
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"the token holds more than printable ASCII characters; {TOKEN_HINT}")
    if token is None and not all(is_loopback(address) for address in _addresses(host)):
        raise InputError(
            f"others can reach {host}, so that a token is needed: --token or the variable WORDSIGHT_TOKEN; "
            f"{TOKEN_HINT}; or listen on this machine alone: --host 127.0.0.1"
        )
    names = {*LOOPBACK, host.lower().strip("[]"), *map(_host_name, allowed_hosts)}
    prefix = root_path.rstrip("/")
    if prefix and not ROOT_PATH.fullmatch(prefix):
        raise InputError(f"--root-path {root_path} is no path; e.g. --root-path /photos")
    for folder in roots:
        if not folder.exists():
            raise MissingFileError(f"there is no folder {folder}; --root takes the folder of the pictures")
    return AccessPolicy(token, frozenset(names), prefix, tuple(roots), originals)


def _host_name(given: str) -> str:
    match = HOST.fullmatch(given)
    if match is None or match["port"] is not None or not (match["ipv6"] or match["name"]):
        raise InputError(
            f"--allow-host {given} is no name of a host; give it without http:// and without a port, "
            "e.g. --allow-host photos.example.org"
        )
    return (match["ipv6"] or match["name"]).lower()


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"there is no address for the host {host} ({error}); e.g. --host 127.0.0.1"
        ) from error
    return [str(address[0]) for *_, address in found]


def listen(host: str, port: int) -> socket.socket:
    """Raises ValueError if the port is taken or not to be had."""
    family = socket.AF_INET6 if ":" in _addresses(host)[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        message = f"cannot listen on {host}, port {port} ({error.strerror})"
        raise InputError(f"{message}; choose another with --port, 0 takes any free one") from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """For the reader's browser."""
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"


def log_to_stderr(level: str) -> None:
    """Lines of wordsight from this level on; those of other packages only if they warn."""
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    logging.getLogger("wordsight").setLevel(level.upper())


def run(app: FastAPI, listener: socket.socket, started: Callable[[], None]) -> None:
    """Until SIGINT or SIGTERM; then what is under way is still answered."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        log_config=None,
        log_level="error",  # it warns of every malformed request
        access_log=False,  # what people search for stands in no log
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config, started)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # the server has ended already; it passes the signal on
        pass
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Says when it answers, and when it ends."""

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
