"""Parts done at once give what they give one by one, and leave the threads as they were."""

import threading

import pytest
import torch
from support.waiting import PATIENCE

from wordsight.runtime.parallel import run_parallel


@pytest.fixture
def three_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_results_come_in_order_from_threads_of_one_processor_each() -> None:
    met = threading.Barrier(3, timeout=PATIENCE)  # passed only if three are at work at once

    def work(part: int) -> tuple[int, int]:
        met.wait()
        return part * part, torch.get_num_threads()

    assert run_parallel(work, range(6)) == [(part * part, 1) for part in range(6)]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_an_error_is_the_callers_and_the_threads_come_back() -> None:
    def work(part: int) -> int:
        if part == 2:
            raise ValueError("the third part")
        return part

    with pytest.raises(ValueError, match="the third part"):
        run_parallel(work, range(4))
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_single_part_keeps_all_threads() -> None:
    assert run_parallel(lambda _: torch.get_num_threads(), [0]) == [3]
    assert run_parallel(lambda part: part, []) == []
