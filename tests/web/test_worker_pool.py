"""The threads of a server's work."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the REST interface needs wordsight[serve]")

from wordsight.web.worker_pool import WorkerPool


def test_all_threads_run_from_the_first_request_on() -> None:
    """Each takes memory of its own: a server whose last thread starts after hours would seem to leak."""

    async def names() -> list[set[str]]:
        return [await pool(working) for _ in range(3)]

    def working() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.ident not in before}

    pool, before = WorkerPool(5, 0), {thread.ident for thread in threading.enumerate()}
    try:
        seen = asyncio.run(names())
        assert [len(threads) for threads in seen] == [5] * 3
    finally:
        pool.close()
    assert not {thread.name for thread in threading.enumerate()} & seen[0]
