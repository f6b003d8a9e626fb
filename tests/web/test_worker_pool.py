"""The threads of a server's work."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the REST interface needs wordsight[serve]")

from wordsight.web.worker_pool import WorkerPool


def test_all_threads_run_from_the_first_request_on() -> None:
    """Each takes memory of its own: a server whose last thread starts after hours would seem to leak."""

    async def several() -> list[set[threading.Thread]]:
        return [await pool(working) for _ in range(3)]

    def working() -> set[threading.Thread]:
        return set(threading.enumerate()) - before

    pool, before = WorkerPool(5, 0), set(threading.enumerate())
    try:
        seen = asyncio.run(several())
        assert [len(threads) for threads in seen] == [5] * 3
    finally:
        pool.close()
    assert not set(threading.enumerate()) & seen[0]
