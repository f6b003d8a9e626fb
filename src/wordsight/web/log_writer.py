"""Records of the log -> stderr, written by a thread of its own: no request waits for whoever reads the log.

A pipe that nobody reads holds 64 KB, and the next write to it waits for ever. Here only one thread waits.
Lines that find its queue full are lost and counted; the log says how many as soon as it can be written again.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from logging.handlers import QueueHandler
from queue import Full, Queue
from typing import TextIO

MAX_RECORDS = 1000  # that wait to be written
STOP_SECONDS = 1.0  # for what waits when the server stops
RETRY_SECONDS = 0.1  # after which a full pipe that refuses instead of waiting is tried again
LOST = "%d lines of this log were lost, because nobody read it or it could not be written"


class LogWriter(QueueHandler):
    """Handler that never waits. ``lost``: records that are not written, until the log has said how many."""

    def __init__(self, stream: TextIO | None, line: logging.Formatter, most: int = MAX_RECORDS) -> None:
        self.records: Queue[logging.LogRecord | None] = Queue(most)
        super().__init__(self.records)
        self.line, self.lost = line, 0
        self._put, self._counting, self._stopping = _writes(stream), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="wordsight-log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.records.put_nowait(record)
        except Full:
            self._count_lost(1)

    def close(self) -> None:
        """Write what waits, and stop; what cannot be written in ``STOP_SECONDS`` is left out."""
        self._stopping.set()
        with contextlib.suppress(Full):  # of a full queue the thread need not be woken
            self.records.put_nowait(None)
        self._thread.join(STOP_SECONDS)
        super().close()

    def _write_all(self) -> None:
        while not (self._stopping.is_set() and self.records.empty()):
            if (record := self.records.get()) is not None and not self._write(record):
                self._count_lost(1)
            lost = self.lost
            if lost and self.records.empty() and self._write(_warning(LOST, lost)):
                self._count_lost(-lost)

    def _count_lost(self, count: int) -> None:
        with self._counting:
            self.lost += count

    def _write(self, record: logging.LogRecord) -> bool:
        try:
            self._put(self.line.format(record).rstrip() + "\n")
        except Exception:  # its reader has gone, the disk is full, it is closed: the server goes on
            return False
        return True


def _warning(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, values, None)


def _writes(stream: TextIO | None) -> Callable[[str], object]:
    """A function that writes text, without the stream's lock: the end of the process would wait for it."""
    if stream is None:  # of a process that was started without it
        return lambda _: None
    try:
        raw = open(os.dup(stream.fileno()), "wb", buffering=0)  # noqa: SIM115  open as long as the process
    except (OSError, ValueError):  # of a program that replaced the stream by one in memory
        return lambda text: stream.write(text) and stream.flush()
    encoding = stream.encoding or "utf-8"

    def write(text: str) -> None:
        left = memoryview(text.replace("\n", os.linesep).encode(encoding, "backslashreplace"))
        while left:
            if written := raw.write(left):
                left = left[written:]
            else:
                time.sleep(RETRY_SECONDS)

    return write
