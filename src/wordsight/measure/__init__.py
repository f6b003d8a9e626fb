"""Scores -> ranks, R@K with its protocol and its interval, pointing accuracy."""

from wordsight.measure.evaluation import evaluate
from wordsight.measure.match_ranks import MatchRanks, match_ranks
from wordsight.measure.matrix import evaluate_scores
from wordsight.measure.pointing import Pointing, pointing_accuracy
from wordsight.measure.protocols import PROTOCOLS, Protocol, ProtocolMismatchError, keep_texts
from wordsight.measure.recalls import Direction, Recalls
from wordsight.measure.saving import write_scores
from wordsight.measure.scores import NonFiniteScoresError

__all__ = [
    "PROTOCOLS",
    "Direction",
    "MatchRanks",
    "NonFiniteScoresError",
    "Pointing",
    "Protocol",
    "ProtocolMismatchError",
    "Recalls",
    "evaluate",
    "evaluate_scores",
    "keep_texts",
    "match_ranks",
    "pointing_accuracy",
    "write_scores",
]
