"""A state of an index on Qdrant -> what is measured on it, with the recall of its candidates."""

from dataclasses import asdict
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wordsight.files import plain_json
from wordsight.search.engine.brute_force import QueryScorer, score_rows
from wordsight.search.engine.engine import EngineQuery
from wordsight.search.engine.shortlist import MAX_QUERIES, RECALL_AT, Recall
from wordsight.search.index.database import Filters
from wordsight.search.qdrant.engines import ENGINES, MAX_EXACT_ROWS, SHORTLIST, Shortlist
from wordsight.search.qdrant.rows import QdrantRows
from wordsight.search.relevance.null_scores import background_texts, spread_rows
from wordsight.search.remote.session import RECALL, RemoteSession
from wordsight.search.searcher_state import RECALL_FIELDS
from wordsight.tensors import torch

if TYPE_CHECKING:
    from wordsight.search.qdrant.index import QdrantIndex


class QdrantSession(RemoteSession):
    """One state of an index on Qdrant."""

    index: "QdrantIndex"
    snapshot: QdrantRows
    engines = ENGINES

    def read_note(self, name: str) -> tuple[int, Any] | None:
        note = self.index.store.note(name)
        return None if note is None else (note["items"], note["value"])

    def write_note(self, name: str, value: Any) -> None:
        self.index.store.write_note(name, {"items": len(self.snapshot), "value": value})

    def prepare_shortlist(self) -> Recall | None:
        return self.recall if len(self.snapshot) > MAX_EXACT_ROWS else None

    @cached_property
    def _recall(self) -> Recall:
        stored = self._noted(RECALL)
        if stored is not None:
            return Recall(**plain_json.table_of(stored, RECALL_FIELDS, RECALL))
        measured = self._measured_recall()
        self.write_note(RECALL, asdict(measured))
        return measured

    @torch.no_grad()
    def _measured_recall(self) -> Recall:
        """Recall among a sample, of a shortlist that is as small a part of it as in a search of all."""
        sampled, shortlist = self.measured_rows.rows, Shortlist(self)
        texts = background_texts(self.matcher, self.measured_rows)
        size = max(RECALL_AT, round(SHORTLIST * len(sampled) / max(SHORTLIST, len(self.snapshot))))
        among = Filters(ids=sampled.tolist())
        shares = []
        for number in spread_rows(len(texts), MAX_QUERIES).tolist():
            scorer = QueryScorer(self.matcher.similarity, self.matcher.encode_texts([texts[number]]))
            query = EngineQuery(scorer, partial(score_rows, scorer, self.snapshot))
            best = sampled[np.argsort(-query.score_rows(sampled), kind="stable")[:RECALL_AT]]
            shares.append(float(np.isin(best, shortlist.candidates(query, among, size)).mean()))
        return Recall(SHORTLIST, float(np.mean(shares)) if shares else 0.0, len(shares))
