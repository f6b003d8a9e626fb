"""The processor, the memory and the GPU of this machine, as the system and torch describe them."""

import os
import platform
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from wordsight.doctor.facts import Fact, State
from wordsight.runtime.allocation import memory_in_numbers
from wordsight.runtime.compiler import missing_for_programs

CPU_INFO = Path("/proc/cpuinfo")
MEMORY_LIMITS = tuple(
    Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")
)
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
INSTRUCTIONS = (  # that decide how fast wordsight is, as Linux names them
    "sse4_2", "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16",
    "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
LIMITS = (  # variables that change how fast torch computes
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
LITTLE_MEMORY = 2  # GB


def processor() -> Iterator[Fact]:
    described = CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.is_file() else ""
    yield Fact("processor", _model_name(described) or platform.processor() or platform.machine())
    yield Fact("cores", _cores())
    known = set(
        re.findall(r"\S+", " ".join(re.findall(r"^(?:flags|Features)\s*: (.*)$", described, re.M)[:1]))
    )
    if known:
        yield Fact("instruction sets", [name for name in INSTRUCTIONS if name in known])
    else:
        yield Fact("architecture", platform.machine())
    yield _memory()
    for name in LIMITS:
        if name in os.environ:
            yield Fact(name, os.environ[name], State.note, "set in this shell; it limits torch")


def _model_name(described: str) -> str:
    found = re.search(r"^(?:model name|Model)\s*: (.+)$", described, re.MULTILINE)
    return found[1].strip() if found else ""


def _cores() -> str:
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quota = CPU_LIMIT.read_text(encoding="utf-8").split() if CPU_LIMIT.is_file() else []
    limit = (
        f", limited to {int(quota[0]) / int(quota[1]):.1f} of them"
        if quota[:1] > ["0"] and _is_number(quota)
        else ""
    )
    return f"{usable} of {there}{limit}"


def _is_number(quota: list[str]) -> bool:
    return len(quota) == 2 and all(part.isdigit() and int(part) for part in quota)


def _memory() -> Fact:
    numbers = memory_in_numbers()
    if numbers is None:
        return Fact("memory", "unknown")
    total = 4 * numbers
    texts = [path.read_text(encoding="utf-8").strip() for path in MEMORY_LIMITS if path.is_file()]
    limits = [int(text) for text in texts if text.isdecimal()]
    usable = min([total, *limits])
    value = f"{usable / 1e9:.1f} GB" + (f" of {total / 1e9:.1f} GB" if usable < total else "")
    little = usable < LITTLE_MEMORY * 1e9
    return Fact("memory", value, State.note if little else State.ok, "give --memory-mb 64" if little else "")


def gpu() -> Iterator[Fact]:
    if find_spec("torch") is None:
        yield Fact("GPU", "unknown: torch is not installed", State.note)
        return
    import torch

    if not torch.cuda.is_available():
        driver = Path("/proc/driver/nvidia/version").is_file()
        built = torch.version.cuda
        advice = ""
        if driver and built is None:
            advice = (
                "an NVIDIA driver is there, but this torch is built for CPUs: see pytorch.org/get-started"
            )
        elif driver:
            advice = f"an NVIDIA driver is there, but torch (CUDA {built}) cannot use it: update the driver"
        mps = hasattr(torch.backends, "mps") and torch.backends.mps.is_available()
        value = "Apple GPU: --device mps" if mps else "none that torch can use"
        yield Fact("GPU", value, State.note if driver else State.ok, advice)
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        yield Fact(
            f"GPU {number}",
            f"{about.name}, {about.total_memory / 1e9:.1f} GB, compute {about.major}.{about.minor}",
        )
    yield Fact("CUDA of torch", str(torch.version.cuda))
    yield Fact("bfloat16 on the GPU", bool(torch.cuda.is_bf16_supported()))
    missing = missing_for_programs()
    advice = "until then blocks do their work, and take more time and memory" if missing else ""
    yield Fact("programs for the GPU", missing or "can start", State.note if missing else State.ok, advice)
