"""Scores -> ranks, R@K with its protocol and its interval, precisions, pointing accuracy."""

from wordsight.evaluation.average_precision import MatchRanks, match_ranks
from wordsight.evaluation.cxc_eccv import Relevance, read_relevance
from wordsight.evaluation.ensemble import Ensemble, ensemble_scores
from wordsight.evaluation.evaluate import evaluate
from wordsight.evaluation.evaluate_matrix import evaluate_scores
from wordsight.evaluation.multi_positive import ExtendedRecalls, evaluate_relevance, measure_relevance
from wordsight.evaluation.pointing import Pointing, pointing_accuracy
from wordsight.evaluation.protocols import PROTOCOLS, Protocol, ProtocolMismatchError, keep_texts
from wordsight.evaluation.recall import Direction, Recalls
from wordsight.evaluation.score_matrix import NonFiniteScoresError
from wordsight.evaluation.write_scores import write_scores

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
