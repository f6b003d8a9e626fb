"""The engine "regions" finds the hits of an exact search, whatever was added, deleted, filtered or killed."""

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_index import captions, make_index
from support.search_models import index as small_index_of
from support.small_index import at_line, die, draw, in_child, make, small_model
from typer.testing import CliRunner

from wordsight.cli.main import app
from wordsight.errors import InputError, MissingPackageError
from wordsight.search.calibrate_regions import calibrate_regions
from wordsight.search.engine import auto, regions
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.engine.region_candidates import candidates, word_vectors
from wordsight.search.engine.region_scores import scores_of
from wordsight.search.index import region_build, region_lists, region_meta, vector_files
from wordsight.search.index.decompose import decomposition
from wordsight.search.index.index import Filters, Index
from wordsight.search.index.region_lists import RegionLists
from wordsight.search.index.region_meta import SearchSettings
from wordsight.search.results import Hits
from wordsight.search.searcher import Searcher
from wordsight.similarity.max_sim import MaxSim

PICTURES = 2500
FULL = SearchSettings(10**6, 10**6, 10**6, recall=1.0, queries=1)  # finds all that there is
SENTENCES = captions(3, seed=9)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Index:
    index = make_index(tmp_path_factory.mktemp("made") / "index", PICTURES, regions=4, dim=32)
    index.index_regions()
    calibrate_regions(index)
    return index


@pytest.fixture
def full(made: Index, tmp_path: Path) -> Index:
    """A copy whose searches probe every list."""
    shutil.copytree(made.folder, tmp_path / "index")
    with_settings(tmp_path / "index", FULL)
    return Index.open(tmp_path / "index")


@pytest.fixture(autouse=True)
def _no_search_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "FEW_ROWS", 0)
    monkeypatch.setattr(regions, "CANDIDATES_PER_HIT", 1)


def with_settings(folder: Path, settings: SearchSettings) -> None:
    meta = region_meta.read_meta(folder)
    assert meta is not None
    region_meta.store_settings(folder, meta.number, settings)


def named(hits: Hits) -> list[tuple[int, float]]:
    return [(hit.item.id, hit.score) for hit in hits.hits]


def agree(index: Index, sentences: list[str], k: int = 10, **options: Any) -> Hits:
    """The engine's hits are those of an exact search; returns the last ones."""
    searcher = Searcher(index)
    for sentence in sentences:
        hits = searcher.find_images(sentence, k=k, engine="regions", **options)
        assert named(hits) == named(searcher.find_images(sentence, k=k, engine="exact", **options))
    return hits


def test_a_full_search_has_the_hits_and_scores_of_an_exact_one(full: Index) -> None:
    agree(full, SENTENCES, k=50)
    agree(full, [SENTENCES[0]], k=10, offset=200)
    agree(full, ["a dog -street +tree", 'a boat^3 -"red car"'])


def test_candidates_alone_are_scored_and_their_recall_is_measured_and_shown(made: Index) -> None:
    stored = region_meta.read_meta(made.folder)
    assert stored is not None
    assert stored.settings.queries > 16
    assert stored.settings.recall >= 0.95  # a region is a word of the caption, moved by noise
    hits = Searcher(made).find_images(SENTENCES[0], engine="regions")
    assert not hits.exact
    assert hits.total == stored.settings.candidates < PICTURES
    stats = made.stats()
    assert stats.regions is not None
    assert (stats.regions["vectors"], stats.regions["outside"]) == (4 * PICTURES, 0)
    assert f"recall@10 {stored.settings.recall:.3f} on {stored.settings.queries} queries" in stats.to_text()
    assert stats.bytes["regions"] > 4 * PICTURES * (16 + 8)  # 4 bits a number, and the content


@pytest.mark.parametrize("pooling", ["mean", "sum", "max", "softmax", "log-sum-exp"])
def test_estimates_are_scores_but_for_the_loss_of_four_bits(made: Index, pooling: str) -> None:
    similarity = MaxSim("word", pooling)
    parts, lists = decomposition(similarity), RegionLists.open(made.folder)
    assert parts is not None
    assert lists is not None
    query = made.matcher.encode_texts([SENTENCES[1]])
    found = candidates(QueryScorer(similarity, query), parts, lists, FULL)
    with made.snapshot() as snapshot, torch.no_grad():
        exact = similarity(snapshot.embeddings(0, PICTURES), query)[:, 0].numpy()
    assert found.numbers.tolist() == list(range(PICTURES))
    per_word = 0.03  # on average: steps of the residuals are 1/15 of their range
    loss = per_word * (query.vectors.shape[1] if pooling == "sum" else 1)
    assert np.abs(found.estimates - exact).mean() < loss


@pytest.mark.parametrize("pooling", ["mean", "log-sum-exp"])
@pytest.mark.parametrize("is_even", [True, False])
def test_scores_of_a_shortlist_are_those_of_the_similarity(made: Index, pooling: str, is_even: bool) -> None:
    similarity, rows = MaxSim("word", pooling), np.arange(3, PICTURES, 7)
    parts, query = decomposition(similarity), made.matcher.encode_texts([SENTENCES[2]])
    assert parts is not None
    with made.snapshot() as snapshot, torch.no_grad():
        if not is_even:
            snapshot._count = (1 + np.arange(PICTURES) % 4).astype(np.int32)
        exact = similarity(snapshot.gather(rows), query)[:, 0].numpy()
        found = scores_of(snapshot, rows, word_vectors(query, parts), parts)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_an_index_of_more_than_memory_holds_is_read_by_rows(
    full: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_files, "MUCH_BYTES", 0)
    monkeypatch.setattr(region_lists, "MUCH_LIST_BYTES", 0)
    agree(full, SENTENCES, k=50)


def test_filters_of_every_selectivity_come_before_the_candidates(full: Index) -> None:
    dates = 1e9 + np.array([PICTURES / 2, PICTURES - 125, PICTURES - 3])
    for after, count in zip(dates.tolist(), (1250, 125, 3), strict=True):
        hits = agree(full, SENTENCES, filters=Filters(after=after))
        assert len(hits.hits) == min(10, count)
    agree(full, SENTENCES, filters=Filters(folder="07"))
    agree(full, ["a dog"], filters=Filters(text="dog", folder="07"))
    agree(full, ["a dog"], filters=Filters(folder="nowhere"))


def test_a_picture_and_words_find_the_hits_of_an_exact_search(full: Index) -> None:
    searcher = Searcher(full)
    for text in (None, "a dog"):
        hits, exact = (searcher.similar(7, text=text, engine=engine) for engine in ("regions", "exact"))
        assert [hit.item.id for hit in hits.hits] == [hit.item.id for hit in exact.hits]


def test_a_page_by_date_needs_all_matches(made: Index) -> None:
    assert Searcher(made).find_images(SENTENCES[0], engine="regions", sort="date").exact


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A model, pictures of noise, and an index of them with an index of regions."""
    model, pictures = small_model(tmp_path / "source"), tmp_path / "pictures"
    draw(pictures, range(40))
    draw(pictures / "copies", [3], "copy.png")
    make(tmp_path / "index", model, pictures).index_regions()
    with_settings(tmp_path / "index", FULL)
    return model, pictures, tmp_path / "index"


@pytest.mark.parametrize("few", [0, region_build.FEW], ids=["merged", "outside"])
def test_added_deleted_renamed_and_compacted_pictures(
    world: tuple[Path, Path, Path], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures, folder = world
    monkeypatch.setattr(region_build, "FEW", few)
    draws = random.Random(0)
    for step in range(4):
        names = sorted(pictures.rglob("*.png"))
        renamed, *gone = draws.sample(names, 5)
        renamed.rename(pictures / f"renamed{step}.png")
        for path in gone:
            path.unlink()
        draw(pictures, range(100 * (step + 1), 100 * (step + 1) + 7 * step))
        index = make(folder, model, pictures)
        if step == 2:
            index.compact()
        agree(index, ["a red ball", "a dog runs"], k=20)
        assert index.verify() == []
        with_settings(folder, FULL)
        assert len(list(folder.glob("regions*"))) == 4
    meta, stats = region_meta.read_meta(folder), index.stats().regions
    assert meta is not None
    assert stats is not None
    assert (meta.number > 2, stats["outside"] == 0) == (few == 0, few == 0)


def test_a_picture_that_comes_back_is_found_again(world: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, pictures, folder = world
    away = tmp_path / "away.png"
    (pictures / "005.png").rename(away)
    index = make(folder, model, pictures)
    assert agree(index, ["a ball"], k=20).total == 40
    index.index_regions()
    away.rename(pictures / "005.png")
    assert agree(make(folder, model, pictures), ["a ball"], k=20).total == 41


def test_a_build_that_is_killed_leaves_the_index_whole(
    world: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures, folder = world
    places = tuple(str(Path(str(module.__file__))) for module in (region_build, region_meta))
    monkeypatch.setattr(region_build, "FEW", 0)
    index, deaths = Index.open(folder), 0
    _ = index.matcher  # the children need not load it
    for step, line in enumerate((1, 40, 90, 140, 190, 240, 10_000)):
        if step % 2:
            draw(pictures, range(10 * line, 10 * line + 5))  # the lists are extended
            monkeypatch.setattr(region_build, "FEW", 10**6)
            make(folder, model, pictures)
            monkeypatch.setattr(region_build, "FEW", 0)
        else:
            index.index_regions("exact")  # they are made anew

        def build(line: int = line) -> None:
            at_line(line, die, places)
            index.index_regions()

        deaths += os.WIFSIGNALED(in_child(build))
        assert index.verify() == []
        agree(index, ["a red ball"], k=20)
    assert deaths >= 5
    index.index_regions()
    assert len(list(folder.glob("regions*"))) == 4
    with_settings(folder, FULL)
    assert not agree(index, ["a red ball"], k=20).exact


def test_damage_is_named_and_never_searched(full: Index, caplog: pytest.LogCaptureFixture) -> None:
    meta = region_meta.read_meta(full.folder)
    assert meta is not None
    path = region_meta.lists_file(full.folder, meta.number)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes(40))
    assert [problem.split(" is damaged")[0] for problem in full.verify()] == [str(path)]
    agree(full, SENTENCES)  # scores are exact, whatever the candidates are
    for damaged in (whole[:-8], b""):
        path.write_bytes(damaged)
        assert agree(full, SENTENCES).exact
    path.unlink()
    assert agree(full, SENTENCES).exact
    description = full.folder / region_meta.META
    for damaged_text in (description.read_text().replace("[", "[[1e999, 1, 1, 1, 1],", 1), "{"):
        description.write_text(damaged_text)
        assert agree(full, SENTENCES).exact
    assert "all pictures are scored" in caplog.text
    full.index_regions()
    assert full.verify() == []


def test_the_index_of_regions_of_another_index_is_not_used(full: Index, tmp_path: Path) -> None:
    other = make_index(tmp_path / "other", 300, regions=3, dim=32)
    for path in full.folder.glob("regions*"):
        shutil.copy(path, other.folder)
    assert agree(other, SENTENCES).exact
    assert "belongs to another index" in " ".join(other.verify())


@pytest.mark.parametrize("kind", ["cross-attention", "max-sim regions", "label-agreement", "order"])
def test_other_similarities_are_searched_exactly_and_say_so(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    index = small_index_of(kind)
    assert agree(index, ["a red star"]).exact
    assert "do not follow from the best region of each word" in caplog.text
    with pytest.raises(InputError, match="no index of regions can serve them"):
        index.index_regions()


@pytest.mark.parametrize("kind", ["max-sim lse", "cosine"])
def test_indexes_of_words_and_of_single_vectors(kind: str, tmp_path: Path) -> None:
    shutil.copytree(small_index_of(kind).folder, tmp_path / "index")
    index = Index.open(tmp_path / "index")
    index.index_regions()
    with_settings(index.folder, FULL)
    assert not agree(index, ["a red star", "a blue circle"]).exact


def test_without_faiss_one_sentence_names_the_extra(full: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    message = r"needs the package faiss; pip install 'wordsight\[faiss\]'"
    with pytest.raises(MissingPackageError, match=message):
        full.index_regions()
    assert agree(full, SENTENCES).exact


@pytest.mark.parametrize(("recall", "exact"), [(0.99, False), (0.5, True)])
def test_auto_goes_by_the_measured_recall(
    full: Index, recall: float, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "MAX_EXACT_SECONDS_WITH_REGIONS", 0)
    with_settings(full.folder, SearchSettings(32, 256, 200, recall, 40))
    assert Searcher(full).find_images(SENTENCES[0]).exact == exact


def test_the_command_makes_shows_and_removes_it(made: Index, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    shutil.copytree(made.folder, folder)
    command = ["index", "--out", str(folder)]
    removed = CliRunner().invoke(app, [*command, "--engine", "exact", "--stats"])
    assert "index of regions" not in removed.output
    assert not list(folder.glob("regions*"))
    shown = CliRunner().invoke(app, [*command, "--engine", "regions", "--verify", "--stats"])
    assert shown.exit_code == 0, shown.output
    assert "the index of regions finds" in shown.stderr
    assert "index of regions: 10000 vectors in" in shown.stdout
    wrong = CliRunner().invoke(app, [*command, "--engine", "faiss"])
    assert 'engine = "faiss" is no engine to index for; known: auto, regions, exact' in str(wrong.exception)


def test_an_index_of_regions_of_an_older_build_is_made_again(full: Index) -> None:
    path = full.folder / region_meta.META
    path.write_text(path.read_text().replace(f'"format": {region_meta.FORMAT}', '"format": 1'))
    assert agree(full, SENTENCES[:1]).exact
    full.index_regions("auto")
    assert not agree(full, SENTENCES[:1]).exact
