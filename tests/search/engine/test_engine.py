"""Every engine, also of an installed package, returns the scores of an exact search."""

import gc
import sqlite3
import weakref
from pathlib import Path

import numpy as np
import pytest
from support.installed_examples import EXAMPLES, install
from support.search_models import KINDS, PICTURES, index, searcher
from typer.testing import CliRunner

from wordsight import Engine, Searcher
from wordsight.cli.main import app
from wordsight.registry import REGISTRY, names_of
from wordsight.search.index.index import Filters

SENTENCE = "a red star -circle"


@pytest.fixture(params=[*REGISTRY["engine"], "random-projection"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param not in REGISTRY["engine"]:
        install("random_projection_engine", tmp_path / "site", monkeypatch)
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_agrees_with_an_exact_search(engine: str, kind: str) -> None:
    one = Searcher(index(kind))
    exact = one.find_images(SENTENCE, k=PICTURES, engine="exact")
    hits = one.find_images(SENTENCE, k=PICTURES, engine=engine)
    assert [(hit.item.id, hit.score) for hit in hits.hits] == [(h.item.id, h.score) for h in exact.hits]
    assert hits.exact == (engine in ("auto", "exact", "regions"))  # no index of regions is there


def test_an_engine_obeys_filters_and_pages(engine: str) -> None:
    for filters in (Filters(folder="even"), Filters(text="star"), Filters(folder="none")):
        exact = searcher().find_images("a red star", k=3, offset=2, filters=filters, engine="exact")
        hits = Searcher(index()).find_images("a red star", k=3, offset=2, filters=filters, engine=engine)
        assert [hit.item.id for hit in hits.hits] == [hit.item.id for hit in exact.hits]
        assert hits.total == exact.total


def test_an_engine_finds_pictures_like_a_picture(engine: str) -> None:
    exact = searcher().similar(3, k=PICTURES, text="a star", engine="exact")
    hits = Searcher(index()).similar(3, k=PICTURES, text="a star", engine=engine)
    assert [hit.item.id for hit in hits.hits] == [hit.item.id for hit in exact.hits]
    assert 3 not in {hit.item.id for hit in hits.hits}


def test_the_example_scores_only_its_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("random_projection_engine", tmp_path, monkeypatch)
    import wordsight_random_projection as example  # type: ignore[import-not-found]

    monkeypatch.setattr(example, "CANDIDATES", 5)
    one = Searcher(index())
    everything = {hit.item.id: hit.score for hit in one.find_images("a red star", k=PICTURES).hits}
    hits = one.find_images("a red star", k=2, engine="random-projection")
    assert (hits.total, hits.exact) == (5, False)
    assert all(hit.score == everything[hit.item.id] for hit in hits.hits)
    snapshot = one.session().snapshot
    means = snapshot.mean_vectors(range(PICTURES)).astype(np.float32)
    query = one.matcher.encode_texts(["a red star"]).detach().vectors[0]
    mean = (query / query.norm(dim=-1, keepdim=True)).mean(0).numpy()
    cosines = means @ mean / np.linalg.norm(means, axis=1) / np.linalg.norm(mean)
    chosen = one.session().engine("random-projection").codes == (
        mean @ one.session().engine("random-projection").directions > 0
    )
    angles = np.arccos(np.clip(cosines, -1, 1))
    # 256 bits estimate the angle: five standard deviations of a binomial share are below 0.16
    assert np.abs(chosen.mean(1) - (1 - angles / np.pi)).max() < 0.16


def test_the_command_knows_an_installed_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("random_projection_engine", tmp_path, monkeypatch)
    command = ["search", str(index().folder), "a red star", "--engine", "random-projection"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    assert names_of("engine") == ["auto", "exact", "shortlist", "regions", "random-projection"]


def test_a_class_is_an_engine_too_and_is_built_once_for_a_session() -> None:
    built = []

    class Best(Engine):
        """Scores one row."""

        def __init__(self, session):
            super().__init__(session)
            built.append(self)

        def search(self, query, filters, k):
            return query.score(self.rows(filters)[:1])

    one = Searcher(index())
    for _ in range(2):
        assert [hit.row for hit in one.find_images("a star", engine=Best).hits] == [0]
    assert len(built) == 1


def test_an_unknown_engine_and_code_that_nobody_trusts_are_refused() -> None:
    with pytest.raises(ValueError, match=r'unknown engine "exakt" \(did you mean "exact"\?\); known: auto'):
        searcher().find_images("a star", engine="exakt")
    with pytest.raises(ValueError, match="code from outside wordsight"):
        searcher().find_images("a star", engine="os:system")


def test_the_documentation_shows_the_example_as_it_is() -> None:
    page = (EXAMPLES.parent / "docs" / "extending.md").read_text()
    code = (EXAMPLES / "random_projection_engine" / "wordsight_random_projection.py").read_text()
    assert code.partition('"""\n\nimport')[2] in page


@pytest.mark.parametrize("name", REGISTRY["engine"])
def test_a_session_ends_with_the_last_search_that_uses_it(name: str) -> None:
    one = Searcher(index())
    one.find_images("a star", engine=name)
    session = weakref.ref(one.session())
    snapshot = one.session().snapshot
    assert snapshot.item(0)
    gc.disable()  # memory of a replaced index is freed at once, not by a later collection
    try:
        del one
        assert session() is None
    finally:
        gc.enable()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        snapshot.item(0)
