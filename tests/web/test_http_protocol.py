"""Connections have limits, and what is no HTTP, or asks in no text, is refused with a problem."""

import asyncio
import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from support.search_models import index, texts_index
from support.waiting import PATIENCE

pytest.importorskip("uvicorn", reason="the page and the REST interface need wordsight[serve]")
from starlette.testclient import TestClient
from support.running_server import listening

from wordsight.search.searcher import Searcher
from wordsight.web.app import create_app
from wordsight.web.http_protocol import ConnectionLimits
from wordsight.web.server import listen

AT_ONCE = socket.IPPROTO_TCP, socket.TCP_NODELAY
GOOD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@cache
def app() -> Any:
    return create_app(Searcher(index()), Searcher(texts_index()))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def answer_of(one: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and problem; everything until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while read := one.recv(65536):
            data += read
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), data[:500]
    assert b"x-content-type-options: nosniff" in head.lower()
    return int(head.split()[1]), json.loads(body)


def is_answered(port: int) -> bool:
    with connect(port) as one:
        one.sendall(GOOD)
        return one.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_an_answer_is_sent_at_once() -> None:
    """Else its second part waits for the client to acknowledge the first, which takes Linux 40 ms."""

    async def accepted() -> int:
        found = asyncio.get_running_loop().create_future()
        with listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(lambda _, to: found.set_result(to), sock=listener):
                with connect(listener.getsockname()[1]):
                    sent_by = (await found).get_extra_info("socket")
                    return int(sent_by.getsockopt(*AT_ONCE))

    assert asyncio.run(accepted())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(app()) as port:
        yield port


# Limits


@pytest.mark.parametrize("before", [b"", GOOD], ids=["first", "second"])
def test_half_a_head_is_not_waited_for(before: bytes) -> None:
    """A letter that meets the closed connection resets it, and the answer is lost: then it is asked again."""
    with listening(app(), head=0.4) as port:
        answer = next(filter(None, (answer_to_half_a_head(port, before) for _ in range(10))))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:wordsight:too-slow"


def answer_to_half_a_head(port: int, before: bytes) -> bytes:
    """What comes until the connection ends; b"" if a letter reset it."""
    with connect(port) as one:
        if before:
            one.sendall(before)
            received = b""
            while b'"status":"ok"' not in received:
                part = one.recv(65536)
                assert part
                received += part
        began = time.monotonic()
        one.settimeout(0.05)
        answer = b""
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        while time.monotonic() - began < PATIENCE:
            try:
                if not (read := one.recv(65536)):
                    return answer
                answer += read
            except ConnectionResetError:
                return b""
            except TimeoutError:
                with contextlib.suppress(OSError):
                    one.sendall(b"l")  # a letter now and then wins no time
        raise AssertionError(f"still open after {PATIENCE:g} s; it answered {answer!r}")


def test_a_connection_that_says_nothing_is_closed() -> None:
    with listening(app(), head=0.3) as port, connect(port) as one:
        assert one.recv(65536) == b""


def test_a_thousand_half_heads_keep_nobody_out() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with listening(app(), head=60) as port, contextlib.ExitStack() as stack:
        halves = []
        for _ in range(1000):
            halves.append(stack.enter_context(connect(port)))
            halves[-1].sendall(b"GET / HTTP/1.1\r\nHost:")
        assert is_answered(port)
        assert sum(is_open(one) for one in halves) <= ConnectionLimits().connections
        assert is_open(halves[-1])


def is_open(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return bool(one.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_where_all_connections_are_busy_the_next_is_told_so() -> None:
    body = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body += b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with listening(app(), connections=2) as port, connect(port) as first, connect(port) as second:
        for one in (first, second):
            one.sendall(body)
            assert one.recv(65536).startswith(b"HTTP/1.1 100 ")  # its body is awaited
        with connect(port) as third:
            status, told = answer_of(third)
        assert (status, told["type"]) == (503, "urn:wordsight:busy")
        first.sendall(b'{"query":')
        assert first.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """The answer has no end; the application is told that its client is gone, which never read a byte."""
    is_cut = threading.Event()

    async def answers_without_end(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()  # the request
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            await asyncio.sleep(0)
        is_cut.set()

    with listening(answers_without_end, reading=0.3) as port, connect(port) as one:
        one.sendall(GOOD)
        assert is_cut.wait(PATIENCE)
        with contextlib.suppress(ConnectionError):
            while one.recv(1 << 20):  # what was on its way; then the end
                pass


# What is no HTTP


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n bent: x\r\nbad header\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000, 431),
    ],
)
def test_what_is_no_http_is_a_problem(port: int, sent: bytes, status: int) -> None:
    with connect(port) as one:
        one.sendall(sent)
        got, told = answer_of(one)
    assert (got, told["status"]) == (status, status)
    assert told["type"] in ("urn:wordsight:malformed", "urn:wordsight:too-large")
    assert is_answered(port)


def test_a_body_that_breaks_off_in_its_middle_harms_nobody(port: int) -> None:
    head = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connect(port) as one:
        one.sendall(head + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"que\r\nno size\r\n')
        assert answer_of(one)[0] == 400
    with connect(port) as one:
        one.sendall(head + b"Content-Length: 100\r\n\r\n{")
    assert is_answered(port)


@pytest.mark.parametrize(
    "method", ["OPTIONS *", "CONNECT localhost:80", "GET http://localhost/v1/about", "BREW /"]
)
def test_odd_targets_and_methods_are_problems(port: int, method: str) -> None:
    with connect(port) as one:
        one.sendall(f"{method} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert answer_of(one)[0] in (404, 405)


# Hosts, addresses and bodies


@pytest.fixture(scope="module")
def served() -> Iterator[TestClient]:
    with TestClient(app(), base_url="http://localhost", raise_server_exceptions=False) as one:
        yield one


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:80@evil", "localhost@evil", "evil@localhost", "localhost:80:80", "localhost:x",
     "localhost:99999", "localhost/evil", "localhost evil", "[::1", "[::1]evil", "::1", "[localhost]",
     "local%68ost", "localh\xf6st", "localhost,evil", "http://localhost"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/about", "/", "/nothing"])
def test_a_host_that_is_none_is_refused(served: TestClient, host: str, path: str) -> None:
    answer = served.get(path, headers={"host": host.encode("latin-1")})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:wordsight:host")


@pytest.mark.parametrize("broken", ["%ff", "%ED%A0%80", "%C3", "%C0%AF", "a%F4%90%80%80"])
@pytest.mark.parametrize(
    "path", ["/v1/search?query={}", "/v1/search?query=a&{}=1", "/v1/items/{}", "/{}", "/v1/items?folder={}"]
)
def test_an_address_that_is_no_text_is_refused(served: TestClient, path: str, broken: str) -> None:
    answer = served.get(path.format(broken))
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:wordsight:malformed")


@pytest.mark.parametrize("half", ["\\ud800", "\\udcff", "\\udc00\\ud800"])
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/search", '{{"query": "a {} dog"}}', "query"),
        ("/v1/search", '{{"query": "a dog", "folder": "{}"}}', "folder"),
        ("/v1/search", '{{"query": "a dog", "text": "{}"}}', "text"),
        ("/v1/search", '{{"query": "a dog", "k": "{}"}}', "k"),
        ("/v1/search", '{{"query": "a dog", "{}": 1}}', "body"),
        ("/v1/explain", '{{"id": 1, "query": "{}"}}', "query"),
    ],
)
def test_half_a_surrogate_pair_is_named(
    served: TestClient, path: str, body: str, field: str, half: str
) -> None:
    answer = served.post(path, content=body.format(half), headers={"content-type": "application/json"})
    told = answer.json()
    assert (answer.status_code, told["type"]) == (422, "urn:wordsight:invalid")
    assert [wrong["field"] for wrong in told["errors"]] == [field]


@pytest.mark.parametrize("text", ["%00", "%00%20%00"])
def test_words_that_are_only_signs_filter_nothing(served: TestClient, text: str) -> None:
    everything = served.get("/v1/items").json()["total"]
    assert served.get(f"/v1/items?text={text}").json()["total"] == everything
