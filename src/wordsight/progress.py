"""Progress of long work -> a bar on a terminal; in a log, a line at the start and one every 30 seconds."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

Progress = Callable[[str, int, int], None]  # the stage, how many are done, of how many (0: unknown)
EVERY = 30.0  # seconds between two lines of a log


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class ProgressDisplay:
    """A Progress for people, to be used in a ``with`` block; what it shows goes to stderr.

    A stage begins with its first call, and again when its count falls. ``patience``: seconds for which a log
    gets no line, for work that is mostly short.
    """

    def __init__(
        self,
        patience: float = 0.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._clock, self._quiet_until = stream or sys.stderr, clock, clock() + patience
        self._stages: dict[str, _Bar | _Lines] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        shown = self._stages.get(stage)
        if shown is not None and done < shown.done:
            shown.close()
            shown = None
        if shown is None:
            if not self._stream.isatty() and self._clock() < self._quiet_until:
                return
            shown = self._stages[stage] = self._begun(stage, done, total)
        shown.update(done, total)

    def _begun(self, stage: str, done: int, total: int) -> "_Bar | _Lines":
        if self._stream.isatty():
            return _Bar(stage, done, total, self._stream)
        return _Lines(stage, done, total, self._stream, self._clock)

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shown in self._stages.values():
            shown.close()


class _Bar:
    def __init__(self, stage: str, done: int, total: int, stream: TextIO) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self._bar: Any = tqdm(desc=stage, initial=done, total=total or None, file=stream)

    @property
    def done(self) -> int:
        return int(self._bar.n)

    def update(self, done: int, total: int) -> None:
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, stage: str, done: int, total: int, stream: TextIO, clock: Callable[[], float]) -> None:
        self.stage, self.first, self.done, self.total = stage, done, done, total
        self._stream, self._clock = stream, clock
        self._began = self._last = clock()
        self._print(f"begins, {self._count()} done" if total else "begins")

    def update(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self._clock() - self._last >= EVERY:
            self._last = self._clock()
            self._print(self._state())

    def close(self) -> None:
        """A last line, if the stage was so long that it had one in between."""
        took = self._clock() - self._began
        if self._last > self._began:
            self._print(f"{self._count()} in {in_words(took)}")
            self._last = self._began

    def _count(self) -> str:
        return f"{self.done:,} of {self.total:,}" if self.total else f"{self.done:,}"

    def _state(self) -> str:
        speed = (self.done - self.first) / max(self._clock() - self._began, 1e-9)
        left = self.total - self.done
        parts = [self._count(), f"{speed:,.3g} a second"]
        if self.total and speed > 0:
            parts.append(f"{in_words(left / speed)} left")
        return ", ".join(parts)

    def _print(self, line: str) -> None:
        print(f"{self.stage}: {line}", file=self._stream, flush=True)


def in_words(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
