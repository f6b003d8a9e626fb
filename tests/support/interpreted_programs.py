"""Triton's programs on the processor, by Triton's interpreter, and ragged sets to run them on."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from wordsight.sets import EmbeddingSet
from wordsight.similarity.kernels import launch

PROGRAMS = "triton_tiles", "triton_max_sim", "triton_cross_attention"


def run_on_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the programs without the check of shapes, whose wrappers Triton cannot read, and allow them."""
    for program in PROGRAMS:
        name = f"wordsight.similarity.kernels.{program}"
        if name not in sys.modules:
            spec = spec_from_file_location(name, Path(launch.__file__).with_name(f"{program}.py"))
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
    monkeypatch.setattr(launch, "ON_PROCESSOR", True)


def ragged(count: int, items: int, dim: int, seed: int) -> EmbeddingSet:
    """Sets of one to ``items`` vectors; padding holds what must not be read."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, items + 1, (count,), generator=draw)
    lengths[count // 2] = items
    mask = torch.arange(items) < lengths[:, None]
    vectors = torch.randn(count, items, dim, generator=draw)
    return EmbeddingSet(vectors.masked_fill(~mask[..., None], float("nan")), mask)
