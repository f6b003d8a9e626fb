"""Promises that every kind of index keeps: hits of an exact search, filters, pages, updates, restarts, kills.

A kind is a function from a folder and a model to an empty index. A new one is added to ``KINDS``.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from support import postgres_server
from support.search_models import KINDS as MODELS
from support.search_models import PICTURES, index, model, pictures
from support.small_index import draw, in_child, small_model

from wordsight.search.engine import auto, region_recall, regions
from wordsight.search.index import region_build, region_upkeep
from wordsight.search.index.index import Filters, Index
from wordsight.search.index.interface import SearchableIndex
from wordsight.search.index.region_meta import SearchSettings
from wordsight.search.postgres.index import PostgresIndex
from wordsight.search.qdrant.address import qdrant_url
from wordsight.search.qdrant.index import QdrantIndex
from wordsight.search.results import Hits
from wordsight.search.searcher import Searcher

Made = Callable[[Path, Path], SearchableIndex]
KINDS: dict[str, Made] = {
    "folder": lambda folder, model_folder: Index.create(folder / "index", model_folder),
    "folder with regions": lambda folder, model_folder: Index.create(folder / "index", model_folder),
    "qdrant": lambda folder, model_folder: QdrantIndex.create(
        qdrant_url(f"qdrant+file://{folder / 'qdrant'}"), model_folder
    ),
    "postgres": lambda folder, model_folder: PostgresIndex.create(postgres_server.new_url(), model_folder),
}
SENTENCES = ("a red star beside a small blue circle", "+red star", "star^2 -blue")
FILTERS = (
    Filters(folder="even"),
    Filters(folder=str(pictures() / "odd")),
    Filters(text="star"),
    Filters(text="huge-orange STAR"),
    Filters(text='"orange star" heart'),
    Filters(text='"star orange"'),  # all these words, not in this order
    Filters(text="&"),
    Filters(text="red star", after=1e9 + 3 * 86400, before=1e9 + 20 * 86400),
    Filters(min_bytes=10**7),
    Filters(folder="none"),
)


@pytest.fixture(scope="module", params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "folder with regions":
            pytest.importorskip("faiss")
            for kind in MODELS:
                index(kind)  # of other tests too: without an index of regions
            make_regions_at_any_size(patch)
        yield KINDS[request.param]


def make_regions_at_any_size(patch: pytest.MonkeyPatch) -> None:
    """Every update makes or extends an index of regions, and "auto" takes it; a search finds all regions."""
    patch.setattr(region_upkeep, "AUTO_NUMBERS", 0)
    patch.setattr(region_build, "FEW", 0)
    patch.setattr(regions, "FEW_ROWS", 0)
    patch.setattr(regions, "CANDIDATES_PER_HIT", 0)
    patch.setattr(auto, "MAX_EXACT_SECONDS_WITH_REGIONS", -1)
    patch.setattr(region_recall, "LADDER", (SearchSettings(10**6, 10**6, 10**6),))


@pytest.fixture(scope="module")
def filled(make: Made, tmp_path_factory: pytest.TempPathFactory) -> SearchableIndex:
    made = make(tmp_path_factory.mktemp("filled"), model("max-sim"))
    made.update([pictures()])
    return made


def shown(hits: Hits) -> list[tuple[str, float, bool, tuple[object, ...]]]:
    """Everything of the hits but the ids, which are the index's own."""
    return [(hit.item.path, hit.score, hit.relevant, hit.words) for hit in hits.hits]


def paths(found: SearchableIndex) -> list[str]:
    with found.snapshot() as snapshot:
        return sorted(item.path for item in snapshot.items(snapshot.newest(Filters(), 0, 1000)[0]))


@pytest.mark.parametrize("kind", MODELS)
def test_hits_are_those_of_an_exact_search(make: Made, kind: str, tmp_path: Path) -> None:
    """With candidates for all pictures, whatever the similarity."""
    made = make(tmp_path, model(kind))
    made.update([pictures()])
    exact = Searcher(index(kind)).find_images(SENTENCES[0], PICTURES, engine="exact")
    for engine in made.engines:
        assert shown(Searcher(made).find_images(SENTENCES[0], PICTURES, engine=engine)) == shown(exact)


def test_the_engine_that_scored_is_named(filled: SearchableIndex) -> None:
    searcher = Searcher(filled)
    for engine in filled.engines[1:]:
        found = searcher.find_images(SENTENCES[0], engine=engine)
        assert (found.engine, found.fallback, found.exact) == (engine, "", engine == "exact")
    best = "regions" if "regions" in filled.engines else "exact"
    found = searcher.find_images(SENTENCES[0], sort="score")
    assert (found.engine, found.fallback) == (best, "")


def test_operators_are_obeyed(filled: SearchableIndex) -> None:
    for engine, sentence in product(filled.engines, SENTENCES):
        exact = Searcher(index()).find_images(sentence, PICTURES, engine="exact")
        found = Searcher(filled).find_images(sentence, PICTURES, engine=engine)
        assert (shown(found), found.relevant) == (shown(exact), exact.relevant)


def test_filters_are_obeyed(filled: SearchableIndex) -> None:
    for engine, filters in product(filled.engines, FILTERS):
        exact = Searcher(index()).find_images(SENTENCES[0], PICTURES, filters=filters, engine="exact")
        found = Searcher(filled).find_images(SENTENCES[0], PICTURES, filters=filters, engine=engine)
        assert (shown(found), found.total) == (shown(exact), exact.total), filters


def test_pages_and_dates_follow_each_other(filled: SearchableIndex) -> None:
    searcher = Searcher(filled)
    together = searcher.find_images("a star", 20)
    pages = [searcher.find_images("a star", 5, offset) for offset in range(0, 20, 5)]
    assert [hit for page in pages for hit in shown(page)] == shown(together)
    by_date = [
        searcher.find_images("a star", PICTURES, sort="date"),
        Searcher(index()).find_images("a star", PICTURES, sort="date"),
    ]
    assert shown(by_date[0]) == shown(by_date[1])


def test_pictures_are_found_by_a_picture_and_words(filled: SearchableIndex) -> None:
    path = str(pictures() / "even" / "04.png")
    for text in (None, "a red star"):
        exact = Searcher(index()).similar(path, PICTURES, text=text, engine="exact")
        found = Searcher(filled).similar(path, PICTURES, text=text)
        assert [hit.item.path for hit in found.hits] == [hit.item.path for hit in exact.hits]
        assert path not in {hit.item.path for hit in found.hits}


def test_a_hit_is_explained(filled: SearchableIndex) -> None:
    with filled.snapshot() as snapshot, index().snapshot() as local:
        path = str(pictures() / "odd" / "07.png")
        id_, local_id = snapshot.id_of(path), local.id_of(path)
    assert id_ is not None
    assert local_id is not None
    expected = Searcher(index()).explain(SENTENCES[0], local_id)
    assert Searcher(filled).explain(SENTENCES[0], id_) == expected


def test_an_index_follows_its_folder(make: Made, tmp_path: Path) -> None:
    """Added, renamed, changed, copied, captioned and deleted pictures."""
    folder = tmp_path / "pictures"
    first, second, third, *_ = draw(folder, range(6))
    made = make(tmp_path, small_model(tmp_path))
    searcher = Searcher(made)
    assert made.update([folder]).added == 6
    with made.snapshot() as snapshot:
        before = snapshot.id_of(str(first))
    first.rename(folder / "renamed.png")
    draw(folder, [77], second.name)
    third.unlink()
    shutil.copy(folder / "003.png", folder / "copy.png")
    (folder / "004.txt").write_text("a green ball\n")
    report = made.update([folder])
    counts = (report.added, report.renamed, report.updated, report.deleted, report.unchanged)
    assert counts == (1, 1, 2, 1, 2)
    with made.snapshot() as snapshot:
        assert snapshot.id_of(str(folder / "renamed.png")) == before
    found = searcher.find_images("a ball", 10, filters=Filters(text="green BALL"))
    assert [Path(hit.item.path).name for hit in found.hits] == ["004.png"]
    assert len(searcher.find_images("a ball", 10).hits) == 6
    assert made.verify() == []
    assert made.update([folder]).unchanged == 6


def test_a_new_process_finds_what_was_stored(make: Made, tmp_path: Path) -> None:
    made = make(tmp_path, small_model(tmp_path))
    draw(tmp_path / "pictures", range(5))
    made.update([tmp_path / "pictures"])
    expected = shown(Searcher(made).find_images("a dog runs", 5))

    def search() -> None:
        assert shown(Searcher(made.reopen()).find_images("a dog runs", 5)) == expected

    assert in_child(search) == 0


def test_a_killed_client_loses_nothing_that_was_committed(make: Made, tmp_path: Path) -> None:
    """Killed at three random times, then finished: all is as if nothing had been."""
    made = make(tmp_path, small_model(tmp_path))
    files = draw(tmp_path / "pictures", range(40))
    chance, counts = random.Random(0), []

    def update(seconds: float | None) -> Callable[[], None]:
        def work() -> None:
            if seconds is not None:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            made.reopen().update([tmp_path / "pictures"], batch_size=4, workers=2)

        return work

    for _ in range(3):
        in_child(update(chance.uniform(0.05, 0.4)))
        counts.append(len(paths(made.reopen())))
        assert made.reopen().verify() == []
    assert counts == sorted(counts)
    assert in_child(update(None)) == 0
    assert paths(made.reopen()) == sorted(map(str, files))
    assert made.reopen().update([tmp_path / "pictures"]).unchanged == 40


def test_two_writers_leave_one_consistent_index(make: Made, tmp_path: Path) -> None:
    """Both finish, or one is refused and finishes afterwards."""
    made = make(tmp_path, small_model(tmp_path))
    files = [*draw(tmp_path / "a", range(20)), *draw(tmp_path / "b", range(10, 30))]  # ten contents in both
    children = []
    for name in ("a", "b"):
        child = os.fork()
        if child == 0:
            for _ in range(3000):
                try:
                    made.reopen().update([tmp_path / name], batch_size=2, workers=1)
                    os._exit(0)
                except OSError:
                    time.sleep(0.1)
            os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    found = made.reopen()
    assert paths(found) == sorted(map(str, files))
    assert found.stats().contents == 30
    assert found.verify() == []
