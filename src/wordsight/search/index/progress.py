"""Progress of long work on an index: stage, done, total (0: unknown)."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Progress that is not shown."""
