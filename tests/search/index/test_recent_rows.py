"""Rows of the last filters are found once, and never fill the memory."""

from pathlib import Path

import numpy as np
from made_index import make_index

from wordsight.search.index.database import Filters
from wordsight.search.index.recent_rows import RecentRows


def test_the_least_recently_used_rows_are_forgotten_first() -> None:
    recent, found = RecentRows(max_bytes=3 * 80), []

    def get(key: str, count: int = 10) -> None:
        def find() -> np.ndarray:
            found.append(key)
            return np.arange(count)

        assert len(recent.get(key, find)) == count

    for key in "abcab":
        get(key)
    assert "".join(found) == "abc"
    get("d")  # "c" is the one that was not used for longest
    for key in "abd":
        get(key)
    assert "".join(found) == "abcd"
    get("huge", 31)
    get("huge", 31)
    get("a")
    assert found[4:] == ["huge", "huge"]


def test_filters_by_date_words_and_ids_combine(tmp_path: Path) -> None:
    made = make_index(tmp_path / "index", 300, regions=1, dim=16)  # picture n is of second 10^9 + n
    with made.snapshot() as snapshot:
        ids = snapshot.ids.tolist()
        for _ in range(2):
            for filters, rows in (
                (Filters(folder="07"), [7, 107, 207]),
                (Filters(folder="07", after=1e9 + 107), [107, 207]),
                (Filters(folder="07", before=1e9 + 107), [7]),
                (Filters(text="07", ids=[ids[207], ids[8], 10**9], before=1e9 + 300), [207]),
                (Filters(ids=[ids[5], ids[3]]), [3, 5]),
                (Filters(after=1e9 + 298), [298, 299]),
                (Filters(after=1e9 + 3, before=1e9 + 5), [3, 4]),
                (Filters(after=1e300), []),
            ):
                found = snapshot.rows_where(filters)
                assert found is not None
                assert found.tolist() == rows, filters
        assert snapshot.rows_where(Filters()) is None
