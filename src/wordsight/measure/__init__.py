"""Scores -> ranks, R@K with its protocol and its interval, precisions, pointing accuracy."""

from wordsight.measure.annotations import Relevance, read_relevance
from wordsight.measure.ensemble import Ensemble, ensemble_scores
from wordsight.measure.evaluation import evaluate
from wordsight.measure.extended import ExtendedRecalls, evaluate_relevance, measure_relevance
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
    "Ensemble",
    "ExtendedRecalls",
    "MatchRanks",
    "NonFiniteScoresError",
    "Pointing",
    "Protocol",
    "ProtocolMismatchError",
    "Recalls",
    "Relevance",
    "ensemble_scores",
    "evaluate",
    "evaluate_relevance",
    "evaluate_scores",
    "keep_texts",
    "match_ranks",
    "measure_relevance",
    "pointing_accuracy",
    "read_relevance",
    "write_scores",
]
