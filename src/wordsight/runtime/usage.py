"""Processor seconds and memory that this process has used, where the system says so."""

import os
import sys


def cpu_seconds() -> float:
    """Seconds of all threads, in the program and in the system."""
    used = os.times()
    return used.user + used.system


def peak_memory_mb() -> float | None:
    """The most memory that was resident at once; None on systems without getrusage (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, others kilobytes
