"""Where relevance ends and what counts as found: quantiles of a background that the index itself gives."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from relevance_curves import LabelledQuery, best_scores, line_curve, word_curve
from support.search_models import PICTURES, index, searcher, texts_of
from support.small_problem import DIM

from wordsight.search.calibrate_index import calibrate
from wordsight.search.engine.shortlist import RECALL_AT, SIZES, measure_recall, nearest_rows
from wordsight.search.index.index import Index
from wordsight.search.query.stop_words import names_something
from wordsight.search.relevance.null_scores import (
    TWO_GROUPS_EXPLAINED,
    Background,
    TextAgainstAll,
    known_words,
    measure_background,
    split,
    strangers,
)
from wordsight.search.relevance.threshold import Calibration, level_among, upper_quantile
from wordsight.search.searcher import Searcher
from wordsight.sets import EmbeddingSet


def calibration(texts: list[TextAgainstAll], pictures: int = 100, **settings: float) -> Calibration:
    sample = EmbeddingSet(torch.zeros(0, 1, DIM), torch.zeros(0, 1, dtype=torch.bool))
    return Calibration(Background(pictures, tuple(texts), 0.3, 0.1), sample, pictures, **settings)


def test_the_line_is_a_quantile_of_the_best_scores_of_texts_without_an_answer() -> None:
    texts = [TextAgainstAll(5, best / 100, 0.1) for best in range(101)]
    for share in (0.05, 0.2, 0.5):
        assert calibration(texts, false_positive_rate=share).threshold(5) == pytest.approx(
            1 - share, abs=0.011
        )


def test_texts_of_like_length_count_most() -> None:
    short = [TextAgainstAll(2, 0.2 + n / 1000, 0.1) for n in range(50)]
    long = [TextAgainstAll(12, 0.8 + n / 1000, 0.1) for n in range(50)]
    both = calibration(short + long)
    assert both.threshold(2) == pytest.approx(calibration(short).threshold(2), abs=0.005)
    assert both.threshold(12) == pytest.approx(calibration(long).threshold(12), abs=0.005)
    assert both.threshold(2) < both.threshold(5) < both.threshold(12) + 1e-9


def test_more_pictures_than_were_asked_raise_the_line_as_the_best_has_grown_so_far() -> None:
    """Of 25, 100 and 10,000 standard normal values the best are on average 1.97, 2.51 and 3.85."""
    normal = calibration([TextAgainstAll(5, 2.51, 1.0, growth=2.51 - 1.97)])
    assert replace(normal, total=10_000).threshold(5) == pytest.approx(3.85, abs=0.1)
    assert replace(normal, total=50).threshold(5) == normal.threshold(5) == 2.51
    bounded = calibration([TextAgainstAll(5, 2.51, 1.0, growth=0.0)])
    assert replace(bounded, total=10_000).threshold(5) == 2.51


def test_two_groups_are_cut_between_them_and_one_is_left_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    low, high = (torch.randn(n, generator=draw) * 0.05 for n in (300, 100))
    groups = split(torch.cat([low + 0.3, high + 0.8]))
    assert groups.cut == pytest.approx(0.55, abs=0.02)
    assert groups.share == pytest.approx(0.25)
    assert (groups.lower_mean, groups.lower_spread) == pytest.approx((0.3, 0.05), abs=0.01)
    assert groups.explained > 0.9
    assert split(torch.randn(2000, generator=draw)).explained == pytest.approx(2 / math.pi, abs=0.03)
    assert split(torch.ones(5)).share == split(torch.zeros(0)).share == 0


def test_a_word_that_is_here_and_there_is_judged_by_its_own_background() -> None:
    draw = torch.Generator().manual_seed(0)
    absent, present = 0.1 + 0.05 * torch.randn(300, generator=draw), 0.9 + 0.02 * torch.randn(60)
    own = calibration([], word_false_positive_rate=0.05).level(torch.cat([absent, present]))
    assert own == pytest.approx(0.1 + 1.645 * 0.05, abs=0.01)
    assert float((absent >= own).float().mean()) == pytest.approx(0.05, abs=0.03)


def test_a_word_that_is_nowhere_or_everywhere_is_judged_by_what_others_find() -> None:
    other = 0.3 + 1.645 * 0.1
    for mean in (0.1, 0.9):
        values = mean + 0.03 * torch.randn(300)
        assert calibration([], word_false_positive_rate=0.05).level(values) == pytest.approx(other, abs=1e-3)


def test_the_line_of_a_tail_is_seldom_reached_by_normal_scores() -> None:
    draw = np.random.default_rng(0)
    reached = [
        float(scores.max()) >= upper_quantile(scores.astype(np.float32), 0.1)
        for scores in draw.normal(0.3, 0.1, (400, 1000))
    ]
    assert np.mean(reached) == pytest.approx(0.1, abs=0.05)
    assert upper_quantile(np.array([-np.inf], np.float32)) == -math.inf


def test_levels_among_words_leave_the_given_share_above() -> None:
    found = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    assert float((found >= level_among(found, 0.1)).float().mean()) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("share", [0, 1, -0.1, 7])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([], false_positive_rate=share)


def test_of_the_captions_of_an_index_about_the_given_share_is_accepted_without_its_pictures() -> None:
    asking = searcher()
    snapshot = asking.session().snapshot
    beside = [item.text for item in snapshot.items(range(PICTURES))]
    captions = {row: text.split("\n")[0] for row, text in enumerate(beside)}
    questions = [
        LabelledQuery(caption, np.flatnonzero(~others).tolist())
        for caption, others in zip(captions.values(), strangers(captions, [], beside), strict=True)
    ]
    points = line_curve(asking.matcher, snapshot, asking.calibration(), questions, (0.05, 0.3, 0.6, 0.95))
    accepted = [point.accepted for point in points]
    assert accepted == sorted(accepted)
    assert [point.rejected for point in points] == sorted((p.rejected for p in points), reverse=True)
    assert accepted[1] == pytest.approx(0.3, abs=0.2)


def test_best_scores_with_and_without_the_answers_are_a_slow_loop() -> None:
    asking = searcher()
    snapshot = asking.session().snapshot
    questions = [
        LabelledQuery("a red star", [0, 3]),
        LabelledQuery("a blue circle", []),
        LabelledQuery("a ring", range(5)),
    ]
    best, without = best_scores(asking.matcher, snapshot, questions, memory_mb=0.001)
    for n, question in enumerate(questions):
        scores = {hit.row: hit.score for hit in asking.find_images(question.text, k=PICTURES).hits}
        assert best[n] == pytest.approx(max(scores.values()), abs=1e-5)
        rest = [score for row, score in scores.items() if row not in question.answers]
        assert without[n] == pytest.approx(max(rest), abs=1e-5)


def test_the_curve_of_words_counts_pictures_in_which_all_of_them_are_found() -> None:
    asking = searcher()
    snapshot = asking.session().snapshot
    (point,) = word_curve(
        asking.matcher, snapshot, asking.calibration(), [LabelledQuery("a red star", [1, 2, 3])], (0.2,)
    )
    hits = Searcher(index(), word_false_positive_rate=0.2).find_images("a red star", k=PICTURES).hits
    found = {hit.row for hit in hits if hit.missing == 0}
    assert point.accepted == pytest.approx(len(found - {1, 2, 3}) / (PICTURES - 3))
    assert point.rejected == pytest.approx(len({1, 2, 3} - found) / 3)


def test_the_background_of_a_caption_are_pictures_not_said_to_show_half_of_what_it_names() -> None:
    with index().snapshot() as snapshot:
        background = measure_background(index().matcher, snapshot)
        captions = [snapshot.item(row).text.casefold() for row in range(PICTURES)]
    own = captions[0].split("\n")[0]
    named = {word for word in re.findall(r"\w+", own) if names_something(word)}
    others = {
        row
        for row, text in enumerate(captions)
        if row != 0 and len(named & set(re.findall(r"\w+", text))) < len(named) / 2
    }
    assert 0 < len(others) < PICTURES - 1
    hits = searcher().find_images(f'"{own}"', k=PICTURES).hits
    scores = np.array([hit.score for hit in hits if hit.row in others])
    groups = split(torch.from_numpy(scores))
    best = scores[scores <= groups.cut].max() if groups.explained >= TWO_GROUPS_EXPLAINED else scores.max()
    assert background.texts[0].best == pytest.approx(best, abs=1e-5)
    assert background.texts[0].words == len(index().matcher.tokenizer.words(own))
    assert texts_of(0)


def test_a_made_up_text_belongs_to_the_pictures_said_to_show_all_that_it_names() -> None:
    beside = ["a red hat\na man", "A man, in a hat", "", "the dog"]
    captions, made_up = {0: "a red hat on a man"}, ["a man with a hat", "the cat"]
    assert [others.tolist() for others in strangers(captions, made_up, beside)] == [
        [False, False, True, True],  # its own; a man in a hat is two thirds of it
        [False, False, True, True],
        [True, True, True, True],
    ]


def test_the_background_is_kept_with_the_index_until_that_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(index().folder, tmp_path / "index")
    (tmp_path / "index" / "background.json").unlink(missing_ok=True)
    copy = Index.open(tmp_path / "index")
    first = Searcher(copy).calibration().background
    kept = json.loads((copy.folder / "background.json").read_text())
    kept["background"]["word_mean"] = 0.125
    (copy.folder / "background.json").write_text(json.dumps(kept))
    assert Searcher(copy).calibration().background == replace(first, word_mean=0.125)
    kept["generation"] += 1
    (copy.folder / "background.json").write_text(json.dumps(kept))
    assert Searcher(copy).calibration().background == first
    assert not caplog.messages
    for damaged in ("{ damaged", json.dumps({**kept, "generation": 1, "background": {"pictures": "x"}})):
        (copy.folder / "background.json").write_text(damaged)
        assert Searcher(copy).calibration().background == first
        assert "background.json is damaged and is measured again" in caplog.messages[0]
        caplog.clear()
    assert Searcher(copy).calibration().background == first
    assert not caplog.messages  # what was measured is stored


def test_function_words_name_nothing() -> None:
    words = ["A", "dog", ",", "of", "the", "grass", "!"]
    assert [word for word in words if names_something(word)] == ["dog", "grass"]
    assert "red" in known_words(searcher().matcher)
    assert not {"the", "<start>", "a"} & set(known_words(searcher().matcher))


def test_the_recall_of_a_shortlist_is_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from wordsight.search.engine import shortlist

    monkeypatch.setattr(shortlist, "SIZES", (12,))
    asking, texts = searcher(), ["a red star", "a blue circle", "the ring", "a small heart above a cross"]
    snapshot = asking.session().snapshot
    measured = measure_recall(asking.matcher, snapshot, texts)
    held = []
    for text in texts:
        best = {hit.row for hit in asking.find_images(text, k=RECALL_AT, engine="exact").hits}
        near = nearest_rows(asking.matcher.encode_texts([text]).detach(), snapshot, None, 12)
        held.append(len(best & set(near.tolist())) / RECALL_AT)
    assert measured.recall == pytest.approx(np.mean(held))
    assert (measured.size, measured.queries) == (12, 4)
    assert 0 < measured.recall < 1


def test_indexing_measures_the_background_and_where_it_may_be_used_the_shortlist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wordsight.search import searcher_state
    from wordsight.search.engine import shortlist

    shutil.copytree(index().folder, tmp_path / "index")
    (tmp_path / "index" / "background.json").unlink(missing_ok=True)
    copy = Index.open(tmp_path / "index")
    assert calibrate(copy) is None
    assert set(json.loads((copy.folder / "background.json").read_text())) >= {"background", "generation"}
    monkeypatch.setattr(searcher_state, "SIZES", (5, 12))
    monkeypatch.setattr(shortlist, "SIZES", (5, 12))
    measured = calibrate(copy)
    assert measured is not None
    assert measured == Searcher(copy).shortlist_recall()
    assert json.loads((copy.folder / "background.json").read_text())["shortlist"]["size"] == measured.size


def test_the_nearest_rows_are_those_of_the_largest_products() -> None:
    asking = searcher()
    snapshot = asking.session().snapshot
    text = asking.matcher.encode_texts(["a red star"]).detach()
    unit = torch.nn.functional.normalize(text.vectors[0], dim=-1).mean(0).numpy()
    products = snapshot.mean_vectors(range(PICTURES)).astype(np.float32) @ unit
    for rows in (None, np.arange(3, 20)):
        among = np.arange(PICTURES) if rows is None else rows
        wanted = sorted(among[np.argsort(-products[among])[:6]].tolist())
        assert nearest_rows(text, snapshot, rows, 6).tolist() == wanted
        assert nearest_rows(text, snapshot, rows, 100).tolist() == among.tolist()


def test_a_shortlist_is_scored_exactly_and_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from wordsight.search.engine import auto as module
    from wordsight.search.engine import shortlist
    from wordsight.search.searcher_state import SearchSession

    assert SIZES[0] > PICTURES  # so that here every shortlist would hold everything
    monkeypatch.setattr(SearchSession, "recall", shortlist.Recall(10, 0.99, 4))
    asking = Searcher(index())
    exact = {hit.row: hit.score for hit in asking.find_images("a red star", k=PICTURES).hits}
    hits = asking.find_images("a red star", k=2, engine="shortlist")
    assert (hits.exact, hits.total) == (False, 10)
    for hit in hits.hits:
        assert hit.score == exact[hit.row]
    assert asking.find_images("a red star", k=2).exact
    monkeypatch.setattr(module, "MAX_EXACT_SECONDS", 0.0)
    monkeypatch.setattr(module, "MAX_EXACT_SECONDS_WITH_REGIONS", 0.0)
    monkeypatch.setattr(shortlist, "SIZES", (5,))
    assert not Searcher(index()).find_images("a red star", k=2).exact
    monkeypatch.setattr(SearchSession, "recall", shortlist.Recall(10, 0.5, 4))
    assert Searcher(index()).find_images("a red star", k=2).exact  # a shortlist that misses half is not taken
