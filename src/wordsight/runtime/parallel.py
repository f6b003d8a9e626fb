"""Parts of a work that a network does -> done at once, each on one processor thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from wordsight.tensors import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def run_parallel(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """``work`` of each part, in order; as many at once as torch has threads, and each on one of them.

    Threads that share every product wait for each other longer than a small network computes, and ever longer
    where other programs compute too.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) < 2:
        return [work(part) for part in parts]
    alone = partial(torch.set_num_threads, 1)  # of the thread that says so, and of all products of MKL
    try:
        with ThreadPoolExecutor(min(threads, len(parts)), initializer=alone) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(threads)
