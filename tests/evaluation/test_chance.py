"""Chance level of R@K: the closed form against every order of a small gallery."""

from itertools import permutations

import numpy as np
import pytest

from wordsight.evaluation import evaluate_scores
from wordsight.evaluation.chance import chance_recall


def test_it_is_the_mean_over_all_orders() -> None:
    queries, gallery = np.array([1, 2, 3, 9]), np.array([1, 1, 2, 3, 3])
    found = chance_recall(queries, gallery, (1, 2, 10))
    orders = [gallery[list(order)] for order in permutations(range(5))]
    for k in (1, 2, 10):
        hits = [[one in order[:k] for one in queries] for order in orders]
        assert found[k] == pytest.approx(100 * np.mean(hits)), k


def test_it_stands_beside_the_recalls() -> None:
    scores = np.random.default_rng(0).standard_normal((20, 100))
    recalls = evaluate_scores(scores)
    assert recalls.chance["t2i"] == pytest.approx({1: 5.0, 5: 25.0, 10: 50.0})
    assert recalls.to_dict()["chance"]["i2t"]["R@1"] == pytest.approx(5.0)
    assert recalls.to_text().count("chance") == 2
