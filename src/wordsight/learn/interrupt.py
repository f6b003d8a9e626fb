"""Ctrl-C -> a question that the loop answers between two steps, when its state is whole."""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """In the block the first Ctrl-C (or SIGTERM) only sets ``requested``; the second one stops at once."""

    def __init__(self, active: bool = True) -> None:
        self.active = active and threading.current_thread() is threading.main_thread()
        self.requested = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if self.active:
            self.before = {
                number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
