"""The setting device ("auto", "cpu", "cuda", "cuda:1", "mps") -> a device that torch has here.

One policy for every command and for Python: "auto" takes the first GPU of CUDA that torch can use, else the
processor; a device that is named and missing is an error that says what is missing.
"""

import logging
import os
from typing import TYPE_CHECKING

from wordsight.errors import InputError

if TYPE_CHECKING:
    import torch

NAMES = "auto, cpu, cuda, cuda:1, mps"
PROCESSOR = "cpu"  # where results return to
BLOCK_SHARE = 1 / 16  # of a GPU's free memory, for one block of scores: a small block leaves it idle
MOST_BLOCK_MB = 1024.0
CACHE_SHARE = 0.8  # of a GPU's free memory, for the vectors of an index and for its blocks
_log = logging.getLogger("wordsight.device")


def find_device(name: "str | torch.device" = "auto", setting: str = "--device") -> "torch.device":
    """The device of this name; ``setting`` is what an error names.

    Raises InputError for a name that is none, and for a device that torch cannot use here.
    """
    from wordsight.tensors import IS_TORCH, torch

    if not IS_TORCH:
        return torch.device(PROCESSOR if str(name) == "auto" else str(name))
    if isinstance(name, torch.device):
        name = str(name)
    if name == "auto":
        return _automatic()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"{setting} {name}: no such device", f"give one of {NAMES}") from None
    if device.type not in (PROCESSOR, "cuda", "mps"):
        raise InputError(f"{setting} {name}: wordsight does not use this kind", f"give one of {NAMES}")
    problem = _problem(device)
    if problem is not None:
        raise InputError(f"{setting} {name}: {problem}", "give auto, or cpu")
    return device


def training_device(name: str) -> "torch.device":
    """The device of this training process: of those that torchrun starts, each has a GPU of its own."""
    import torch

    setting = "[training] device ="
    device, processes = find_device(name, setting), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type != "cuda" or (device.index is not None and name != "auto"):
        return device
    count = torch.cuda.device_count()
    if name == "auto" and processes > count:
        _log.warning("%d processes have %d GPU: all of them use the processor", processes, count)
        return torch.device(PROCESSOR)
    return find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}", setting)


def exact_device(device: "torch.device") -> "torch.device":
    """The device that has float64: the same one; for Apple's GPU, the processor."""
    from wordsight.tensors import torch

    return device if has_float64(device) else torch.device(PROCESSOR)


def has_float64(device: "torch.device") -> bool:
    """Whether a device computes in float64: all but Apple's GPU do."""
    return device.type != "mps"


def on_gpu(device: "torch.device") -> bool:
    return device.type != PROCESSOR


def free_mb(device: "torch.device") -> float | None:
    """Free memory of a GPU; None for a device that shares the processor's memory."""
    if device.type != "cuda":
        return None
    import torch

    return float(torch.cuda.mem_get_info(device)[0]) / 2**20


def block_mb(memory_mb: float, device: "torch.device") -> float:
    """Memory for one block of scores: the setting, which is meant for a processor; more on a GPU."""
    free = free_mb(device)
    return memory_mb if free is None else max(memory_mb, min(MOST_BLOCK_MB, free * BLOCK_SHARE))


def cache_mb(memory_mb: float, device: "torch.device") -> float:
    """Memory for the rows of an index on a device: most of what is free on a GPU, else the setting."""
    free = free_mb(device)
    return memory_mb if free is None else free * CACHE_SHARE


def _automatic() -> "torch.device":
    import torch

    first = torch.device("cuda", 0)
    if not torch.cuda.is_available():
        return torch.device(PROCESSOR)
    problem = _problem(first)
    if problem is not None:
        _log.warning("%s: the processor is used", problem)
        return torch.device(PROCESSOR)
    return first


def _problem(device: "torch.device") -> str | None:
    """Why torch cannot use a device; None if it can."""
    import torch

    if device.type == "mps":
        if torch.backends.mps.is_available():
            return None
        built = torch.backends.mps.is_built()
        return "this machine has no Apple GPU" if built else "this torch was built without Apple's Metal"
    return _cuda_problem(device.index or 0) if device.type == "cuda" else None


def _cuda_problem(number: int) -> str | None:
    import torch

    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"this torch ({torch.__version__}) was built without CUDA; install a build with it"
    if not torch.cuda.is_available():
        return "torch sees no GPU; see whether nvidia-smi does"
    count = torch.cuda.device_count()
    if number >= count:
        return f"this machine has {count} GPU{'s' if count > 1 else ''}, numbered from 0"
    return _too_old(number)


def _too_old(number: int) -> str | None:
    """Whether this torch has no program for so old a GPU."""
    import torch

    built = [name[3:] for name in torch.cuda.get_arch_list() if name.startswith("sm_")]
    oldest = min((int(name) for name in built if name.isdigit()), default=0)
    major, minor = torch.cuda.get_device_capability(number)
    if 10 * major + minor >= oldest:
        return None
    return (
        f"the GPU has compute capability {major}.{minor}, and this torch needs "
        f"{oldest // 10}.{oldest % 10} or newer: it is too old"
    )
