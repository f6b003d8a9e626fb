"""An index that is swapped for another one and back while it is read: every answer is of one index."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.search_models import model, path_of, pictures

from wordsight.files import plain_json
from wordsight.matcher import saved
from wordsight.matcher.saved import IMAGE_SIDE
from wordsight.search.index import database, manifest
from wordsight.search.index.index import Index, IndexReplaced
from wordsight.search.results import Hits
from wordsight.search.searcher import Searcher
from wordsight.search.searcher_state import BACKGROUND_FILE


class Swap:
    """Two indexes with other pictures and other models, and as many commits, that can change places."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder, self.other = home / "index", home / "other"
        for folder, kind, parity in ((self.folder, "max-sim", "even"), (self.other, "cosine", "odd")):
            Index.create(folder, model(kind)).update([pictures() / parity])

    def change(self) -> None:
        self.folder.rename(self.home / "away")
        self.other.rename(self.folder)
        (self.home / "away").rename(self.other)

    def during(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, times: int = 1) -> list[int]:
        """The other index is there during the next calls of a function, and only then."""
        original, calls = getattr(module, name), list[int]()

        def swapped(*arguments: Any, **options: Any) -> Any:
            calls.append(len(calls))
            if len(calls) > times:
                return original(*arguments, **options)
            self.change()
            try:
                return original(*arguments, **options)
            finally:
                self.change()

        monkeypatch.setattr(module, name, swapped)
        return calls


@pytest.fixture
def swap(tmp_path: Path) -> Swap:
    return Swap(tmp_path)


def found(hits: Hits) -> list[tuple[str, float]]:
    return [(hit.item.path, pytest.approx(hit.score, rel=1e-5)) for hit in hits.hits]


def by_sentence(searcher: Searcher) -> Hits:
    return searcher.find_images("a red ball")


def by_picture(searcher: Searcher) -> Hits:
    return searcher.similar(str(path_of(0)))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (database, "connect"),  # the facts and the vectors
        (manifest, "read_meta"),
        (saved.checkpoint, "read_config"),  # the model
        (saved.checkpoint, "load_weights"),
        (saved, "build_parts"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("search", [by_sentence, by_picture])
def test_no_search_mixes_an_index_with_one_that_was_there_meanwhile(
    swap: Swap, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, search: Callable[[Searcher], Hits]
) -> None:
    expected = found(search(Searcher(Index.open(swap.folder))))
    calls = swap.during(monkeypatch, module, name)
    assert found(search(Searcher(Index.open(swap.folder)))) == expected
    assert len(calls) > 1  # what was read of the other index was read again


def test_the_image_side_that_is_built_during_a_search_is_of_its_index(
    swap: Swap, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [found(by_picture(Searcher(Index.open(folder)))) for folder in (swap.folder, swap.other)]
    searcher = Searcher(Index.open(swap.folder))
    by_sentence(searcher)
    assert not any(searcher.matcher.is_built(part) for part in IMAGE_SIDE)
    swap.during(monkeypatch, saved, "build_parts")
    assert found(by_picture(searcher)) == expected[0]
    monkeypatch.undo()
    searcher = Searcher(Index.open(swap.folder))
    session = searcher.session()
    monkeypatch.setattr(searcher.sessions, "session", sessions(session, swap.change, searcher))
    assert found(by_picture(searcher)) == expected[1]  # replaced after the search began: it begins again


def sessions(first: Any, then: Callable[[], None], searcher: Searcher) -> Callable[[], Any]:
    """The session of before, once; the index is replaced before it is used."""
    newest, old = searcher.sessions.session, [first]

    def session() -> Any:
        if not old:
            return newest()
        then()
        return old.pop()

    return session


def test_an_index_that_is_replaced_without_end_is_an_error(
    swap: Swap, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.open(swap.folder)
    monkeypatch.setattr("wordsight.search.index.replaced.PAUSE_SECONDS", 0)
    calls = swap.during(monkeypatch, database, "connect", times=1000)
    with pytest.raises(IndexReplaced, match="changed 10 times while it was read; try again"):
        index.snapshot()
    assert len(calls) == 10


def test_a_link_that_is_turned_to_another_index_and_back_is_noticed(
    swap: Swap, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found(by_sentence(Searcher(Index.open(swap.folder))))
    link, connect = swap.home / "link", database.connect

    def turn(target: Path) -> None:
        (swap.home / "new").symlink_to(target)
        (swap.home / "new").replace(link)

    def turned(folder: Path, write: bool = False) -> Any:
        monkeypatch.setattr(database, "connect", connect)
        turn(swap.other)
        try:
            return connect(folder, write)
        finally:
            turn(swap.folder)

    turn(swap.folder)
    monkeypatch.setattr(database, "connect", turned)
    assert found(by_sentence(Searcher(Index.open(link)))) == expected


def test_measurements_of_another_index_are_not_taken(swap: Swap) -> None:
    ours, theirs = (Searcher(Index.open(folder)) for folder in (swap.folder, swap.other))
    expected = ours.calibration().background
    assert theirs.calibration().background != expected
    stored = plain_json.read(swap.folder / BACKGROUND_FILE)
    shutil.copy(swap.other / BACKGROUND_FILE, swap.folder / BACKGROUND_FILE)
    again = Searcher(Index.open(swap.folder))
    assert again.session().snapshot.generation == theirs.session().snapshot.generation
    assert again.calibration().background == expected
    assert plain_json.read(swap.folder / BACKGROUND_FILE)["index"] == stored["index"]
