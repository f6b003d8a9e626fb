"""What is freed is kept: large tensors, made again and again, cost few new pages."""

import os
import platform
import subprocess
import sys
from functools import cache

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
FAULTS = """
import ctypes, resource, threading
from concurrent.futures import ThreadPoolExecutor
from wordsight.runtime.malloc import keep_freed_memory, share_freed_memory
kept = keep_freed_memory()
share_freed_memory()
import torch
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def live():
    if not hasattr(libc := ctypes.CDLL(None), "mallinfo2"):
        return 0
    counts = (ctypes.c_size_t * 10)  # the last but two: bytes of blocks that are in use
    libc.mallinfo2.restype = type("Counts", (ctypes.Structure,), {"_fields_": [("all", counts)]})
    return libc.mallinfo2().all[7]
def multiply(_):
    together.wait()
    return len(rows @ columns)
pages()
found = pages()
rows, columns = (torch.ones(*shape, dtype=torch.float64) for shape in ((2000, 256), (256, 64)))
together, before = threading.Barrier(8), live()
with ThreadPoolExecutor(8) as pool:
    list(pool.map(multiply, range(8)))
    print(kept, found, live() - before)
"""


@cache
def run(**environment: str) -> tuple[str, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")} | environment,
    )
    kept, pages, in_use = done.stdout.split()
    return kept, int(pages), int(in_use)


def test_a_tensor_of_64_mb_made_anew_needs_few_new_pages() -> None:
    kept, pages, _ = run()
    assert kept == "True"
    assert 4 * pages < run(MALLOC_TRIM_THRESHOLD_="131072")[1]  # what they cost otherwise


def test_what_the_environment_says_of_the_allocator_is_left_alone() -> None:
    assert run(MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"


def test_threads_keep_no_buffers_of_their_products() -> None:
    """Else each keeps a copy of the largest that it met, here 4 MB: a server's memory grows for hours."""
    assert run()[2] < 4e6  # of eight threads and their own


SCATTERED = """
from pathlib import Path
from wordsight.runtime.malloc import return_freed_memory, share_freed_memory
share_freed_memory()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
blocks = [bytes(30_000) for _ in range(4000)]
blocks = blocks[::50]  # between two that live on, 1.5 MB are free
print(resident() - before, return_freed_memory(), resident() - before)
"""


def test_free_pages_between_live_blocks_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, check=True)
    scattered, given_back, left = done.stdout.split()
    assert given_back == "True"
    assert int(scattered) > 100e6
    assert int(left) < 30e6
