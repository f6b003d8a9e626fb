"""Work on many rows at once -> the same work, with half as many rows at a time where memory ends."""

import logging
from collections.abc import Callable

from wordsight.errors import InputError

PHRASES = (  # of errors of the processor, CUDA, Triton, Apple's GPU and libraries
    "can't allocate memory", "not enough memory", "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
)  # fmt: skip
_log = logging.getLogger("wordsight.device")


class Halving:
    """Calls work for ranges of rows; remembers how many rows were too many.

    ``what`` names the rows in messages: pictures, rows of the index.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.most: int | None = None  # rows at once; None: as many as are given

    def run(self, work: Callable[[int, int], None], start: int, stop: int) -> None:
        """Call ``work(start, stop)``, or for parts of this range, in order.

        A call that runs out of memory is repeated with half its rows, so it must have changed nothing before.
        Raises InputError if a single row is too much.
        """
        while start < stop:
            end = stop if self.most is None else min(stop, start + self.most)
            if _fits(work, start, end):
                start = end
                continue
            if end - start == 1:
                raise InputError(
                    f"out of memory with 1 of the {self.what} at a time",
                    "free some memory, or take --device cpu",
                )
            self.most = (end - start) // 2
            _log.warning(
                "out of memory with %d %s at once; going on with %d", end - start, self.what, self.most
            )


def _fits(work: Callable[[int, int], None], start: int, stop: int) -> bool:
    """Whether the work was done; its memory is free afterwards, since no traceback refers to it."""
    try:
        work(start, stop)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    free_cached()
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the processor's allocator, had too little memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(phrase in str(error) for phrase in PHRASES)


def free_cached() -> None:
    """Return the memory that torch holds for later, which may be in pieces too small to use."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
