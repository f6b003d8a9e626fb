"""A region index and its own data -> the least effort of a search with enough recall.

Queries are captions of the pictures, or, where there are too few, also texts made of words that the model
knows: regions of pictures would find their like more easily than texts do.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.engine.shortlist import best_of_each
from wordsight.search.index.region_meta import SearchSettings
from wordsight.search.relevance.null_scores import background_texts, captions_of, spread_rows
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.search.engine.regions import Regions
    from wordsight.search.searcher_state import SearchSession

LADDER = (  # efforts, from the least on
    SearchSettings(16, 256, 400),
    SearchSettings(32, 512, 1600),
    SearchSettings(32, 1024, 1600),
    SearchSettings(64, 1024, 2400),
    SearchSettings(128, 1024, 3200),
    SearchSettings(128, 2048, 3200),
    SearchSettings(256, 4096, 4800),
)
SUFFICIENT_RECALL = 0.985  # with this recall no greater effort is tried
MAX_QUERIES = 48
MIN_CAPTIONS = 16  # with fewer of them, generated texts are queries too


@torch.no_grad()
def measure_settings(session: "SearchSession", engine: "Regions") -> SearchSettings:
    """The least sufficient effort for texts of the index."""
    queries = sample_queries(session)
    best = best_of_each(session.matcher, session.snapshot, queries, session.memory_mb)
    return least_effort(engine, [QueryScorer(session.matcher.similarity, query) for query in queries], best)


def least_effort(
    engine: "Regions", scorers: Sequence[QueryScorer], best: Sequence[Int[np.ndarray, " ten"]]
) -> SearchSettings:
    """The first of LADDER with sufficient recall of the best rows, or else the last, with its recall."""
    measured = LADDER[-1]
    for settings in LADDER:
        found = [engine.candidate_rows(scorer, settings) for scorer in scorers]
        shares = [_share(rows, named) for rows, named in zip(best, found, strict=True)]
        measured = replace(settings, recall=round(float(np.mean(shares)), 4), queries=len(scorers))
        if measured.recall >= SUFFICIENT_RECALL:
            break
    return measured


def _share(best: np.ndarray, found: np.ndarray) -> float:
    return float(np.isin(best, found).mean())


def sample_queries(session: "SearchSession") -> Sequence[EmbeddingSet]:
    """Encoded texts for the index, always the same for one state of it."""
    snapshot, matcher = session.snapshot, session.matcher
    rows = spread_rows(len(snapshot), MAX_QUERIES)
    texts = captions_of(matcher, [item.text for item in snapshot.items(rows)])
    if len(texts) < MIN_CAPTIONS:
        texts = background_texts(matcher, snapshot)
    return [matcher.encode_texts([texts[n]]) for n in spread_rows(len(texts), MAX_QUERIES)]
