"""Requests that nobody should send -> each is answered as promised, or the number of the case is told.

    python benchmarks/rest_fuzz.py [--cases 100000] [--seed 0] [--only NUMBER]

Four of five cases are requests to the app itself: its own paths and parameters with values that are too
long, too large, of another type, no text, halves of surrogate pairs, damaged JSON, forms and pictures, odd
hosts, with a token and without. The fifth is bytes to a server that listens: requests with bytes changed,
doubled and taken out. Each must get an answer that is documented, errors as problems (RFC 9457), never a 500,
and nothing of a file that the server may not open. A case depends on its seed and number alone, so that
``--only`` repeats it.
"""

import argparse
import asyncio
import json
import logging
import random
import sqlite3
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import uvicorn
from made_index import build, captions
from PIL import Image

from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher
from wordsight.web.app import create_app
from wordsight.web.http_protocol import LimitedProtocol
from wordsight.web.security import HEADERS, AccessPolicy
from wordsight.web.server import listen

TOKEN = "a-token-of-some-length"
SECRET = b"the secret of a file that nobody indexed"
ANSWERS = {200, 304, 400, 401, 403, 404, 405, 409, 410, 413, 415, 421, 422}
OF_BYTES = ANSWERS | {100, 408, 431, 501}
AT_ONCE = 50  # connections
SILENCE = 0.5  # seconds without a byte, until an answer is taken for complete
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ODD = [
    "", " ", "a", "a dog", "a +dog -cat^2", '"', '"a" b"', "^", "-", "+", "--", "a^99", "\0", "a\0b", "\n",
    "*", "\u202e", "ａ", "🐕", "\ufeff", "e\u0301", "'; DROP TABLE items; --", '" OR 1=1', "NEAR(a b)",
    "a AND", "{}", "[]", "null", "true", "-1", "0", "1", "2", "1.5", "1e9", "1e400", "nan", "inf", "-inf",
    "9" * 30, "0x10", "１", "%", "../" * 9, "/etc/passwd", "~root", "//", "C:\\", "score", "date", "exact",
    "shortlist", "auto", "x" * 999, "x" * 1001, "x " * 600, "x" * 5000, "🐕" * 1000,
]  # fmt: skip
BROKEN = ["%ff", "%ED%A0%80", "%C3", "%", "%zz", "%00", "+", "&", "=", "&&a=b=c", ";", "%2500"]
VALUES: list[Any] = [*ODD, None, True, False, 0, 1, 5, -1, 2**53, 2**64, 0.5, 1e308, [], ["a"], {}, {"a": 1}]
HOSTS = ["localhost", "127.0.0.1:80", "[::1]", "evil.example", "127.0.0.1:80@evil", "", "localhost:x", "\xff"]
TYPES = [
    "application/json",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "text/plain",
    "",
    "a/b;c\xff",
]
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]
PATHS = [
    "/",
    "/main.js",
    "/openapi.json",
    "/healthz",
    "/metrics",
    "/nothing",
    "//",
    "/v1",
    "/v1/",
    "/..",
    "/v1/items/x",
]
FIELDS = [
    "query",
    "id",
    "k",
    "offset",
    "engine",
    "sort",
    "weight",
    "folder",
    "after",
    "before",
    "min_bytes",
    "text",
]


@dataclass
class Outcome:
    """Answers by status, and what broke a promise."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


@dataclass
class Request:
    """What is sent."""

    method: str
    target: str  # latin-1: any byte
    headers: list[tuple[str, str]]
    body: bytes = b""


def fuzz(app: Any, guarded: Any, cases: Sequence[int], seed: int) -> Outcome:
    """``guarded``: the app with TOKEN; both answered within this process."""
    outcome = Outcome()
    described = [(path, method.upper()) for path, all in app.openapi()["paths"].items() for method in all]

    async def all_of_them() -> None:
        for number in cases:
            draws = random.Random(f"{seed} {number}")
            request = drawn(draws, described)
            asked = guarded if draws.random() < 0.1 else app
            try:
                check(asked is guarded, request, *await answer(asked, request), outcome)
            except Exception as error:
                outcome.broken.append(f"case {number}: {error!r}\n  {request}"[:1500])

    asyncio.run(all_of_them())
    return outcome


def drawn(draws: random.Random, described: list[tuple[str, str]]) -> Request:
    path, method = draws.choice(described) if draws.random() < 0.9 else (draws.choice(PATHS), "GET")
    if draws.random() < 0.1:
        method = draws.choice(METHODS)
    if "{id}" in path:
        path = path.replace(
            "{id}", draws.choice(["1", "2", "3", "99", *map(quote, draws.choices(ODD, k=3)), "%ff"])
        )
    target = path if method == "POST" else path + query_of(draws)
    headers = [("host", draws.choice(HOSTS) if draws.random() < 0.1 else "localhost")]
    if draws.random() < 0.1:
        headers.append(
            (draws.choice(["range", "if-none-match", "authorization", "accept", "cookie"]), "a\xff=\x01")
        )
    if draws.random() < 0.05:
        headers.append(("sec-fetch-site", draws.choice(["cross-site", "same-origin", "x"])))
    if draws.random() < 0.3:
        headers.append(("authorization", f"Bearer {draws.choice([TOKEN, 'wrong', ''])}"))
    if method != "POST":
        return Request(method, target, headers)
    is_form = path in ("/v1/similar", "/v1/captions", "/v1/captions/explain")
    kind, body = (TYPES[1], form(draws)) if is_form else (TYPES[0], as_json(draws))
    if draws.random() < 0.1:
        kind = draws.choice(TYPES)
    if draws.random() < 0.2:
        body = damaged(draws, body)
    return Request(method, target, [*headers, ("content-type", kind)], body)


def query_of(draws: random.Random) -> str:
    given = [(draws.choice(FIELDS) if draws.random() < 0.95 else draws.choice(ODD), draws.choice(ODD))
             for _ in range(draws.randrange(5))]  # fmt: skip
    if draws.random() < 0.7:
        given.append(("query", draws.choice(ODD)))
    told = "&".join(f"{quote(name)}={quote(value)}" for name, value in given)
    if draws.random() < 0.1:
        told += draws.choice(BROKEN)
    return f"?{told}" if told else ""


def as_json(draws: random.Random) -> bytes:
    given = {draws.choice(FIELDS): draws.choice(VALUES) for _ in range(draws.randrange(4))}
    if draws.random() < 0.8:
        given["query"] = draws.choice(VALUES)
    if draws.random() < 0.1:
        given[draws.choice(FIELDS)] = draws.choice(["\ud800", "a\udcff", "\udc00\ud800"])
    if draws.random() < 0.05:
        return b"[" * draws.randrange(40_000)
    return json.dumps(given).encode()


def form(draws: random.Random) -> bytes:
    data = picture(draws)
    parts = [
        (draws.choice(FIELDS), str(draws.choice(ODD)).encode(errors="replace"))
        for _ in range(draws.randrange(3))
    ]
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts
    )
    head = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\n\r\n'
    return body + head % draws.choice([b"a.png", b"../x", b"\xff", b""]) + data + b"\r\n--b--\r\n"


def picture(draws: random.Random) -> bytes:
    data = BytesIO()
    mode = draws.choice(["RGB", "L", "RGBA", "P", "1"])
    Image.new(mode, (draws.randrange(1, 30), draws.randrange(1, 30))).save(
        data, draws.choice(["PNG", "TIFF", "GIF"])
    )
    return damaged(draws, data.getvalue()) if draws.random() < 0.5 else data.getvalue()


def damaged(draws: random.Random, data: bytes) -> bytes:
    """Bytes changed, doubled, taken out, or cut off."""
    changed = bytearray(data)
    for _ in range(draws.randrange(1, 5)):
        at = draws.randrange(len(changed) + 1)
        change = draws.randrange(5)
        if change == 0:
            changed[at : at + 1] = bytes([draws.randrange(256)])
        elif change == 1:
            changed[at:at] = changed[max(0, at - draws.randrange(40)) : at]
        elif change == 2:
            del changed[at : at + draws.randrange(1, 20)]
        elif change == 3:
            changed[at:at] = draws.choice(
                [b"\r\n", b"\0", b"\xff", b" ", b":", b"\n", b"9" * 20, b"\r\n\r\n"]
            )
        elif draws.random() < 0.3:
            del changed[at:]
    return bytes(changed)


async def answer(app: Any, request: Request) -> tuple[int, dict[bytes, bytes], bytes]:
    path, _, query = request.target.partition("?")
    raw = path.encode("latin-1", "replace")
    sent, answered = [{"type": "http.request", "body": request.body, "more_body": False}], []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method,
        "scheme": "http", "path": unquote(raw.decode("latin-1")), "raw_path": raw, "root_path": "",
        "query_string": query.encode("latin-1", "replace"), "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in request.headers],
        "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip

    async def receive() -> Any:
        if not sent:
            await asyncio.Event().wait()  # the client stays until it is answered
        return sent.pop()

    async def send(message: Any) -> None:
        answered.append(message)

    await app(scope, receive, send)
    begin, *bodies = answered
    return begin["status"], dict(begin["headers"]), b"".join(one.get("body", b"") for one in bodies)


def check(
    is_guarded: bool, request: Request, status: int, headers: Any, body: bytes, outcome: Outcome
) -> None:
    """Raises AssertionError for an answer that breaks a promise."""
    outcome.statuses[status] += 1
    assert status in ANSWERS, f"status {status}"
    for name in HEADERS:
        assert name.encode() in headers, f"no header {name}"
    assert SECRET not in body, "a file was handed out that nobody indexed"
    if is_guarded and ("authorization", f"Bearer {TOKEN}") not in request.headers:
        asks = request.target.startswith(("/v1/", "/metrics"))
        assert not (asks and status == 200), "answered without the token"
    if request.method == "HEAD":
        assert body == b""
        return
    if status >= 400:
        check_problem(status, headers.get(b"content-type", b""), body)
    elif headers.get(b"content-type") == b"application/json":
        json.loads(body, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))


def check_problem(status: int, kind: bytes, body: bytes) -> None:
    assert kind == b"application/problem+json", f"{status} as {kind!r}"
    told = json.loads(body)
    assert told["status"] == status
    assert told["type"].startswith("urn:wordsight:")
    assert told["detail"]
    assert told["title"]
    assert "codec can't" not in told["detail"], told["detail"]


# Bytes


def fuzz_bytes(app: Any, cases: Sequence[int], seed: int) -> Outcome:
    """To a server that listens, one connection a case, some at once."""
    outcome, turn = Outcome(), asyncio.Semaphore(AT_ONCE)

    async def one(port: int, number: int) -> None:
        draws = random.Random(f"{seed} bytes {number}")
        sent = damaged(draws, seed_of(draws)) + (seed_of(draws) if draws.random() < 0.2 else b"")
        async with turn:
            try:
                check_bytes(await exchanged(port, sent, SILENCE), outcome)
                if number % 200 == 0:
                    alive = await exchanged(port, ALIVE, 60)
                    assert alive.startswith(b"HTTP/1.1 200 "), "the server no longer answers"
            except Exception as error:
                outcome.broken.append(f"case {number} of bytes: {error!r}\n  {sent[:300]!r}")

    async def all_of_them(port: int) -> None:
        await asyncio.gather(*(one(port, number) for number in cases))

    with listening(app) as port:
        asyncio.run(all_of_them(port))
    return outcome


def seed_of(draws: random.Random) -> bytes:
    body, size = (data := as_json(draws)), len(data)
    head = b"Host: localhost\r\nContent-Type: application/json\r\n"
    chunked, waits = head + b"Transfer-Encoding: chunked\r\n", head + b"Expect: 100-continue\r\n"
    return draws.choice([
        b"GET /v1/items?k=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"HEAD /v1/items/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (head, size, body),
        b"POST /v1/search HTTP/1.1\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (chunked, size, body),
        b"POST /v1/explain HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (waits, size, body),
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ])  # fmt: skip


async def exchanged(port: int, sent: bytes, silence: float) -> bytes:
    """What the server says until it closes, or says nothing for so many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = b""
    with suppress(ConnectionError, TimeoutError):
        writer.write(sent)
        while read := await asyncio.wait_for(reader.read(65536), silence):
            data += read
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return data


def check_bytes(data: bytes, outcome: Outcome) -> None:
    """Nothing, as of a request that broke off, or answers of HTTP with statuses that are documented."""
    if not data:
        outcome.statuses[0] += 1
        return
    assert data.startswith(b"HTTP/1.1 "), data[:100]
    status = int(data[9:12])
    outcome.statuses[status] += 1
    assert status in OF_BYTES, f"status {status}"
    head, _, body = data.partition(b"\r\n\r\n")
    if status >= 400 and body and b"HTTP/1.1 " not in body:
        kind = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-type: "))
        check_problem(status, kind.removeprefix(b"content-type: "), body)


@contextmanager
def listening(app: Any) -> Iterator[int]:
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(app, http=LimitedProtocol, log_level="critical", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


# The command


def made(folder: Path) -> tuple[Searcher, Searcher]:
    """An index of twelve pictures, one of which names a file elsewhere, and one of sentences."""
    build(16).save_pretrained(folder / "model")
    (folder / "pictures").mkdir()
    for row in range(12):
        Image.new("RGB", (20 + row, 30), (20 * row, 99, 0)).save(folder / "pictures" / f"{row}.png")
    images = Index.create(folder / "images", folder / "model")
    images.update([folder / "pictures"])
    secret = BytesIO()
    Image.new("RGB", (9, 9)).save(secret, "PNG")
    (folder / "secret.png").write_bytes(secret.getvalue() + SECRET)
    with sqlite3.connect(folder / "images" / "facts.sqlite") as facts:
        facts.execute("UPDATE items SET path = ? WHERE id = 3", (str(folder / "secret.png").encode(),))
    facts.close()
    (folder / "texts.txt").write_text("\n".join(captions(20)))
    texts = Index.create(folder / "texts", folder / "model", "texts")
    texts.update([folder / "texts.txt"])
    return Searcher(Index.open(folder / "images")), Searcher(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case of requests")
    given = parser.parse_args()
    began = time.perf_counter()
    logging.disable()  # what is refused is counted below
    warnings.simplefilter("ignore")  # Pillow, of damaged pictures
    with tempfile.TemporaryDirectory() as folder:
        searchers = made(Path(folder))
        apps = create_app(*searchers), create_app(*searchers, AccessPolicy(TOKEN))
        if given.only is not None:
            outcomes = [fuzz(*apps, range(given.only, given.only + 1), given.seed)]
        else:
            of_bytes = given.cases // 5
            outcomes = [fuzz(*apps, range(given.cases - of_bytes), given.seed)]
            outcomes.append(fuzz_bytes(apps[0], range(of_bytes), given.seed))
    for outcome in outcomes:
        print(", ".join(f"{count} x {status}" for status, count in sorted(outcome.statuses.items())))
    broken = [one for outcome in outcomes for one in outcome.broken]
    print(f"{len(broken)} broken promises in {time.perf_counter() - began:.0f} s", *broken[:20], sep="\n")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
