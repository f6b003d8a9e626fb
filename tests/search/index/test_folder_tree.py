"""The folders that a search can be narrowed to, and how much lies below each."""

import os
from pathlib import Path

from support.search_models import PICTURES, index, model, path_of, pictures

from wordsight.search.index.folder_tree import Folder, Folders, folders_of
from wordsight.search.index.index import Filters, Index
from wordsight.search.searcher import Searcher


def test_a_folder_counts_all_that_lies_below_it() -> None:
    told = folders_of({b"/p/2024/may": 3, b"/p/2024": 2, b"/p/2023/june": 4, b"/p/2023/june/sea": 1})
    assert told.root == "/p"
    assert [(one.name, one.items) for one in told.below] == [
        ("2023", 5),
        ("2023/june", 5),
        ("2024", 5),
        ("2024/may", 3),
        ("2023/june/sea", 1),
    ]
    assert told.below[3].path == "/p/2024/may"


def test_one_folder_has_none_below_it() -> None:
    assert folders_of({b"/p/a": 7}) == Folders("/p/a", ())
    assert folders_of({}) == Folders("", ())


def test_sources_that_share_nothing_are_told_apart_by_their_whole_names() -> None:
    told = folders_of({b"/a/x": 1, b"/b/y": 2})
    assert told.root == "/"
    assert [one.name for one in told.below] == ["b", "b/y", "a", "a/x"]


def test_names_that_are_no_text_are_named_as_shown_and_equal_ones_count_as_one() -> None:
    found = folders_of({b"/p/a/\xff": 2, b"/p/a/\xfe": 3, b"/p/b": 1})
    odd = "a/\N{REPLACEMENT CHARACTER}"
    assert found.below == (Folder("/p/a", "a", 5), Folder(f"/p/{odd}", odd, 5), Folder("/p/b", "b", 1))


def test_each_is_a_filter_that_finds_as_many() -> None:
    moment = Searcher(index()).session()
    assert moment.folders.root == str(pictures())
    assert sum(one.items for one in moment.folders.below) == PICTURES
    for one in moment.folders.below:
        rows = moment.snapshot.rows_where(Filters(folder=one.path))
        assert rows is not None
        assert len(rows) == one.items


def test_they_follow_the_index(tmp_path: Path) -> None:
    made = Index.create(tmp_path / "index", model("max-sim"))
    asking = Searcher(made)
    assert asking.session().folders == Folders("", ())
    for name in ("one", "two"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        os.link(path_of(0), tmp_path / "photos" / name / "0.png")
    made.update([tmp_path / "photos"])
    assert [one.name for one in asking.session().folders.below] == ["one", "two"]
