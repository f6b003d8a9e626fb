"""A screen in int8 decides nothing that it cannot prove: hits, counts and percentiles stay what they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.search_models import KINDS, PICTURES, index, searcher

from wordsight.search.engine import int8_screen as module
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.engine.int8_screen import Int8Screen, left_open
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

TEXTS = ("a red star", "a small blue circle beside a ring", "star", "a^3 green cross")
SCREENED = ("max-sim", "max-sim lse")


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_NUMBERS", 0)
    monkeypatch.setattr(module, "int8_is_faster", lambda device: True)
    monkeypatch.setattr(module, "MAX_OPEN_SHARE", 1.0)


def screen(kind: str, memory_mb: float = 256) -> Int8Screen:
    made = Int8Screen(index(kind).snapshot(), searcher(kind).matcher.similarity, True, memory_mb)
    made.prepare()
    made._queries = 1
    return made


@pytest.mark.parametrize("kind", SCREENED)
@pytest.mark.parametrize("text", TEXTS)
def test_no_score_is_further_off_than_its_error(kind: str, text: str) -> None:
    matcher = searcher(kind).matcher
    with torch.no_grad():
        asking = QueryScorer(matcher.similarity, matcher.encode_texts([text.replace("^3", "")]))
        bounds = screen(kind).scores(asking.query)
        assert bounds is not None
        with index(kind).snapshot() as snapshot:
            rows = snapshot.gather(np.arange(PICTURES))
            exact = asking.scores(type(rows)(rows.vectors.double(), rows.mask)).numpy()
    assert (np.abs(bounds[0] - exact) <= bounds[1]).all()
    assert bounds[1].max() < 0.2


@pytest.mark.parametrize("kind", SCREENED)
@pytest.mark.parametrize("page", [{"k": 3}, {"k": 4, "offset": 5}, {"k": PICTURES}, {"k": 3, "sort": "date"}])
def test_hits_are_those_without_a_screen(
    kind: str, page: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Searcher(index(kind))
    one.session().screen.prepare()
    one.session().screen._queries = 1
    with_screen = [one.find_images(text, **page) for text in TEXTS]  # type: ignore[arg-type]
    assert not one.session().row_cache._cached  # nothing else was read
    monkeypatch.setattr(Int8Screen, "settle", lambda *_: None)
    for text, found in zip(TEXTS, with_screen, strict=True):
        other = Searcher(index(kind)).find_images(text, **page)  # type: ignore[arg-type]
        assert replace(found, hits=()) == replace(other, hits=())
        assert [hit.item for hit in found.hits] == [hit.item for hit in other.hits]
        scores = [hit.score for hit in other.hits]  # their last digit depends on the processor
        assert [hit.score for hit in found.hits] == pytest.approx(scores, abs=1e-6)


def test_what_is_left_open_are_the_best_and_those_at_the_line() -> None:
    scores = np.array([0.1, 0.5, 0.48, 0.30, 0.90, 0.31], np.float32)
    errors = np.full(6, 0.015, np.float32)
    assert left_open((scores, errors), 1, 0.3, False).tolist() == [False, False, False, True, True, True]
    assert left_open((scores, errors), 2, 2.0, False).tolist() == [False, True, True, False, True, False]
    assert left_open((scores, errors), 1, 0.3, True).tolist() == [False, True, True, True, True, True]
    assert left_open((scores, errors), 99, 2.0, False).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SCREENED])
def test_what_has_no_bound_is_not_screened(kind: str) -> None:
    assert not screen(kind).is_useful


def test_the_second_question_makes_it_and_the_budget_must_hold_it() -> None:
    matcher = searcher().matcher
    with torch.no_grad():
        asking = QueryScorer(matcher.similarity, matcher.encode_texts(["a star"]))
    with index().snapshot() as snapshot:
        one = Int8Screen(snapshot, matcher.similarity, True, 256)
        assert one.scores(asking.query) is None
        assert one.scores(asking.query) is not None
        small = Int8Screen(snapshot, matcher.similarity, True, 1.9 * one.bytes / 2**20)
        assert not small.is_useful


def test_where_it_leaves_most_open_it_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN_SHARE", 0.0)
    one, asked = Searcher(index()), module.MAX_FAILURES + 2
    found = [one.find_images("a red star", k=3) for _ in range(asked)]
    assert found == [found[0]] * asked
    assert not one.session().screen.is_useful
    assert not one.session().screen._rows


def test_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(index().folder, tmp_path / "index")
    copy = Index.open(tmp_path / "index")
    path = next((tmp_path / "index").glob("vectors-*.bin"))
    stored = np.fromfile(path, "<f2")
    stored[: copy.meta.dim] = np.nan
    stored.tofile(path)
    one = Searcher(copy)
    one.session().screen._queries = 1
    with pytest.raises(ValueError, match="not numbers"):
        one.find_images("a star")
