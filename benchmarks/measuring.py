"""One measurement in a process of its own: CPU seconds, wall seconds, memory beyond what was there before."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch


def measured(act: Callable[[], Any], device: str) -> tuple[Any, dict[str, float]]:
    """What ``act`` returns, and what it took."""
    _forget_peak(device)
    before = _memory(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = act()
    if device == "cuda":
        torch.cuda.synchronize()
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return result, {**took, "extra_mb": max(0.0, _peak(device) - before)}


def in_own_process(
    script: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a benchmark's own file as a child; its last line is its JSON."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: median(each[key] for each in rounds) for key in ("wall", "cpu", "extra_mb")}


def resident(process: int | str = "self") -> float:
    """MB that a process has in memory."""
    return _status("VmRSS", process)


def anonymous(process: int | str = "self") -> float:
    """MB of these that belong to no file: what a program allocated."""
    return _status("RssAnon", process)


def _status(field: str, process: int | str = "self") -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew


def _memory(device: str) -> float:
    return torch.cuda.memory_allocated() / 2**20 if device == "cuda" else _status("VmRSS")


def _peak(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
