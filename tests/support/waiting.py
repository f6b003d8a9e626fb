"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 300.0  # seconds; only a fault waits so long, however busy the machine is


def wait_until(
    holds: Callable[[], Any], pause: Callable[[], Any] = lambda: time.sleep(0.01), seconds: float = PATIENCE
) -> None:
    """Return as soon as the condition holds; fail after ``seconds``. ``pause`` runs between two checks."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"did not happen within {seconds:g} seconds"
        pause()
