"""An app and an address -> a server that listens, answers, and ends in good order."""

import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from wordsight.errors import InputError
from wordsight.web.security import LOOPBACK, AccessPolicy, is_loopback

SHORTEST = 16  # characters of a token
PATIENCE = 10  # seconds that requests under way have when the server ends
ASKED = "choose one with: python -c 'import secrets; print(secrets.token_urlsafe())'"


def access_policy(host: str, token: str | None) -> AccessPolicy:
    """Raises ValueError for an address that others can reach, without a token."""
    if token is not None and len(token) < SHORTEST:
        raise InputError(f"the token has {len(token)} characters, and the least is {SHORTEST}; {ASKED}")
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"the token holds more than printable ASCII characters; {ASKED}")
    if token is None and not all(is_loopback(address) for address in _addresses(host)):
        raise InputError(
            f"others can reach {host}, so that a token is needed: --token or the variable WORDSIGHT_TOKEN; "
            f"{ASKED}; or listen on this machine alone: --host 127.0.0.1"
        )
    return AccessPolicy(token, frozenset({*LOOPBACK, host.lower().strip("[]")}))


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
        told = f"cannot listen on {host}, port {port} ({error.strerror})"
        raise InputError(f"{told}; choose another with --port, 0 takes any free one") from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """For the reader's browser."""
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"


def run(app: FastAPI, listener: socket.socket, started: Callable[[], None]) -> None:
    """Until SIGINT or SIGTERM; then what is under way is still answered."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,  # what people search for stands in no log
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=PATIENCE,
    )
    server = _Server(config, started)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # the server has ended already; it passes the signal on
        pass
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, say: Callable[[], None]) -> None:
        super().__init__(config)
        self.say = say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.say()
