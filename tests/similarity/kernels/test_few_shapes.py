"""Products of any size are right and use few sizes: a server's memory does not grow with its queries."""

import random
import sys

import pytest
import torch
from support import search_models, warm_process
from torch import Tensor

from wordsight.search.index.index import Filters
from wordsight.similarity.kernels import matmul
from wordsight.similarity.kernels.few_shapes import COLUMNS, ROWS, in_few_shapes
from wordsight.similarity.kernels.matmul import product

SIZES = [(0, 3), (1, 0), (1, 1), (7, 40), (63, 8), (64, 9), (65, 512), (500, 513), (1008, 500), (1025, 999)]
GROWTH = """
import random, torch
from wordsight.similarity.kernels.matmul import product

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

torch.set_num_threads(1)
draws, vectors = random.Random(0), torch.randn(1200, 64)
sizes = [(draws.randrange(64, 1200), draws.randrange(1, 64)) for _ in range(400)]
for rows, columns in sizes[:50]:
    product(vectors[:rows], vectors[:columns])
before = resident()
for rows, columns in sizes:
    product(vectors[:rows], vectors[:columns])
print(resident() - before)
"""


class Recorder:
    """The real product, with the sizes that it was called with."""

    def __init__(self) -> None:
        self.multiply, self.sizes = matmul._linear, set[tuple[int, int]]()

    def __call__(self, rows: Tensor, columns: Tensor) -> Tensor:
        self.sizes.add((len(rows), len(columns)))
        return self.multiply(rows, columns)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("dim", [5, 600])
def test_the_product_is_right_at_any_size(rows: int, columns: int, dim: int) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(rows, dim), torch.randn(columns, dim)
    exact = (left.double() @ right.double().T).float()
    torch.testing.assert_close(product(left, right), exact, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(in_few_shapes(matmul._mm, left, right), exact, atol=1e-4, rtol=1e-4)


def test_all_calls_are_of_few_sizes() -> None:
    record, draws = Recorder(), random.Random(0)
    record.multiply = matmul._mm
    vectors = torch.randn(40_000, 2)
    for _ in range(500):
        rows, columns = int(40_000 ** draws.random()), int(1500 ** draws.random())
        in_few_shapes(record, vectors[:rows], vectors[:columns])
    assert {rows for rows, _ in record.sizes} <= set(ROWS)
    assert {columns for _, columns in record.sizes} <= set(COLUMNS)


def test_little_is_computed_for_nothing() -> None:
    computed = 0

    def count(rows: Tensor, columns: Tensor) -> Tensor:
        nonlocal computed
        computed += len(rows) * len(columns)
        return matmul._mm(rows, columns)

    for rows in (1000, 5000, 5461, 16_380, 33_000):
        for columns in (16, 500, 1000):
            computed = 0
            in_few_shapes(count, torch.zeros(rows, 2), torch.zeros(columns, 2))
            assert computed <= 1.2 * rows * columns


def test_searches_of_every_length_and_filter_use_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul._cpu_product()
    record = Recorder()
    monkeypatch.setattr(matmul, "_linear", record)
    searcher, words = search_models.searcher("max-sim"), " ".join(search_models.texts_of(0)).split()
    folders = [None, *(Filters(folder=str(search_models.pictures() / name)) for name in ("even", "odd"))]
    for length in range(1, 41):
        text = " ".join((words * 8)[:length])
        for filters in folders:
            searcher.find_images(text, filters=filters)
    searcher.find_images(f"+{words[-1]} -{words[0]}")
    assert len(record.sizes) <= 15


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_sizes() -> None:
    told = warm_process.run(program=("code", GROWTH))
    assert float(told.stdout) < 40  # megabytes; each new size alone takes half of one
