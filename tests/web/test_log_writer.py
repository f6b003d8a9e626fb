"""A log that nobody reads holds up neither requests nor the end of a server; lost lines are counted."""

import http.client
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest
from support import warm_process
from support.search_models import index
from support.waiting import PATIENCE, wait_until

pytest.importorskip("fastapi", reason="the page and the REST interface need wordsight[serve]")

from wordsight.web import log_writer
from wordsight.web.log_writer import LogWriter
from wordsight.web.server import logged_to_stderr

LINE = logging.Formatter("%(levelname)s %(message)s")
PIPE_BYTES = 4096  # the least that Linux allows


@contextmanager
def small_pipe() -> Iterator[tuple[TextIO, TextIO]]:
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("the size of a pipe can be set on Linux alone")
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with open(read) as reader, open(write, "w") as writer:
        yield reader, writer


def say(writer: LogWriter, message: str, *values: object) -> None:
    writer.handle(logging.LogRecord("any", logging.INFO, "any", 1, message, values, None))


def test_lines_that_nobody_reads_are_counted_and_the_log_goes_on() -> None:
    with small_pipe() as (reader, stderr):
        writer = LogWriter(stderr, LINE, most=3)
        sent = 100
        for n in range(sent):
            say(writer, "%d %s", n, "x" * 100)
        assert writer.lost
        lines = []
        while not (lost := re.search(r"WARNING (\d+) lines of this log were lost", "".join(lines[-1:]))):
            lines.append(reader.readline())
        assert len(lines) - 1 + int(lost[1]) == sent
        assert [int(line.split()[1]) for line in lines[:-1]] == list(range(len(lines) - 1))
        say(writer, "read again")
        assert reader.readline() == "INFO read again\n"
        writer.close()


def test_a_reader_that_has_gone_stops_nothing() -> None:
    with small_pipe() as (reader, stderr):
        writer = LogWriter(stderr, LINE)
        reader.close()
        say(writer, "to nobody")
        wait_until(lambda: writer.lost)
        writer.close()
        assert writer.lost == 1


def test_a_process_without_stderr_has_no_log() -> None:
    writer = LogWriter(None, LINE)
    say(writer, "to nobody")
    writer.close()
    assert writer.lost == 0


def test_closing_writes_all_that_waits() -> None:
    stderr = io.StringIO()
    writer = LogWriter(stderr, LINE)
    for n in range(500):
        say(writer, "line %d", n)
    writer.close()
    assert stderr.getvalue().splitlines() == [f"INFO line {n}" for n in range(500)]


def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "STOP_SECONDS", 0.05)
    with small_pipe() as (reader, stderr):
        writer = LogWriter(stderr, LINE)
        say(writer, "x" * 2 * PIPE_BYTES)
        writer.close()
        assert len(reader.read(2 * PIPE_BYTES)) == 2 * PIPE_BYTES  # the thread ends, too


def test_warnings_of_other_packages_are_lines_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with logged_to_stderr("info"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("an old setting", stacklevel=1)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING .*an old setting", stderr.getvalue())


def test_a_server_answers_and_stops_while_nobody_reads_its_log() -> None:
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("the size of a pipe can be set on Linux alone")
    with warm_process.start("serve", index().folder, "--port", 0, "--log-level", "debug") as server:
        told = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", told)):
            line = server.stderr.readline()
            assert line, told
            told += line
        fcntl.fcntl(server.stderr.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)
        for _ in range(
            2 * PIPE_BYTES // len("2025-01-01 00:00:00 DEBUG request 00000000: GET /healthz: 200")
        ):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        connection.close()
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
