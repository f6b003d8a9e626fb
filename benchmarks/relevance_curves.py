"""False-accept and false-reject rate per threshold, from labelled queries.

``python benchmarks/relevance_curves.py INDEX QUERIES``: a line of QUERIES is ``{"text": ..., "answers": []}``
with the paths of the pictures that answer the text. ``threshold.FALSE_POSITIVE_RATE`` was chosen by it.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from wordsight.matcher import Matcher
from wordsight.search.engine.brute_force import QueryScorer, blocks
from wordsight.search.index.index import Index
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.query.encoded import encode_plain_text
from wordsight.search.query.stop_words import names_something
from wordsight.search.relevance.null_scores import TEXTS_PER_BATCH
from wordsight.search.relevance.threshold import Calibration
from wordsight.search.searcher import Searcher
from wordsight.sets import EmbeddingSet

SETTINGS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class LabelledQuery:
    """A text and the rows of all pictures that answer it; without these rows, nothing does."""

    text: str
    answers: Sequence[int]


@dataclass(frozen=True)
class CurvePoint:
    """Error rates at one setting, shares in [0, 1]."""

    setting: float
    accepted: float  # queries without their pictures that got an answer
    rejected: float  # queries with their pictures that got none

    def to_text(self) -> str:
        wrong = f"accepted {100 * self.accepted:5.1f} %  rejected {100 * self.rejected:5.1f} %"
        return f"setting {self.setting:.2f}  {wrong}"


def line_curve(
    matcher: Matcher,
    snapshot: Snapshot,
    calibration: Calibration,
    queries: Sequence[LabelledQuery],
    settings: Sequence[float] = SETTINGS,
    memory_mb: float = 256.0,
) -> list[CurvePoint]:
    """Curve of the relevance threshold: every query with its pictures in the index, and without them."""
    best, without = best_scores(matcher, snapshot, queries, memory_mb)
    lengths = [len(matcher.tokenizer.words(query.text)) for query in queries]
    points = []
    for setting in settings:
        at = replace(calibration, false_positive_rate=setting)
        lines = np.array([at.threshold(words) for words in lengths])
        points.append(CurvePoint(setting, float((without >= lines).mean()), float((best < lines).mean())))
    return points


def best_scores(
    matcher: Matcher, snapshot: Snapshot, queries: Sequence[LabelledQuery], memory_mb: float = 256.0
) -> tuple[Float[np.ndarray, " query"], Float[np.ndarray, " query"]]:
    """Best score of each query over all pictures, and over all but those that answer it."""
    best, without = (np.full(len(queries), -np.inf) for _ in range(2))
    texts = [query.text for query in queries]
    with torch.no_grad():
        parts = [
            matcher.encode_texts(texts[n : n + TEXTS_PER_BATCH])
            for n in range(0, len(texts), TEXTS_PER_BATCH)
        ]
        together = EmbeddingSet.join(parts)
        for start, stop, block in blocks(snapshot, None, memory_mb):
            scores = matcher.similarity(block.to(matcher.device), together).float().cpu().numpy()
            best = np.maximum(best, scores.max(0))
            scores[_answering(queries, start, stop)] = -np.inf
            without = np.maximum(without, scores.max(0))
    return best, without


def _answering(queries: Sequence[LabelledQuery], start: int, stop: int) -> Bool[np.ndarray, "row query"]:
    answering = np.zeros((stop - start, len(queries)), bool)
    for column, query in enumerate(queries):
        rows = np.asarray(query.answers, dtype=np.int64)
        answering[rows[(rows >= start) & (rows < stop)] - start, column] = True
    return answering


def word_curve(
    matcher: Matcher,
    snapshot: Snapshot,
    calibration: Calibration,
    queries: Sequence[LabelledQuery],
    settings: Sequence[float] = SETTINGS,
) -> list[CurvePoint]:
    """Curve of the word levels, from queries that name one thing each.

    The words that name something should be found in every picture that answers, and together in no other.
    """
    everything = snapshot.gather(np.arange(len(snapshot)))
    encoded = [encode_plain_text(matcher, query.text) for query in queries]
    found = []
    with torch.no_grad():
        for one in encoded:
            judged = [n for n, word in enumerate(one.words) if one.whole or names_something(word.text)]
            scorer = QueryScorer(matcher.similarity, one.set)
            found.append((one.found(scorer.found(everything)).cpu(), judged))
    points = []
    for setting in settings:
        at = replace(calibration, word_false_positive_rate=setting)
        accepted, rejected = [], []
        for query, one, (strengths, judged) in zip(queries, encoded, found, strict=True):
            levels = torch.tensor(at.levels(one, QueryScorer(matcher.similarity, one.set)))
            there = torch.zeros(len(snapshot), dtype=torch.bool)
            there[list(query.answers)] = True
            all_found = (strengths >= levels)[:, judged].all(1)
            accepted.append(all_found[~there].float().mean())
            rejected.append((~all_found[there]).float().mean())
        points.append(
            CurvePoint(setting, float(torch.stack(accepted).mean()), float(torch.stack(rejected).mean()))
        )
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path)
    options = parser.parse_args()
    searcher = Searcher(Index.open(options.index))
    session = searcher.session()
    items = session.snapshot.items(np.arange(len(session.snapshot)))
    row_of = {os.path.realpath(item.path): row for row, item in enumerate(items)}
    lines = [json.loads(line) for line in options.queries.read_text(encoding="utf-8").splitlines()]
    queries = [
        LabelledQuery(line["text"], [row_of[os.path.realpath(path)] for path in line["answers"]])
        for line in lines
    ]
    for name, curve in {"relevance threshold": line_curve, "word levels": word_curve}.items():
        print(name)
        for point in curve(searcher.matcher, session.snapshot, session.calibration, queries):
            print(f"  {point.to_text()}")


if __name__ == "__main__":
    main()
