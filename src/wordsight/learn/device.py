"""The setting device -> where to train."""

import torch

from wordsight.errors import InputError


def wants_cuda(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def find_device(name: str, local_rank: int) -> torch.device:
    if not wants_cuda(name):
        return _device("cpu" if name == "auto" else name)
    if not torch.cuda.is_available():
        raise InputError(f'[training] device = "{name}", but torch sees no GPU here; use "auto" or "cpu"')
    return _device(name if ":" in name else f"cuda:{local_rank}")


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f'[training] device = "{name}"; expected auto, cpu, cuda or cuda:1') from None
