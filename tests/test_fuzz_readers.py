"""A small part of benchmarks/fuzz_readers.py: damaged files are read, or refused in one sentence."""

from pathlib import Path

import pytest
from fuzz_readers import fuzz
from reader_targets import Target, targets

CASES = 60
REGIONS = ("regions", "regions safetensors", "regions lists", "regions means")
SLOW = ("background", *REGIONS)  # without them much is computed again


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    """A whole file for each reader."""
    return targets(tmp_path_factory.mktemp("wholes"))


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path: Path, known: dict[str, Target]) -> None:
    counts, wrong = fuzz(tmp_path, range(CASES), seed=11, limit_memory=False, leave_out=SLOW, known=known)
    assert wrong == {}
    assert sum(counts.values()) == CASES
    assert len(counts) > 30


@pytest.mark.parametrize(
    "reader",
    [
        "scores",
        "npy",
        "sqlite",
        "choices",
        "labels",
        "vocabulary",
        "store",
        "store lines",
        "scored",
        "detections",
    ],
)
def test_readers_that_once_failed(tmp_path: Path, known: dict[str, Target], reader: str) -> None:
    _, wrong = fuzz(tmp_path, range(15), seed=5, reader=reader, limit_memory=False, known=known)
    assert wrong == {}
