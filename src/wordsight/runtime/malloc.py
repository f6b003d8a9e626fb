"""Allocator settings of glibc for long work: a process reuses the memory that it frees.

By default glibc returns every large block to the system when it is freed, and the system hands out zeroed
pages for the next one: a network's activations are paid for page by page in every step, which can take as
long as the arithmetic (docs/PERFORMANCE.md). With these settings a process holds what it needed at its peak.
They change the whole process, so only the command line calls them; with another C library they do nothing.
"""

import ctypes
import os
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # of mallopt(3)
_NEVER = -1
_HEAP_STEP = 64 * 2**20  # bytes by which the heap grows
_MKL_FREES = "MKL_DISABLE_FAST_MM"  # any value: its buffers are freed after each product
_BY_THE_USER = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


@cache
def keep_freed_memory() -> bool:
    """Reuse freed blocks; False without glibc, or where the environment says how to allocate."""
    if any(os.environ.get(name) for name in _BY_THE_USER):
        return False
    return _configure((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _HEAP_STEP))


@cache
def share_freed_memory() -> bool:
    """Let threads reuse freed memory; call it before they start and before torch is loaded.

    By default glibc gives each thread an arena of its own, and MKL keeps the buffers of each thread's largest
    product. A server's memory then grows until every thread has met its largest query, and what short-lived
    threads free goes back to the system. MKL reads its variable when it is loaded.
    """
    os.environ.setdefault(_MKL_FREES, "1")
    return not os.environ.get("MALLOC_ARENA_MAX") and _configure((_ARENA_MAX, 1))


def return_freed_memory() -> bool:
    """Give the free pages between live blocks back to the system; False where that is not possible.

    Threads of a server free tensors of many sizes between small blocks that live on, and the heap grows.
    """
    libc = _glibc()
    return libc is not None and bool(libc.malloc_trim(0))


def _configure(*settings: tuple[int, int]) -> bool:
    libc = _glibc()
    return libc is not None and all(libc.mallopt(*setting) == 1 for setting in settings)


@cache
def _glibc() -> ctypes.CDLL | None:
    """This process's C library, if it is glibc: others take other numbers."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
        libc.mallopt.argtypes, libc.mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
        libc.malloc_trim.argtypes, libc.malloc_trim.restype = (ctypes.c_size_t,), ctypes.c_int
    except (OSError, AttributeError, TypeError):
        return None
    return libc
