"""Scores -> ranks, R@K with its protocol and its interval, pointing accuracy."""

from wordsight.measure.evaluation import evaluate
from wordsight.measure.matrix import NonFiniteScoresError, evaluate_scores
from wordsight.measure.pointing import Pointing, pointing_accuracy
from wordsight.measure.protocols import PROTOCOLS, Protocol, ProtocolMismatchError, keep_texts
from wordsight.measure.recalls import Direction, Recalls
from wordsight.measure.saving import write_scores

__all__ = [
    "PROTOCOLS",
    "Direction",
    "NonFiniteScoresError",
    "Pointing",
    "Protocol",
    "ProtocolMismatchError",
    "Recalls",
    "evaluate",
    "evaluate_scores",
    "keep_texts",
    "pointing_accuracy",
    "write_scores",
]
