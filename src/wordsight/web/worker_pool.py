"""Bounded pool of threads: excess calls are refused."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from wordsight.web.problems import Refused

Result = TypeVar("Result")
RETRY_SECONDS = 1  # after which to try again


class WorkerPool:
    """Run ``threads`` calls at once; ``waiting`` more may wait, further ones get a 503."""

    def __init__(self, threads: int, waiting: int) -> None:
        self.threads, self.limit = threads, threads + waiting
        self.under_way = self.refused = 0  # both change only on the event loop
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(self, do: Callable[..., Result], *given: Any, **named: Any) -> Result:
        if self.under_way >= self.limit:
            self.refused += 1
            raise Refused(
                503,
                "busy",
                f"{self.under_way} requests are running or waiting, the limit; "
                f"try again in {RETRY_SECONDS} s.",
                {"retry-after": str(RETRY_SECONDS)},
            )
        if self._pool is None:
            self._pool = _started(self.threads)
        self.under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: do(*given, **named))
        finally:
            self.under_way -= 1

    def close(self) -> None:
        """Wait for running calls; a later call starts a new pool."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def _started(threads: int) -> ThreadPoolExecutor:
    """A pool whose threads all run from the start.

    A thread takes some MB of its own when it first multiplies, for as long as it lives. By default a pool
    starts its last threads when requests happen to coincide, perhaps after hours.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="wordsight")
    all_there = Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(all_there.wait)
    all_there.wait()
    return pool
