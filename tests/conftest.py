"""Shared by all tests: shapes are checked on every call, and the real photos are found by path."""

import gc
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from support.shape_check import check_shapes

os.environ["OMP_NUM_THREADS"] = (
    "1"  # one thread here and in the processes of the tests: the same bits in both
)
_cache = TemporaryDirectory(prefix="wordsight-tests-")  # nothing is left in the folders of who runs the tests
os.environ["WORDSIGHT_CACHE"] = _cache.name
os.environ["WORDSIGHT_NO_EXPORT"] = "1"  # a second for each index that a command makes; its test says 0
torch.set_num_threads(1)
gc.set_threshold(10_000)  # of 700: looking for cycles took up to a quarter of the time
os.fsync = os.fstat  # type: ignore[assignment]  # no test cuts the power: the disk need not have it
if not Path("/dev/nvidia0").exists():  # before anything imports triton, whose own library is compiled or not
    os.environ.setdefault("TRITON_INTERPRET", "1")
check_shapes()

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


def pytest_collection_finish() -> None:
    """What is loaded by now stays, and is not searched for cycles again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; tests that use it carry ``@pytest.mark.data``."""
    return DATA


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache on a machine without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"
