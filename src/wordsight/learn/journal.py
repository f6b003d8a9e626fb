"""Events of a run -> log.jsonl (always), TensorBoard (when installed), the logger and the progress shown."""

import logging
import math
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordsight.files.json_text import to_json
from wordsight.learn.collapse import CollapseWarning
from wordsight.runtime.progress import Progress, silent

_log = logging.getLogger("wordsight.learn")
LOG = "log.jsonl"
SMOOTHING = 10.0  # seconds over which the speed is averaged


class Journal:
    """Open from the first step to the last. A process that is not the first of its run writes nothing.

    ``position`` is how many bytes of the log belong to the checkpoint that the run goes on from: what was
    written after it is about steps that will be taken again, and is cut off.
    """

    def __init__(
        self,
        folder: Path,
        writes: bool = True,
        position: int = 0,
        step: int = 0,
        progress: Progress = silent,
    ) -> None:
        self.writes = writes
        self.progress = progress if writes else silent
        self.started = time.monotonic()
        if not writes:
            return
        self.file = (folder / LOG).open("ab")
        self.file.truncate(position)
        self.board = _tensorboard(folder / "tensorboard", step)

    def position(self) -> int:
        """How long the log is, once all of it is on disk."""
        if not self.writes:
            return 0
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.seek(0, os.SEEK_END)

    def write(self, event: str, step: int, **facts: Any) -> None:
        if not self.writes:
            return
        self.file.write(to_json({"event": event, "step": step} | facts).encode() + b"\n")
        self.file.flush()
        if self.board:
            for name, value in facts.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(f"{event}/{name}", value, step)

    def say(self, line: str) -> None:
        if self.writes:
            _log.info(line)

    def note(self, step: int, message: str) -> None:
        """Something to know about the run, said and logged; it is no reason to stop."""
        self.write("warning", step, message=message)
        if self.writes:
            _log.warning(message)

    def warn(self, step: int, message: str) -> None:
        self.write("warning", step, message=message)
        if self.writes:
            warnings.warn(message, CollapseWarning, stacklevel=4)

    def close(self) -> None:
        if self.writes:
            self.position()
            self.file.close()
            if self.board:
                self.board.close()


class Speed:
    """Pairs per second; the last seconds count most."""

    def __init__(self) -> None:
        self.rate, self.last = 0.0, time.monotonic()

    def restart(self) -> None:
        """Forget the time since the last pairs (a validation, say)."""
        self.last = time.monotonic()

    def add(self, pairs: int) -> None:
        now = time.monotonic()
        took = max(now - self.last, 1e-9)
        remembered = math.exp(-took / SMOOTHING) if self.rate else 0.0
        self.rate = remembered * self.rate + (1 - remembered) * pairs / took
        self.last = now


def numbers(facts: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _log.info("tensorboard is not installed: the run is logged to log.jsonl only")
        return None
    return SummaryWriter(str(folder), purge_step=step or None)
