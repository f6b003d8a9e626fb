"""An index's answers are those of the model itself; operators, filters and pages do what they say."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.search_models import (
    KINDS,
    PICTURES,
    WORD_KINDS,
    index,
    path_of,
    searcher,
    texts_index,
    texts_of,
    world,
)

from wordsight.search.engine import brute_force
from wordsight.search.engine.brute_force import QueryScorer, best_rows, score_rows
from wordsight.search.index.index import Filters, Index
from wordsight.search.query.encoded import encode_query, words_of
from wordsight.search.query.parser import QueryError, parse
from wordsight.search.relevance.threshold import Calibration
from wordsight.search.searcher import Searcher
from wordsight.sets import EmbeddingSet

SENTENCE = "a red star beside a small blue circle"


def rows_of(hits: object) -> list[int]:
    """The number in each picture's name."""
    return [int(Path(hit.item.path).stem) for hit in hits.hits]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_exact_is_a_slow_loop_over_the_similarity(kind: str) -> None:
    asking = searcher(kind)
    matcher = asking.matcher
    with index(kind).snapshot() as snapshot, torch.no_grad():
        text = matcher.encode_texts([SENTENCE])
        slow = [
            (-float(matcher.similarity(snapshot.gather([row]), text)), int(snapshot.ids[row]))
            for row in range(len(snapshot))
        ]
    hits = asking.find_images(SENTENCE, k=PICTURES, engine="exact")
    assert hits.total == PICTURES
    assert hits.exact
    assert [hit.item.id for hit in hits.hits] == [id_ for _, id_ in sorted(slow)]
    assert [hit.score for hit in hits.hits] == pytest.approx([-s for s, _ in sorted(slow)], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_model_on_the_pictures(kind: str) -> None:
    """Up to the sixteen bits in which an index keeps vectors."""
    hits = searcher(kind).find_images(SENTENCE, k=PICTURES)
    pictures = [hit.item.path for hit in hits.hits]
    scores = searcher(kind).matcher.score(pictures, [SENTENCE])[:, 0]
    assert [hit.score for hit in hits.hits] == pytest.approx(scores.tolist(), abs=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_budget_changes_nothing(kind: str) -> None:
    found = [
        Searcher(index(kind), memory_mb).find_images(SENTENCE, k=7).hits for memory_mb in (0.001, 0.1, 256)
    ]
    assert [[(hit.item.id, hit.score) for hit in hits] for hits in found[:-1]] == [
        [(hit.item.id, hit.score) for hit in found[-1]]
    ] * 2


def test_equal_scores_are_ordered_by_id() -> None:
    vectors = torch.randn(1, 3, 4).expand(40, 3, 4).clone()
    vectors[10] = vectors[10].flip(0)  # the same set: the same score

    class Stored:
        ids = np.arange(40)[::-1].copy()

        def __len__(self) -> int:
            return 40

        def embeddings(self, start: int, stop: int) -> EmbeddingSet:
            return self.gather(np.arange(start, min(stop, 40)))

        def gather(self, rows: np.ndarray) -> EmbeddingSet:
            return EmbeddingSet(vectors[rows], torch.ones(len(rows), 3, dtype=torch.bool))

    query = EmbeddingSet(torch.randn(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    asking = QueryScorer(searcher().matcher.similarity, query)
    for memory_mb in (0.001, 256):
        scores = score_rows(asking, Stored(), memory_mb=memory_mb)
        rows, _ = best_rows(asking, Stored(), None, scores, 5, memory_mb)
        assert Stored.ids[rows].tolist() == [0, 1, 2, 3, 4]


def test_blocks_hold_no_more_than_the_budget() -> None:
    with index().snapshot() as snapshot:
        numbers = snapshot.gather([0]).vectors.numel()
        budget = 5 * brute_force.BLOCK_COPIES * 4 * numbers / 2**20
        sizes = [stop - start for start, stop, _ in brute_force.blocks(snapshot, None, budget)]
    assert sizes == [1, 5, 5, 5, 5, 3]


@pytest.mark.parametrize("kind", WORD_KINDS)
def test_a_weight_is_the_word_said_so_often(kind: str) -> None:
    matcher = searcher(kind).matcher
    asked = encode_query(matcher, parse("a red^3 star"))
    plain = matcher.encode_texts(["a red star"])
    red = plain.vectors[:, 2:3]  # <start> a red star <end>
    assert torch.equal(asked.set.vectors, torch.cat([plain.vectors, red, red], 1))
    hits = searcher(kind).find_images("a red^3 star", k=3)
    with torch.no_grad():
        slow = matcher.similarity(index(kind).snapshot().gather([hits.hits[0].row]), asked.set)
    assert hits.hits[0].score == pytest.approx(float(slow), abs=1e-5)


def test_a_weight_is_the_weight_of_a_mean() -> None:
    """Of MaxSim with mean pooling: the weighted mean of what the words find, the specials counting once."""
    asking = searcher("max-sim")
    once = asking.explain("a red star", 1)
    found = searcher("max-sim").matcher.align([path_for(1)], ["a red star"])[0].found[0]
    weights = torch.tensor([1.0, 1, 3, 1, 1])
    heavy = asking.explain("a red^3 star", 1)
    assert heavy.score == pytest.approx(float((weights * found).sum() / weights.sum()), abs=5e-3)
    assert [one.word.found for one in heavy.words] == pytest.approx([one.word.found for one in once.words])


def path_for(id_: int) -> str:
    with index().snapshot() as snapshot:
        return snapshot.item(snapshot.row_of(id_)).path


@pytest.mark.parametrize("kind", WORD_KINDS)
def test_required_words_are_found_and_excluded_ones_are_not(kind: str) -> None:
    asking = searcher(kind)
    everything = asking.find_images("a red star", k=PICTURES)
    required = asking.find_images("a +red star", k=PICTURES)
    with_red = {hit.item.id for hit in everything.hits if hit.words[1].is_found}
    assert {hit.item.id for hit in required.hits} == with_red
    assert required.total == len(with_red)
    alone = asking.find_images("circle", k=PICTURES)
    without = asking.find_images("a red star -circle", k=PICTURES)
    has = {hit.item.id for hit in alone.hits if hit.words[0].is_found}
    assert {hit.item.id for hit in without.hits} == {hit.item.id for hit in everything.hits} - has
    kept = [hit.score for hit in everything.hits if hit.item.id not in has]
    assert [hit.score for hit in without.hits] == kept  # the excluded word is no part of what is scored


def test_an_excluded_phrase_needs_all_its_words() -> None:
    asking = searcher()
    alone = asking.find_images('"blue circle"', k=PICTURES)
    has = {hit.item.id for hit in alone.hits if all(word.is_found for word in hit.words)}
    without = asking.find_images('star -"blue circle"', k=PICTURES)
    assert {hit.item.id for hit in without.hits} == {hit.item.id for hit in alone.hits} - has


def test_a_word_that_the_model_never_learnt_is_never_found() -> None:
    hits = searcher().find_images("a giraffe", k=3)
    assert [(word.word, word.known, word.is_missing) for word in hits.hits[0].words] == [
        ("a", True, False),
        ("giraffe", False, True),
    ]
    assert searcher().find_images("a +giraffe").total == 0
    assert searcher().find_images("star -giraffe").total == PICTURES


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_of_which_the_model_knows_no_word_is_matched_by_nothing(kind: str) -> None:
    asking = Searcher(index(kind), false_positive_rate=0.999)
    for text in ("a giraffe", "the giraffe of a zebra", "\N{GIRAFFE FACE}"):
        assert asking.find_images(text).nothing_matches
        assert not asking.find_images(text).hits[0].words[-1].known
    assert not asking.find_images("a giraffe and a red star").nothing_matches
    assert not asking.find_images("the").nothing_matches


@pytest.mark.parametrize("kind", ["cosine", "order"])
def test_one_vector_knows_no_single_words(kind: str) -> None:
    asking = searcher(kind)
    with pytest.raises(QueryError, match="one vector") as caught:
        asking.find_images("a +red star")
    assert caught.value.position == 3
    assert [word.word for word in asking.find_images("a red star", k=1).hits[0].words] == ["a red star"]
    assert asking.find_images("a red star -circle").total <= PICTURES


def test_words_are_those_that_were_written() -> None:
    tokenizer = searcher().matcher.tokenizer
    assert [word.text for word in words_of(tokenizer, "A RED Star, isn't it?")] == [
        "A", "RED", "Star", ",", "is", "n't", "it", "?",
    ]  # fmt: skip
    quoted = words_of(tokenizer, 'The "Red" star')
    assert [word.text for word in quoted] == ["The", '"', "Red", '"', "star"]
    assert [word.items for word in quoted] == [(1,), (2,), (3,), (4,), (5,)]
    assert [(word.start, word.stop) for word in quoted][2] == (5, 8)


def test_filters_come_before_scores() -> None:
    asking = searcher()
    everything = rows_of(asking.find_images(SENTENCE, k=PICTURES))
    even = asking.find_images(SENTENCE, k=PICTURES, filters=Filters(folder="even"))
    assert rows_of(even) == [row for row in everything if row % 2 == 0]
    late = asking.find_images(SENTENCE, k=PICTURES, filters=Filters(after=1e9 + 86400 * 20))
    assert rows_of(late) == [row for row in everything if row >= 20]
    assert late.total == 4
    told = Filters(text="crescent")
    holding = [row for row in everything if any("crescent" in text for text in texts_of(row))]
    assert rows_of(asking.find_images(SENTENCE, k=PICTURES, filters=told)) == holding
    assert holding
    assert asking.find_images(SENTENCE, filters=Filters(folder="nowhere")).hits == ()


def test_pages_are_pieces_of_one_list() -> None:
    asking = searcher()
    whole = rows_of(asking.find_images(SENTENCE, k=PICTURES))
    pages = [rows_of(asking.find_images(SENTENCE, k=5, offset=offset)) for offset in range(0, 30, 5)]
    assert [row for page in pages for row in page] == whole
    assert pages[-1] == []


def test_by_date_the_relevant_ones_come_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = searcher()
    ninth = asking.find_images("a star", k=9).hits[-1].score
    monkeypatch.setattr(Calibration, "threshold", lambda *_: ninth - 1e-6)
    by_score = asking.find_images("a star", k=PICTURES)
    by_date = asking.find_images("a star", k=PICTURES, sort="date")
    relevant = [int(Path(hit.item.path).stem) for hit in by_score.hits if hit.relevant]
    assert [hit.relevant for hit in by_score.hits] == [True] * 9 + [False] * (PICTURES - 9)
    assert rows_of(by_date) == sorted(relevant, reverse=True)
    assert by_date.relevant == by_score.relevant == 9


def test_percentiles_are_the_share_that_scores_lower() -> None:
    hits = searcher().find_images(SENTENCE, k=PICTURES).hits
    assert [round(hit.percentile * PICTURES / 100) for hit in hits] == list(range(PICTURES - 1, -1, -1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_most_like_itself(kind: str) -> None:
    asking = searcher(kind)
    with Image.open(path_of(5)) as picture:
        hits = asking.similar(picture.convert("RGB"), k=PICTURES)
    assert (hits.total, hits.itself) == (PICTURES, 0)
    if "regions" not in kind and kind != "order":
        assert rows_of(hits)[0] == 5
    own = next(hit.item.id for hit in hits.hits if Path(hit.item.path) == path_of(5))
    others = asking.similar(own, k=PICTURES)
    assert own not in [hit.item.id for hit in others.hits]
    assert (others.total, others.itself) == (PICTURES - 1, 1)
    by_file = asking.similar(str(path_of(5)), k=PICTURES)
    assert [(hit.item.id, hit.relevant) for hit in by_file.hits] == [
        (hit.item.id, hit.relevant) for hit in others.hits
    ]
    assert by_file.itself == 1


def test_picture_and_words_are_a_weighted_sum_of_deviations() -> None:
    asking, sent = searcher(), Image.open(path_of(2)).convert("RGB")
    picture = {hit.item.id: hit.score for hit in asking.similar(sent, k=PICTURES).hits}
    words = {hit.item.id: hit.score for hit in asking.find_images("a star", k=PICTURES).hits}

    def deviations(scores: dict[int, float]) -> dict[int, float]:
        values = np.array(list(scores.values()))
        return {id_: (score - values.mean()) / values.std() for id_, score in scores.items()}

    by_picture, by_words = deviations(picture), deviations(words)
    both = asking.similar(sent, k=PICTURES, text="a star", weight=0.25)
    for hit in both.hits:
        assert hit.score == pytest.approx(
            0.75 * by_picture[hit.item.id] + 0.25 * by_words[hit.item.id], abs=1e-3
        )
        assert [word.word for word in hit.words] == ["a", "star"]


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_for_a_picture_are_a_slow_loop_too(kind: str) -> None:
    asking = Searcher(texts_index(kind))
    hits = asking.find_texts(str(path_of(1)), k=5)
    scores = asking.matcher.score([str(path_of(1))], sorted(set(world().texts)))[0]
    assert hits.total == len(set(world().texts))
    assert hits.hits[0].score == pytest.approx(float(scores.max()), abs=5e-3)
    told = asking.explain(str(path_of(1)), hits.hits[0].item.id)
    assert told.text == hits.hits[0].item.text
    assert told.score == pytest.approx(hits.hits[0].score, abs=5e-3)


def test_the_wrong_kind_of_index_is_told() -> None:
    with pytest.raises(ValueError, match="an index of texts"):
        Searcher(texts_index()).find_images("a star")
    with pytest.raises(ValueError, match="an index of images"):
        searcher().find_texts(str(path_of(1)))


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 5000}, {"offset": -1}, {"sort": "name"}, {"engine": "x"}])
def test_wrong_settings_are_told_with_what_is_possible(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a page has|the first hit|known:"):
        searcher().find_images("a star", **wrong)  # type: ignore[arg-type]


def test_an_empty_index_answers_with_nothing(tmp_path: Path) -> None:
    from support.search_models import model

    empty = Index.create(tmp_path / "index", model("max-sim"))
    hits = Searcher(empty).find_images("a +red star -circle")
    assert (hits.hits, hits.total, hits.relevant) == ((), 0, 0)
    assert hits.nothing_matches
    assert Searcher(empty).similar(str(path_of(0)), text="star").hits == ()


def test_a_searcher_follows_its_index(tmp_path: Path) -> None:
    from support.search_models import model

    folder = tmp_path / "photos"
    folder.mkdir()
    growing = Index.create(tmp_path / "index", model("max-sim"))
    asking = Searcher(growing)
    assert asking.find_images("a star").total == 0
    for row in range(3):
        (folder / f"{row}.png").write_bytes(path_of(row).read_bytes())
    growing.update([folder])
    assert asking.find_images("a star").total == 3


def test_a_searcher_follows_an_index_that_is_made_anew(tmp_path: Path) -> None:
    """By another model, with as many commits: a count alone would not tell."""
    from support.search_models import model

    (tmp_path / "photos").mkdir()
    for row in range(3):
        (tmp_path / "photos" / f"{row}.png").write_bytes(path_of(row).read_bytes())
    Index.create(tmp_path / "index", model("max-sim")).update([tmp_path / "photos"])
    asking = Searcher(Index.open(tmp_path / "index"))
    before = asking.find_images("a star")
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(FileNotFoundError, match="make one"):
        asking.find_images("a star")
    Index.create(tmp_path / "index", model("cosine")).update([tmp_path / "photos"])
    expected = Searcher(Index.open(tmp_path / "index")).find_images("a star")
    found = asking.find_images("a star")
    assert [hit.score for hit in found.hits] == [hit.score for hit in expected.hits]
    assert [hit.score for hit in found.hits] != [hit.score for hit in before.hits]


def test_a_read_only_index_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wordsight import checkpoint

    def refuse(path: Path, value: object) -> None:
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(checkpoint, "write_json", refuse)
    (index().folder / "background.json").unlink(missing_ok=True)
    assert Searcher(index()).find_images("a star").total == PICTURES
