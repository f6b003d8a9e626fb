"""mAP, mINP, R-precision and mAP@R are the textbook's, in any blocks; CMPL's own number has its own name."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_problem import small_matcher, small_pairs

from wordsight.evaluation import (
    PROTOCOLS,
    Protocol,
    ProtocolMismatchError,
    evaluate,
    evaluate_scores,
    match_ranks,
)
from wordsight.evaluation.average_precision import PRECISIONS, MatchRanks
from wordsight.evaluation.ground_truth import IdentityGroundTruth, ListedGroundTruth, rank_all
from wordsight.evaluation.score_matrix import StoredScores
from wordsight.report.html import write_report

DISTANCES = np.array([[0.1, 0.5, 0.3, 0.9], [0.6, 0.2, 0.4, 0.1], [0.3, 0.3, 0.2, 0.8]])
QUERIES, GALLERY = np.array([1, 2, 2]), np.array([1, 2, 2, 1])


def golden_ranks() -> MatchRanks:
    return match_ranks(1 - DISTANCES, QUERIES[:, None] == GALLERY)


def slow(scores: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """The definitions, query by query, answer by answer; a wrong answer of equal score comes first."""
    total = dict.fromkeys(PRECISIONS, 0.0)
    for row, mask in zip(scores.tolist(), right.tolist(), strict=True):
        answers = sorted(range(len(row)), key=lambda item: (-row[item], mask[item]))
        hits = [place for place, item in enumerate(answers, 1) if mask[item]]
        precision = {place: (number + 1) / place for number, place in enumerate(hits)}
        total["mAP"] += sum(precision.values()) / len(hits)
        total["mINP"] += len(hits) / hits[-1]
        total["R-prec"] += sum(place <= len(hits) for place in hits) / len(hits)
        total["mAP@R"] += sum(precision[place] for place in hits if place <= len(hits)) / len(hits)
    return {name: value / len(scores) for name, value in total.items()}


def fast(matches: MatchRanks) -> dict[str, float]:
    return {name: float(values(matches).mean()) for name, values in PRECISIONS.items()}


def test_golden_ranks_of_a_matrix_of_distances() -> None:
    order = np.argsort(DISTANCES, axis=1, kind="stable")
    assert order.tolist() == [[0, 2, 1, 3], [3, 1, 2, 0], [2, 0, 1, 3]]
    matches = golden_ranks()
    assert matches.ranks.tolist() == [0, 3, 1, 2, 0, 2]  # of items 0 and 3; 1 and 2; 2 and 1
    assert matches.counts.tolist() == [2, 2, 2]
    assert (matches.best < 1).mean() == pytest.approx(0.666667, abs=1e-6)
    assert (matches.best < 2).mean() == 1


def test_golden_average_precision_correct_and_as_the_reference_has_it() -> None:
    matches = golden_ranks()
    assert matches.average_precision.mean() == pytest.approx(0.722222, abs=1e-6)
    assert matches.reference_average_precision().mean() == pytest.approx(0.486111, abs=1e-6)
    assert matches.reference_average_precision(2).mean() == pytest.approx(0.333333, abs=1e-6)


def test_with_one_right_answer_the_reference_says_recall_at_1() -> None:
    scores = np.random.default_rng(0).normal(size=(30, 30))
    matches = match_ranks(scores, np.eye(30, dtype=bool))
    assert matches.reference_average_precision().mean() == (matches.best < 1).mean()
    assert matches.average_precision.mean() == pytest.approx((1 / (matches.best + 1)).mean())


problems = st.tuples(st.integers(1, 6), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        st.lists(st.integers(-2, 2), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
            lambda values: np.array(values, dtype=np.float64).reshape(shape)
        ),
        st.lists(st.sets(st.integers(0, shape[1] - 1), min_size=1), min_size=shape[0], max_size=shape[0]),
    )
)


@settings(max_examples=60, deadline=None)
@given(problems)
def test_precisions_are_their_definitions(problem: tuple[np.ndarray, list[set[int]]]) -> None:
    scores, right = problem
    mask = ListedGroundTruth.of(right, scores.shape[1]).mask(slice(None))
    assert fast(match_ranks(scores, mask)) == pytest.approx(slow(scores, mask))


@settings(max_examples=40, deadline=None)
@given(problems)
def test_reference_ties_go_to_the_larger_number(problem: tuple[np.ndarray, list[set[int]]]) -> None:
    scores, right = problem
    mask = ListedGroundTruth.of(right, scores.shape[1]).mask(slice(None))
    bent = scores + 1e-6 * np.arange(scores.shape[1])
    assert match_ranks(scores, mask, "reference").ranks.tolist() == match_ranks(bent, mask).ranks.tolist()


@pytest.mark.parametrize("block", [1, 2, 5, 300])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    scores, images, texts = random.normal(size=(7, 23)), np.arange(7) // 2, np.arange(23) % 4
    whole = match_ranks(scores.T, texts[:, None] == images)
    monkeypatch.setattr("wordsight.evaluation.ground_truth.blocks", lambda count: slices(count, block))
    matches = rank_all(StoredScores(scores), "t2i", IdentityGroundTruth(texts, images))
    assert matches.ranks.tolist() == whole.ranks.tolist()
    assert matches.counts.tolist() == whole.counts.tolist()


def slices(count: int, size: int) -> Any:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def test_listed_answers_are_found_in_any_slice() -> None:
    right = ListedGroundTruth.of([[2, 2], [], [0, 4], [], [1]], 5)
    assert right.queries.tolist() == [0, 2, 4]
    whole = right.mask(slice(None))
    assert whole.sum(1).tolist() == [1, 0, 2, 0, 1]
    for start in range(6):
        for stop in range(start, 6):
            assert (right.mask(slice(start, stop)) == whole[start:stop]).all()
    assert (right.of_queries_with_answers().mask(slice(0, 3)) == whole[[0, 2, 4]]).all()


def test_what_cannot_be_ranked_is_named() -> None:
    with pytest.raises(ValueError, match="no item is right for query 1"):
        match_ranks(np.zeros((2, 2)), np.array([[True, False], [False, False]]))
    with pytest.raises(ValueError, match="item 1 for query 0 is nan"):
        match_ranks(np.array([[0.0, np.nan]]), np.array([[True, False]]))


def persons() -> tuple[np.ndarray, list[int], list[int]]:
    """Twelve pictures of five persons, thirty texts; right pairs score higher."""
    images, texts = [number % 5 for number in range(12)], [number % 5 for number in range(30)]
    scores = np.random.default_rng(3).normal(size=(12, 30)) + np.equal.outer(images, texts)
    return scores, images, texts


def test_persons_are_measured_by_precisions_in_both_ways_with_intervals() -> None:
    scores, images, texts = persons()
    recalls = evaluate_scores(scores, images, texts, protocol="icfg-pedes")
    plain = evaluate_scores(scores, images, texts)
    assert recalls.i2t.recall == plain.i2t.recall
    assert (recalls.t2i.medr, recalls.t2i.meanr) == (plain.t2i.medr, plain.t2i.meanr)
    right = np.equal.outer(np.array(texts), np.array(images))
    assert recalls.t2i.precisions == pytest.approx({k: 100 * v for k, v in slow(scores.T, right).items()})
    assert recalls.i2t.precisions == pytest.approx({k: 100 * v for k, v in slow(scores, right.T).items()})
    assert plain.t2i.precisions is None
    assert recalls.intervals is not None
    low, high = recalls.intervals["t2i mAP"]
    assert low < recalls.t2i.precisions["mAP"] < high
    assert {key: recalls.intervals[key] for key in plain.intervals} == plain.intervals  # type: ignore[union-attr]
    assert recalls.to_dict()["t2i"]["mINP"] == recalls.t2i.precisions["mINP"]


def test_the_table_has_a_part_for_precisions_where_there_are_some() -> None:
    scores, images, texts = persons()
    text = evaluate_scores(scores, images, texts, average_precision=True, intervals=False).to_text()
    assert re.search(r"^all +mAP +mINP +R-prec +mAP@R$", text, re.MULTILINE)
    assert len(re.findall(r"^all +text -> picture( +\d+\.\d){4}$", text, re.MULTILINE)) == 1
    assert "mAP" not in evaluate_scores(scores, images, texts).to_text()


def test_precisions_of_folds_are_averaged() -> None:
    scores = np.random.default_rng(5).normal(size=(12, 60))
    thirds = Protocol("thirds", "three folds of four", 12, 5, folds=3)
    folded = evaluate_scores(scores, protocol=thirds, average_precision=True, intervals=False)
    parts = [
        evaluate_scores(
            scores[s : s + 4, 5 * s : 5 * s + 20], average_precision=True, intervals=False
        ).t2i.precisions
        for s in (0, 4, 8)
    ]
    mean = {name: np.mean([part[name] for part in parts if part]) for name in PRECISIONS}
    assert folded.t2i.precisions == pytest.approx(mean)


def test_everything_right_first_is_100_percent() -> None:
    recalls = evaluate_scores(np.repeat(np.eye(9), 5, axis=1), average_precision=True, intervals=False)
    assert recalls.i2t.precisions == recalls.t2i.precisions == dict.fromkeys(PRECISIONS, 100.0)


def test_a_matcher_of_persons_is_measured_as_its_matrix(tmp_path: Path) -> None:
    pairs = small_pairs(13)
    persons = replace(pairs, identities=torch.arange(13) // 3)
    matcher = small_matcher().eval()
    told: list[tuple[str, int, int]] = []
    by_matcher = evaluate(
        matcher, persons, "rstp-reid", batch_size=4, progress=lambda *seen: told.append(seen)
    )
    assert [seen[1:] for seen in told if seen[0] == "scores"] == [(13, 39), (39, 39)]
    assert evaluate(matcher, persons, "rstp-reid", batch_size=5, save_scores=tmp_path / "S.npy") == by_matcher
    identities = persons.identities, persons.text_identities
    by_matrix = evaluate_scores(tmp_path / "S.npy", *identities, protocol="rstp-reid", split=pairs.source)
    assert by_matrix == by_matcher
    assert by_matcher.t2i.precisions is not None
    with pytest.raises(ValueError, match=r"int8.* needs the ranks of all"):
        evaluate(matcher, persons, "rstp-reid", precision="int8")


def test_the_report_shows_precisions_too(tmp_path: Path) -> None:
    scores, images, texts = persons()
    recalls = evaluate_scores(scores, images, texts, average_precision=True)
    page = write_report(tmp_path / "page.html", "Persons", recalls).read_text()
    assert recalls.t2i.precisions is not None
    assert '<h2 id="precision">' in page
    assert f"<td>{recalls.t2i.precisions['mINP']:.1f}<small>" in page
    plain = write_report(tmp_path / "plain.html", "Plain", evaluate_scores(scores, images, texts)).read_text()
    assert "mINP" not in plain


def test_the_protocol_of_cuhk_pedes_knows_its_counts() -> None:
    protocol = PROTOCOLS["cuhk-pedes"]
    texts_of = torch.full((3074,), 2)
    texts_of[:4] = 4  # some images have more than two
    assert protocol.check(texts_of, identities=1000) == ""
    with pytest.raises(ProtocolMismatchError, match="3074 images of 999 persons with 6156 captions"):
        protocol.check(texts_of, identities=999)
    with pytest.raises(ProtocolMismatchError, match="3074 images of 1000 persons with 6156 captions"):
        protocol.check(texts_of[1:], identities=1000)
    with pytest.raises(ProtocolMismatchError, match="pass image_identities and text_identities"):
        evaluate_scores(np.zeros((4, 20)), protocol="cuhk-pedes")


@pytest.mark.parametrize("name", ["icfg-pedes", "rstp-reid"])
def test_counts_that_nobody_checked_are_not_claimed(name: str) -> None:
    scores, images, texts = persons()
    assert "not checked" in PROTOCOLS[name].title
    assert evaluate_scores(scores, images, texts, protocol=name).deviation == ""


def test_the_map_of_cmpls_code_is_there_beside_the_standard_one() -> None:
    """CMPL issue 4 reports a MAP equal to R@1: its precision leaves out the match itself."""
    scores, images, texts = persons()
    recalls = evaluate_scores(scores, images, texts, average_precision=True, intervals=False)
    (fold,) = recalls.ranks
    expected = 100 * float(fold.text_matches.reference_average_precision().mean())
    assert recalls.cmpl_map["t2i"] == pytest.approx(expected)
    assert recalls.cmpl_map["t2i"] < recalls.t2i.precisions["mAP"]
    assert evaluate_scores(scores, images, texts, intervals=False).cmpl_map == {}
