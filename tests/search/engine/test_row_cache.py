"""Rows that are held in memory score as those that are read; what is held stays within its budget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.search_models import KINDS, PICTURES, index, model, searcher

from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.engine.row_cache import RowCache
from wordsight.search.index import manifest
from wordsight.search.index.index import Index
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.index.vector_files import pack
from wordsight.search.index.writer import Writer
from wordsight.sets import EmbeddingSet

MB = 2**20


def asking(kind: str, text: str = "a red star beside a circle") -> QueryScorer:
    matcher = searcher(kind).matcher
    with torch.no_grad():
        return QueryScorer(matcher.similarity, matcher.encode_texts([text]))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Sets of one to four vectors, in no order, by the index's own writer."""
    made = Index.create(tmp_path_factory.mktemp("uneven") / "index", model("max-sim"))
    lengths = torch.randint(1, 5, (30, 1), generator=torch.Generator().manual_seed(0))
    sets = EmbeddingSet(torch.randn(30, 4, made.meta.dim), torch.arange(4) < lengths)
    with manifest.writing(made.folder):
        writer = Writer(made.folder, made.meta)
        packed = pack(sets, made.meta.layout, made.meta.unit)
        with writer.batch():
            places, checksums = writer.append(packed), packed.checksums()
            for row, (place, checksum) in enumerate(zip(places, checksums, strict=True)):
                numbers = (place.segment, place.place, place.start, place.count, 8, 8, checksum)
                insert = "INSERT INTO contents VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, NULL, '', NULL, NULL)"
                key = writer.facts.execute(insert, (f"{row}", *numbers)).lastrowid
                insert = "INSERT INTO items VALUES (NULL, ?, '', ?, 1, 1, 0, '', '', '')"
                writer.facts.execute(insert, (f"/{row}".encode(), key))
        writer.close()
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory_mb", [0.002, 0.01, 256])
def test_held_rows_score_as_rows_that_are_read(kind: str, memory_mb: float) -> None:
    with index(kind).snapshot() as snapshot:
        held = RowCache(snapshot, index(kind).meta.unit, memory_mb)
        expected = score_rows(asking(kind), snapshot)
        for _ in range(2):  # the first reads them
            assert score_rows(asking(kind), held) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("memory_mb", [0.001, 0.005, 256])
def test_sets_of_any_length_keep_their_places(uneven: Index, memory_mb: float) -> None:
    with uneven.snapshot() as snapshot:
        assert len(set(snapshot.lengths.tolist())) == 4
        held = RowCache(snapshot, uneven.meta.unit, memory_mb)
        expected = score_rows(asking("max-sim"), snapshot)
        for beside in (0, 100):
            seen = [np.arange(len(snapshot))[places] for places, _ in held.ready(beside)]
            assert sorted(np.concatenate(seen).tolist()) == list(range(len(snapshot)))
        assert all(bool(block.mask.all()) for _, block in held.ready())
        assert score_rows(asking("max-sim"), held) == pytest.approx(expected, abs=2e-6)


def test_at_most_half_the_budget_is_held_and_that_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with index().snapshot() as snapshot:
        numbers = snapshot.gather([0]).vectors.numel()
        budget = 2 * 10 * numbers * 4 / MB  # half of it are ten pictures
        held = RowCache(snapshot, True, budget)
        read: list[int] = []
        fill = Snapshot.fill

        def counted(self: Snapshot, rows: np.ndarray, out: torch.Tensor) -> None:
            read.extend(np.asarray(rows).tolist())
            fill(self, rows, out)

        monkeypatch.setattr(Snapshot, "fill", counted)
        scores = [score_rows(asking("max-sim"), held) for _ in range(3)]
    assert (scores[0] == scores[1]).all()
    assert len(read) <= 3 * PICTURES - 2 * 8
    assert len(read) >= 3 * PICTURES - 2 * 10
    assert sum(block.vectors.numel() for block in held._cached.values()) <= 10 * numbers


def test_a_part_of_the_rows_scores_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with index().snapshot() as snapshot:
        held = RowCache(snapshot, True, 256)
        scores = score_rows(asking("max-sim"), snapshot)
        for rows in (np.arange(2), np.arange(1, PICTURES, 2), np.arange(PICTURES)):
            assert score_rows(asking("max-sim"), held, rows) == pytest.approx(scores[rows], abs=2e-6)


def test_a_moment_holds_what_one_of_its_questions_has_read() -> None:
    from wordsight.search.searcher import Searcher

    one = Searcher(index())
    first = one.find_images("a red star", k=PICTURES)
    assert one.session().row_cache._cached
    assert one.find_images("a red star", k=PICTURES) == first
    assert Path(first.hits[0].item.path).is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_what_words_find_is_what_the_alignment_says(kind: str) -> None:
    from wordsight.similarity.word_alignment import found_by_word

    one = asking(kind)
    with index(kind).snapshot() as snapshot, torch.no_grad():
        rows = snapshot.gather(np.arange(PICTURES))
        assert torch.allclose(one.found(rows), found_by_word(one.align(rows)), atol=2e-6)
