"""Two runs that must be equal to the last bit."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

FILES = ("last/weights.safetensors", "last/resume.safetensors", "best/weights.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """The same weights, optimizer state, average and best model to the bit, and the same steps in the log."""
    for name in FILES:
        first, second = load_file(one / name), load_file(other / name)
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert logged(one) == logged(other)


def logged(folder: Path) -> list[dict[str, Any]]:
    """All steps and epochs of the log but their speed, which no two runs share.

    A shorter run that is then made longer may have warned that it ends inside a warm-up.
    """
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["event"] != "warning"]
    return [{key: value for key, value in line.items() if key != "pairs_per_second"} for line in told]
