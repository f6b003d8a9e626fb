"""Questions whose answers are known -> how often a search finds an answer where there is none, or none where
there is one: the curve by which ``calibration.FALSE_POSITIVE_RATE`` is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from wordsight.matcher import Matcher
from wordsight.search.engine.brute_force import QueryScorer, blocks
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.query.encoded import encode_plain_text
from wordsight.search.query.stop_words import names_something
from wordsight.search.relevance.null_scores import AT_ONCE
from wordsight.search.relevance.threshold import Calibration
from wordsight.sets import EmbeddingSet

SETTINGS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Question:
    """A text, and the rows of all pictures that answer it: taken out, nothing does."""

    text: str
    answers: Sequence[int]


@dataclass(frozen=True)
class CurvePoint:
    """At one setting, how often the answer to "does anything match?" is wrong; shares in [0, 1]."""

    setting: float
    accepted: float  # of questions whose pictures are taken out, how many got an answer all the same
    rejected: float  # of questions whose pictures are there, how many got none

    def to_text(self) -> str:
        wrong = f"accepted {100 * self.accepted:5.1f} %  rejected {100 * self.rejected:5.1f} %"
        return f"setting {self.setting:.2f}  {wrong}"


def line_curve(
    matcher: Matcher,
    snapshot: Snapshot,
    calibration: Calibration,
    questions: Sequence[Question],
    settings: Sequence[float] = SETTINGS,
    memory_mb: float = 256.0,
) -> list[CurvePoint]:
    """Of the line of relevance: each question is asked with its pictures in the index, and without them."""
    best, without = best_scores(matcher, snapshot, questions, memory_mb)
    lengths = [len(matcher.tokenizer.words(question.text)) for question in questions]
    points = []
    for setting in settings:
        at = replace(calibration, false_positive_rate=setting)
        lines = np.array([at.line(words) for words in lengths])
        points.append(CurvePoint(setting, float((without >= lines).mean()), float((best < lines).mean())))
    return points


def best_scores(
    matcher: Matcher, snapshot: Snapshot, questions: Sequence[Question], memory_mb: float = 256.0
) -> tuple[Float[np.ndarray, " question"], Float[np.ndarray, " question"]]:
    """Of each question the best score of all pictures, and of all but those that answer it."""
    best, without = (np.full(len(questions), -np.inf) for _ in range(2))
    texts = [question.text for question in questions]
    with torch.no_grad():
        parts = [matcher.encode_texts(texts[n : n + AT_ONCE]) for n in range(0, len(texts), AT_ONCE)]
        together = EmbeddingSet.join(parts)
        for start, stop, block in blocks(snapshot, None, memory_mb):
            scores = matcher.similarity(block.to(matcher.device), together).float().cpu().numpy()
            best = np.maximum(best, scores.max(0))
            scores[_answering(questions, start, stop)] = -np.inf
            without = np.maximum(without, scores.max(0))
    return best, without


def _answering(questions: Sequence[Question], start: int, stop: int) -> Bool[np.ndarray, "row question"]:
    answering = np.zeros((stop - start, len(questions)), bool)
    for column, question in enumerate(questions):
        rows = np.asarray(question.answers, dtype=np.int64)
        answering[rows[(rows >= start) & (rows < stop)] - start, column] = True
    return answering


def word_curve(
    matcher: Matcher,
    snapshot: Snapshot,
    calibration: Calibration,
    questions: Sequence[Question],
    settings: Sequence[float] = SETTINGS,
) -> list[CurvePoint]:
    """Of the levels of words: each question names one thing, and so each of its words that names something
    should be found in every picture that answers it, and all of them together in no other.
    """
    everything = snapshot.gather(np.arange(len(snapshot)))
    asked = [encode_plain_text(matcher, question.text) for question in questions]
    found = []
    with torch.no_grad():
        for one in asked:
            judged = [n for n, word in enumerate(one.words) if one.whole or names_something(word.text)]
            asking = QueryScorer(matcher.similarity, one.set)
            found.append((one.found(asking.found(everything)).cpu(), judged))
    points = []
    for setting in settings:
        at = replace(calibration, word_false_positive_rate=setting)
        accepted, rejected = [], []
        for question, one, (strengths, judged) in zip(questions, asked, found, strict=True):
            levels = torch.tensor(at.levels(one, QueryScorer(matcher.similarity, one.set)))
            there = torch.zeros(len(snapshot), dtype=torch.bool)
            there[list(question.answers)] = True
            all_found = (strengths >= levels)[:, judged].all(1)
            accepted.append(all_found[~there].float().mean())
            rejected.append((~all_found[there]).float().mean())
        points.append(
            CurvePoint(setting, float(torch.stack(accepted).mean()), float(torch.stack(rejected).mean()))
        )
    return points
