"""Shared by all tests: shapes are checked on every call, and the real photos are found by path."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from jaxtyping import install_import_hook

os.environ["OMP_NUM_THREADS"] = (
    "1"  # one thread here and in the processes of the tests: the same bits in both
)
_cache = TemporaryDirectory(prefix="wordsight-tests-")  # nothing is left in the folders of who runs the tests
os.environ["WORDSIGHT_CACHE"] = _cache.name
torch.set_num_threads(1)
install_import_hook("wordsight", "shape_check.checked")

DATA = Path(os.environ.get("WORDSIGHT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DATA.is_dir():
        return
    absent = f"the photos and weights are not at {DATA}; set WORDSIGHT_DATA to their folder"
    if os.environ.get("WORDSIGHT_REQUIRE_DATA"):
        raise pytest.UsageError(absent)
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(pytest.mark.skip(reason=absent))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; tests that use it carry ``@pytest.mark.data``."""
    return DATA


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def sine(*shape: int, shift: float = 0.0) -> torch.Tensor:
    """The deterministic input of the golden numbers: sin(0.7 (i+1)(j+2) + 0.3 (k+1)^2 + shift), float64."""
    i, j, k = (torch.arange(size, dtype=torch.float64) for size in shape)
    return torch.sin(0.7 * (i[:, None, None] + 1) * (j[None, :, None] + 2) + 0.3 * (k + 1) ** 2 + shift)


def fill(module: torch.nn.Module) -> None:
    """The golden numbers' weights: parameter n holds 0.3 sin(0.5 index + 0.1 (n + 1))."""
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            index = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((0.3 * torch.sin(0.5 * index + 0.1 * (n + 1))).reshape(parameter.shape))
