"""Rows of a mapped file are those of the file, in any order, up to its end."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from wordsight.files.row_map import RowMap

ROWS, WIDTH = 5000, 3  # three pages and a part of a fourth


@pytest.mark.parametrize("advises", [True, False], ids=["advice", "none, as on Windows"])
def test_rows_are_those_of_the_file(advises: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not advises:
        monkeypatch.delattr(mmap, "MADV_RANDOM", raising=False)
        monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    table = np.arange(ROWS * WIDTH, dtype="<f2").reshape(ROWS, WIDTH)
    table.tofile(tmp_path / "rows.bin")
    rows = RowMap(tmp_path / "rows.bin", "<f2", table.shape)
    draw = np.random.default_rng(0)
    for some in (np.array([ROWS - 1, 0, ROWS - 1]), draw.integers(0, ROWS, 700), np.zeros(0, np.int64)):
        np.testing.assert_array_equal(rows[some], table[some])
