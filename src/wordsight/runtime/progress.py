"""Progress of long work -> a bar on a terminal; in a log lines at the start, every 30 s, at the end."""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

LINE_EVERY = 30.0  # seconds between two lines of a log
SHORT = 1.0  # seconds; a stage that is over sooner gets no line at its end
Progress: TypeAlias = Callable[..., None]  # progress(stage, done, total, note=""); total 0: unknown


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Progress that nobody watches."""


class ProgressDisplay:
    """A Progress for people, for use in a ``with`` block: bars or lines on ``stream`` (stderr by default).

    A stage begins with its first call, and again when its count falls; it ends when all is done, when the
    next one of known length begins, or with the block. ``quiet_seconds``: for so long a log gets no line,
    for work that is mostly short.
    """

    def __init__(
        self,
        quiet_seconds: float = 0.0,
        stream: Any = None,  # of text
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._quiet_until = clock() + quiet_seconds
        self._stages: dict[str, _Bar | _Lines] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        shown = self._stages.get(stage)
        if shown is not None and done < shown.done:
            shown.close()
            shown = None
        if shown is None:
            if not self._stream.isatty() and self._clock() < self._quiet_until:
                return
            self._end_uncounted()
            shown = self._stages[stage] = self._begin(stage, done, total)
        shown.update(done, total, note)

    def _begin(self, stage: str, done: int, total: int) -> "_Bar | _Lines":
        if self._stream.isatty():
            return _Bar(stage, done, total, self._stream)
        return _Lines(stage, done, total, self._print, self._clock)

    def _end_uncounted(self) -> None:
        """A stage of unknown length is over when another one begins."""
        for name in [name for name, shown in self._stages.items() if not shown.total]:
            self._stages.pop(name).close()

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shown in self._stages.values():
            shown.close(stopped=error is not None)


class LoggedProgress(ProgressDisplay):
    """A Progress whose lines go to a logger, for work deep inside a library call."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def _begin(self, stage: str, done: int, total: int) -> "_Lines":
        return _Lines(stage, done, total, self._logger.info, self._clock)


class _Bar:
    def __init__(self, stage: str, done: int, total: int, stream: Any) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self.total = total
        self._bar: Any = tqdm(desc=stage, initial=done, total=total or None, file=stream)

    @property
    def done(self) -> int:
        return int(self._bar.n)

    def update(self, done: int, total: int, note: str) -> None:
        self.total = total
        self._bar.total = total or None
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self, stopped: bool = False) -> None:  # noqa: ARG002
        self._bar.close()


class _Lines:
    def __init__(
        self, stage: str, done: int, total: int, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self.stage, self.first, self.done, self.total = stage, done, done, total
        self._write, self._clock = write, clock
        self._started = self._last = clock()
        self._open = not total or done < total
        if self._open:
            self._write(f"{stage}: {self._count()} done" if total else f"{stage}: started")

    def update(self, done: int, total: int, note: str) -> None:
        self.done, self.total = done, total
        if total and done >= total:
            self.close()
        elif self._clock() - self._last >= LINE_EVERY:
            self._last = self._clock()
            self._write(f"{self.stage}: {self._state()}" + (f", {note}" if note else ""))

    def close(self, stopped: bool = False) -> None:
        """Write the last line, once; a stage that was short has none."""
        took = self._clock() - self._started
        if self._open and took >= SHORT:
            before = "stopped at " if stopped else ""
            self._write(f"{self.stage}: {before}{self._count()} in {duration(took)}")
        self._open = False

    def _count(self) -> str:
        return f"{self.done:,} of {self.total:,}" if self.total else f"{self.done:,}"

    def _state(self) -> str:
        speed = (self.done - self.first) / max(self._clock() - self._started, 1e-9)
        parts = [self._count(), f"{speed:,.3g} a second"]
        if self.total and speed > 0:
            parts.append(f"{duration((self.total - self.done) / speed)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
