"""Security middleware: client, host name, content type and size of every request are checked.

Without a token the server listens on this machine alone and answers only to its names, so that a page of
another site whose name resolves to this address (DNS rebinding) is refused.
"""

import asyncio
import hmac
import re
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wordsight.web import request_log
from wordsight.web.metrics import Metrics
from wordsight.web.problems import Refused, unforeseen

JSON, FORM = "application/json", "multipart/form-data"
CONTENT = {
    "/v1/search": JSON,
    "/v1/explain": JSON,
    "/v1/similar": FORM,
    "/v1/captions": FORM,
    "/v1/captions/explain": FORM,
}
MAX_JSON_BYTES = 64 * 1024  # bytes
MAX_FORM_BYTES = 20 * 1024 * 1024
MAX_BODY_SECONDS = 30.0  # until a body is complete
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
GUARDED = ("/v1/", "/metrics")
HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.~-]*))(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class AccessPolicy:
    """Clients that may connect, and files that may be served.

    ``token``       bearer token of clients; None: none is needed, but only ``names`` are answered
    ``root_path``   path of the server behind a proxy, e.g. "/photos"; "" at its top
    ``roots``       folders whose pictures may be opened, in addition to those that this user indexed
    ``is_local``    whether nobody but this machine reaches the server, also not through a proxy
    ``originals``   whether original files are served, with their metadata, or only thumbnails
    """

    token: str | None = None
    names: frozenset[str] = field(default_factory=lambda: frozenset(LOOPBACK))
    root_path: str = ""
    roots: tuple[Path, ...] = ()
    originals: bool = True
    is_local: bool = False
    max_form_bytes: int = MAX_FORM_BYTES
    max_json_bytes: int = MAX_JSON_BYTES
    max_body_seconds: float = MAX_BODY_SECONDS


class SecurityMiddleware:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy, metrics: Metrics) -> None:
        self.app, self.policy, self.metrics = app, policy, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets
        bare = scope["method"] == "HEAD"  # the answer to GET, without its body
        inner = {**scope, "path": _below(scope["path"], self.policy.root_path)}
        if bare:
            inner["method"] = "GET"
        began, answer = time.perf_counter(), _Answer(send, bare, request_log.new_id())
        try:
            await self._checked(inner, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            self.metrics.record(_route(inner), _method(scope), answer.status, seconds)
            request_log.record(answer.id, _method(scope), _route(inner), answer.status, seconds)

    async def _checked(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        headers = Headers(scope=scope)
        try:
            self._check_name(headers)
            _check_address(scope)
            self._check_token(scope, headers)
            _check_sender(scope, headers)
            limit = self._check_content(scope, headers)
            await self.app(scope, _measured(receive, limit, self.policy.max_body_seconds), answer)
        except Refused as refused:
            if answer.begun:
                raise
            await refused.response()(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            if answer.begun:
                raise
            request_log.record_error(answer.id, error)
            await unforeseen(answer.id)(scope, receive, answer)

    def _check_name(self, headers: Headers) -> None:
        host = headers.get("host", "")
        name = _name(host)
        if self.policy.token is None and name not in self.policy.names:
            raise Refused(
                421,
                "host",
                f"This server is not {host[:100] or 'without a name'}; without a token it answers only to "
                f"{', '.join(sorted(self.policy.names))}; add a name: wordsight serve --allow-host NAME.",
            )

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        token = self.policy.token
        if token is None or not scope["path"].startswith(GUARDED):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode("utf-8", "replace"))
        if kind.lower() != "bearer" or not same:
            problem = "wrong" if given else "missing"
            raise Refused(
                401,
                "token",
                f"The token is {problem}; send the one that the server was started with: "
                "Authorization: Bearer TOKEN.",
                {"www-authenticate": 'Bearer realm="wordsight"'},
            )

    def _check_content(self, scope: Scope, headers: Headers) -> int:
        """Check the content type and length; returns the maximum size of the body."""
        expected = CONTENT.get(scope["path"]) if scope["method"] == "POST" else None
        limit = self.policy.max_form_bytes if expected == FORM else self.policy.max_json_bytes
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > limit:
            raise too_large(limit)
        content = headers.get("content-type", "").partition(";")[0].strip().lower()
        if expected is not None and content != expected:
            raise Refused(
                415,
                "content-type",
                f"The content type is {content[:100] or 'missing'}; {scope['path']} takes {expected}.",
                {"accept": expected},
            )
        return limit


def too_large(limit: int) -> Refused:
    return Refused(
        413,
        "too-large",
        f"The body has more than {limit:,} bytes, the limit; send a smaller picture or query.",
    )


def _check_sender(scope: Scope, headers: Headers) -> None:
    """Refuse requests from pages of other sites, which browsers mark."""
    if headers.get("sec-fetch-site") == "cross-site" and scope["path"].startswith(GUARDED):
        raise Refused(
            403, "cross-site", "This request is from a page of another site; open this server's own page."
        )


def _check_address(scope: Scope) -> None:
    """Refuse addresses with invalid UTF-8, which could be read in two ways."""
    for part in (scope.get("raw_path") or b"", scope.get("query_string") or b""):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError as error:
            problem = "The percent-encoded bytes of the address are not UTF-8"
            raise Refused(400, "malformed", f"{problem}; encode it again.") from error


def _name(host: str) -> str:
    """Name in a Host header, without the port. Raises Refused for an invalid header (RFC 9110, 7.2)."""
    match = HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        raise Refused(400, "host", f"The header Host is {host[:100]}; expected a name, or a name:port.")
    return (match["ipv6"] or match["name"]).lower()


def _below(path: str, root: str) -> str:
    """The path without the prefix of a proxy."""
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of this machine alone. Raises ValueError for a name."""
    return ip_address(address.partition("%")[0]).is_loopback


def too_slow(seconds: float) -> Refused:
    return Refused(
        408,
        "too-slow",
        f"The body was not complete after {seconds:g} seconds, the limit; send it faster, or a smaller one.",
        {"connection": "close"},  # the rest of the body is not a new request
    )


def _measured(receive: Receive, limit: int, seconds: float) -> Receive:
    """Receive a body within limits of bytes and seconds; otherwise raise Refused."""
    received, whole, end = 0, False, asyncio.get_running_loop().time() + seconds

    async def measured() -> Message:
        nonlocal received, whole
        try:
            async with asyncio.timeout_at(None if whole else end):
                message = await receive()
        except TimeoutError:
            raise too_slow(seconds) from None
        received += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if received > limit:
            raise too_large(limit)
        return message

    return measured


class _Answer:
    """Send an answer with the common headers (``bare``: without the body), and record its status."""

    def __init__(self, send: Send, bare: bool, id: str) -> None:
        self.send, self.bare, self.id = send, bare, id
        self.begun, self.status = False, 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self.status >= 500:
                headers["x-request-id"] = self.id
        elif self.bare:
            message = {**message, "body": b""}
        await self.send(message)


def _method(scope: Scope) -> str:
    known = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")
    return scope["method"] if scope["method"] in known else "OTHER"


def _route(scope: Scope) -> str:
    """Pattern of the route, without ids; "none" for unknown paths."""
    return str(getattr(scope.get("route"), "path", "none")).replace(":int}", "}")
