"""An ensemble is the mean of its members' scores, in any blocks, and of the same pairs only."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_problem import small_matcher, small_pairs, untrained_run, wordsight

from wordsight.evaluation import (
    NonFiniteScoresError,
    Protocol,
    ensemble_scores,
    evaluate_scores,
    write_scores,
)
from wordsight.evaluation.ensemble import must_be_same_pairs
from wordsight.evaluation.score_matrix import ComputedScores, as_scores, write_matrix
from wordsight.pairs import PairSet


def matrices(count: int = 2, images: int = 12) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    right = 2 * np.repeat(np.eye(images), 5, axis=1)
    return [10.0**k * (random.normal(size=(images, 5 * images)) + right + k) for k in range(count)]


def held(ensemble: Any) -> np.ndarray:
    return np.asarray(ensemble.block(slice(None), slice(None)))


def test_equal_weights_are_the_mean_and_weights_their_share() -> None:
    one, two = matrices()
    np.testing.assert_allclose(held(ensemble_scores([one, two])), (one + two) / 2)
    np.testing.assert_allclose(held(ensemble_scores([one, two], [3, 1])), 0.75 * one + 0.25 * two)
    assert evaluate_scores(ensemble_scores([one, two], [1, 0]), split="") == evaluate_scores(one)


def test_standardized_members_count_alike_whatever_their_scale() -> None:
    one, two = matrices()
    standard = [(scores - scores.mean()) / scores.std() for scores in (one, two)]
    mean = held(ensemble_scores([one, two], standardize=True))
    np.testing.assert_allclose(mean, sum(standard) / 2, atol=1e-12)
    rescaled = held(ensemble_scores([1000 * one - 7, two], standardize=True))
    np.testing.assert_allclose(rescaled, mean, atol=1e-10)
    weighted = held(ensemble_scores([one, two], [0.6, 0.4], standardize=True))
    np.testing.assert_allclose(weighted, 0.6 * standard[0] + 0.4 * standard[1], atol=1e-12)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("folds", [1, 3])
def test_an_ensemble_is_measured_as_the_matrix_it_stands_for(standardize: bool, folds: int) -> None:
    protocol = Protocol("thirds", "twelve images", 12, 5, folds)
    ensemble = ensemble_scores(matrices(3), [0.5, 0.3, 0.2], standardize)
    queries: dict[str, Any] = {"protocol": protocol, "split": "", "average_precision": True}
    assert evaluate_scores(ensemble, **queries) == evaluate_scores(held(ensemble), **queries)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_scores(ensemble_scores(matrices(), standardize=True))
    for module in ("score_matrix", "ground_truth"):
        monkeypatch.setattr(f"wordsight.evaluation.{module}.blocks", lambda count: slices(count, 5))
    assert evaluate_scores(ensemble_scores(matrices(), standardize=True)) == whole


def slices(count: int, size: int) -> Any:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def test_no_more_than_blocks_of_a_file_is_read(tmp_path: Path) -> None:
    paths = []
    for number, scores in enumerate(matrices(images=600)):
        np.save(tmp_path / f"{number}.npy", scores.astype(np.float32))
        paths.append(tmp_path / f"{number}.npy")
    read: list[int] = []

    class Watched(type(as_scores(paths[0]))):  # type: ignore[misc]
        def block(self, rows: slice, columns: slice) -> np.ndarray:
            found: np.ndarray = super().block(rows, columns)
            read.append(found.size)
            return found

    members = [Watched(np.load(path, mmap_mode="r"), str(path)) for path in paths]
    recalls = evaluate_scores(ensemble_scores(members, standardize=True), average_precision=True)
    assert max(read) <= 256 * 3000
    assert recalls.rsum > 300


def test_what_was_averaged_stands_in_the_headline(tmp_path: Path) -> None:
    for name, scores in zip("ab", matrices(), strict=True):
        np.save(tmp_path / f"{name}.npy", scores)
    ensemble = ensemble_scores([tmp_path / "a.npy", tmp_path / "b.npy"], [1, 3], standardize=True)
    told = evaluate_scores(ensemble).headline
    assert f"mean of standardized scores: 0.25 {tmp_path}/a.npy + 0.75 {tmp_path}/b.npy" in told


def test_what_makes_no_ensemble_is_named(tmp_path: Path) -> None:
    one, two = matrices()
    with pytest.raises(ValueError, match=r"12 x 55 but a matrix given is 12 x 60 .*same images and texts"):
        ensemble_scores([one, two[:, 5:]])
    with pytest.raises(ValueError, match="3 weights for 2 score matrices"):
        ensemble_scores([one, two], [1, 1, 1])
    for weights in ([1, -1], [0, 0], [1, np.nan]):
        with pytest.raises(ValueError, match="expected numbers of at least 0"):
            ensemble_scores([one, two], weights)
    with pytest.raises(ValueError, match="all scores are 3, so they cannot be standardized"):
        ensemble_scores([one, np.full_like(two, 3)], standardize=True)
    with pytest.raises(ValueError, match="at least one"):
        ensemble_scores([])
    two[3, 7] = np.nan
    np.save(tmp_path / "two.npy", two)
    with pytest.raises(
        NonFiniteScoresError, match=r"two\.npy: 1 of 720 scores .* image row 3, text column 7"
    ):
        ensemble_scores([one, tmp_path / "two.npy"])


def test_a_part_of_a_matrix_in_any_order_is_that_part(tmp_path: Path) -> None:
    (scores,) = matrices(1)
    rows, columns = np.array([7, 2, 3]), np.array([50, 4, 4, 9])
    part = as_scores(scores).only(rows, columns)
    assert part.shape == (3, 4)
    np.testing.assert_array_equal(held(part), scores[np.ix_(rows, columns)])
    np.testing.assert_array_equal(part.block(slice(1, 3), slice(0, 2)), scores[np.ix_([2, 3], [50, 4])])
    assert part.block(slice(0, 0), slice(None)).shape == (0, 4)
    write_matrix(part, tmp_path / "part.npy")
    np.testing.assert_allclose(np.load(tmp_path / "part.npy"), held(part), rtol=1e-6)


def test_computed_scores_are_the_matrix_that_is_written(tmp_path: Path) -> None:
    matcher, pairs = small_matcher().eval(), small_pairs(6)
    write_scores(matcher, pairs, tmp_path / "S.npy", 4)
    with torch.no_grad():
        images = matcher.encode_images(pairs.images.read(range(6)))
        computed = ComputedScores(matcher.similarity, images, matcher.encode_texts(pairs.texts))
        saved = np.load(tmp_path / "S.npy")
        np.testing.assert_allclose(held(computed), saved, atol=1e-6)
        some = computed.only(np.array([4, 1]), np.array([3, 0, 9]))
        np.testing.assert_allclose(held(some), saved[np.ix_([4, 1], [3, 0, 9])], atol=1e-6)


def test_pairs_are_the_same_by_their_letters() -> None:
    pairs = small_pairs(4)
    told = replace(pairs, texts=[f"{text.upper()} ." for text in pairs.texts], names=["a", "b", "c", "d"])
    must_be_same_pairs(pairs, told, ("A", "B"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs: small_pairs(5), "4 images and 8 texts for A, 5 images and 10 texts for B"),
        (lambda pairs: replace(pairs, texts=["x", *pairs.texts[1:]]), 'text 0 is ".*" for A and "x" for B'),
        (
            lambda pairs: replace(pairs, image_of=torch.tensor([0, 1, 1, 1, 2, 2, 3, 3])),
            "text 1 tells of image 0 for A and of image 1 for B",
        ),
    ],
)
def test_other_pairs_are_refused_with_the_first_difference(change: Any, message: str) -> None:
    pairs: PairSet = small_pairs(4)
    with pytest.raises(ValueError, match=f"not measured on the same pairs: {message}"):
        must_be_same_pairs(pairs, change(pairs), ("A", "B"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained models of other seeds for the same small world."""
    home = tmp_path_factory.mktemp("runs")
    return [untrained_run(home / str(seed), seed) for seed in (0, 1)]


def test_models_files_and_pickles_are_averaged_by_the_command(runs: list[Path], tmp_path: Path) -> None:
    for number, run in enumerate(runs):
        path = tmp_path / f"{number}.npy"
        assert wordsight("evaluate", run, "--no-intervals", "--save-scores", path).exit_code == 0
    one, two = (np.load(tmp_path / f"{number}.npy") for number in (0, 1))
    np.save(tmp_path / "results_two.npy", {"npts": len(two), "sims": two.astype(np.float64)})  # type: ignore[arg-type]
    mean = tmp_path / "mean.npy"
    common = ("--standardize", "--weights", "0.6,0.4", "--no-intervals", "--json")
    of_models = wordsight(
        "evaluate", *runs, *common, "--save-scores", mean, "--report", tmp_path / "page.html"
    )
    assert of_models.exit_code == 0, of_models.exception
    mixed = wordsight("evaluate", runs[0], "--scores", tmp_path / "results_two.npy", *common)
    assert mixed.exit_code == 0, mixed.exception
    first, second = json.loads(of_models.stdout), json.loads(mixed.stdout)
    expected = 0.6 * (one - one.mean()) / one.std() + 0.4 * (two - two.mean()) / two.std()
    np.testing.assert_allclose(np.load(mean), expected, atol=1e-5)
    assert {key: first[key] for key in ("i2t", "t2i")} == {key: second[key] for key in ("i2t", "t2i")}
    assert f"0.6 {runs[0]} + 0.4 {runs[1]}" in first["split"]
    assert "0.6" in (tmp_path / "page.html").read_text()
    refused = wordsight("evaluate", runs[0], runs[1], "--weights", "1")
    assert "1 weights for 2 score matrices" in str(refused.exception)


def test_files_alone_take_who_belongs_together_from_a_configuration(runs: list[Path], tmp_path: Path) -> None:
    queries = ("--no-intervals", "--json", "--map")
    model = wordsight("evaluate", runs[0], *queries, "--save-scores", tmp_path / "S.npy")
    told = json.loads(model.stdout)
    matrix = wordsight("evaluate", "--scores", tmp_path / "S.npy", "--config", runs[0], *queries)
    assert matrix.exit_code == 0, matrix.exception
    assert {key: json.loads(matrix.stdout)[key] for key in ("i2t", "t2i")} == {
        key: told[key] for key in ("i2t", "t2i")
    }
    assert 0 < told["t2i"]["mAP"] < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "y", "--weights", "a,b"], "expected numbers with commas"),
        (["x", "--standardize"], "are for averaging"),
        (["x", "--relevance", "cxc"], "give both"),
        (
            ["x", "--relevance", "cxc", "--annotations", ".", "--report", "p.html"],
            "--report does not go together",
        ),
    ],
)
def test_wrong_usage_is_said_before_anything_is_read(arguments: list[str], message: str) -> None:
    told = wordsight("evaluate", *arguments)
    assert told.exit_code == 2
    assert message in " ".join(told.stderr.split())
