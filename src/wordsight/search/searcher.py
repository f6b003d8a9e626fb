"""An index and a query (a sentence or a picture) -> Hits, with the reason for each.

>>> searcher = Searcher(Index.open("photos.index"))
>>> for hit in searcher.find_images("a dog +running -person").hits:
...     print(hit.item.path, hit.score, [word.word for word in hit.words if word.is_missing])
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from wordsight.errors import InputError
from wordsight.files.fingerprint import content_of
from wordsight.matcher import Matcher
from wordsight.pairs import Picture
from wordsight.presence.model import MIN_PROBABILITY
from wordsight.search.engine import shortlist
from wordsight.search.engine.brute_force import Keep, QueryScorer, RowScorer, score_rows
from wordsight.search.engine.engine import Engine, EngineQuery
from wordsight.search.engine.hybrid import Blend
from wordsight.search.index.index import Filters
from wordsight.search.index.interface import SearchableIndex, SearchableRows
from wordsight.search.pagination import Page, Scored, page_of
from wordsight.search.query.encoded import encode_query
from wordsight.search.query.parser import parse
from wordsight.search.relevance.threshold import (
    FALSE_POSITIVE_RATE,
    WORD_FALSE_POSITIVE_RATE,
    Calibration,
    upper_quantile,
)
from wordsight.search.relevance.verdict import BlendVerdict, PictureVerdict, Verdict, chances_of_rows
from wordsight.search.results import Explanation, Hits
from wordsight.search.searcher_state import SearchSession, SessionCache, from_one_index
from wordsight.search.text_query import TextQuery, explain_text, text_reason
from wordsight.sets import EmbeddingSet
from wordsight.tensors import torch

ScoreRows: TypeAlias = Callable[..., Float[np.ndarray, " row"]]  # with the signature of score_rows


class Searcher:
    """Search of one index; safe to use from several threads.

    It follows the index as that is updated, also when it is deleted and made anew with another model: each
    answer comes from one state of one index.

    ``memory_mb``      memory for rows of the index during a search, in addition to four bytes per item
    ``min_probability``  of a match, and of a word that counts as found, where the model has a presence model
    ``false_positive_rate``  where it has none: accepted share of false positives among queries with no match
    ``word_false_positive_rate``   likewise, among pictures that do not show the word
    ``scan``           scores all rows; a server passes one that lets simultaneous queries share a scan
    ``device``         where rows are scored and queries encoded, "cuda" for instance; None: as the index says
    """

    def __init__(
        self,
        index: SearchableIndex,
        memory_mb: float = 256,
        false_positive_rate: float = FALSE_POSITIVE_RATE,
        word_false_positive_rate: float = WORD_FALSE_POSITIVE_RATE,
        scan: ScoreRows = score_rows,
        min_probability: float = MIN_PROBABILITY,
        device: str | None = None,
    ) -> None:
        if not memory_mb > 0:
            raise InputError(f"memory_mb = {memory_mb}; a search needs some memory, e.g. 256")
        if not 0 < min_probability < 1:
            raise InputError(f"min_probability = {min_probability}; expected more than 0 and less than 1")
        if device is not None:
            index.run_on(device)
        self.memory_mb, self.min_probability, self.scan = memory_mb, min_probability, scan
        self.false_positive_rate = false_positive_rate
        self.word_false_positive_rate = word_false_positive_rate
        self.sessions = SessionCache(index, memory_mb, false_positive_rate, word_false_positive_rate)

    @property
    def index(self) -> SearchableIndex:
        return self.sessions.index

    @property
    def matcher(self) -> Matcher:
        return self.index.matcher

    def session(self) -> SearchSession:
        """Session on the newest state of the index; keep a reference while its snapshot is in use."""
        return self.sessions.session()

    def calibration(self) -> Calibration:
        """The calibration of the newest state of the index."""
        return self.sessions.session().calibration

    def shortlist_recall(self) -> shortlist.Recall:
        """Recall of the shortlist in the newest state of the index; measured on first use."""
        return self.sessions.session().recall

    @from_one_index
    @torch.no_grad()
    def find_images(
        self,
        text: str,
        k: int = 10,
        offset: int = 0,
        filters: Filters | None = None,
        engine: str | type[Engine] = "auto",
        sort: str = "score",
    ) -> Hits:
        """Find pictures that match a sentence; query/parser.py explains + - ^ and quotes.

        Raises QueryError for an invalid query, InputError for an index of texts.
        """
        page, query = Page(k, offset, sort), parse(text)
        session = self.sessions.session()
        _require_kind(session.index, "images", "to search by a sentence")
        encoded = encode_query(session.matcher, query)
        if not len(session.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        text_query = TextQuery(session, encoded, self.min_probability)
        threshold = text_query.threshold if text_query.verdict is None else None
        scored = self._scored(
            session, text_query.scorer, filters, engine, text_query.operators(), page, threshold
        )
        scored = self._judged(session, scored, text_query.verdict)
        return text_query.with_words(page_of(session.snapshot, scored, page, query, self.memory_mb))

    @from_one_index
    @torch.no_grad()
    def find_texts(
        self, picture: Picture, k: int = 10, offset: int = 0, filters: Filters | None = None
    ) -> Hits:
        """Find sentences that match a picture, from an index of texts. Raises UnreadablePicture."""
        page, session = Page(k, offset), self.sessions.session()
        _require_kind(session.index, "texts", "to find sentences")
        image = session.matcher.encode_images([picture])
        if not len(session.snapshot):
            return Hits((), 0, 0, True, None, 0.0, offset)
        scorer = QueryScorer(session.matcher.similarity, image, "text")
        rows = session.snapshot.rows_where(filters or Filters())
        scores = self.scan(scorer, session.row_cache, rows, memory_mb=self.memory_mb)
        scored = Scored(scorer, rows, scores, upper_quantile(scores, self.false_positive_rate), True)
        if session.stored_texts is not None:
            last = page.offset + page.k
            chances = session.stored_texts.chances(image, rows, scores, last, self.min_probability)
            scored = self._with_chances(scored, chances)
        hits = page_of(session.snapshot, scored, page, None, self.memory_mb)
        reasons = (text_reason(session, hit, image, self.min_probability) for hit in hits.hits)
        explained = (
            replace(hit, words=reason.words, evidence=reason.evidence)
            for hit, reason in zip(hits.hits, reasons, strict=True)
        )
        return replace(hits, hits=tuple(explained))

    @from_one_index
    @torch.no_grad()
    def similar(
        self,
        picture: Picture | int,
        k: int = 10,
        offset: int = 0,
        filters: Filters | None = None,
        text: str | None = None,
        weight: float = 0.5,
        engine: str | type[Engine] = "auto",
        sort: str = "score",
        content: str | None = None,
    ) -> Hits:
        """Find pictures similar to a picture (a file, or the id of an item), and to words.

        The regions of the picture take the place of words. With ``text`` the score is
        (1 - weight) x (picture) + weight x (words), each in standard deviations from its mean over the index.
        Operators of the text work as in a search. The picture itself is no hit: the index knows it by its id,
        or by the hash of its bytes (``content``, computed here for a file).
        """
        page, session = Page(k, offset, sort), self.sessions.session()
        _require_kind(session.index, "images", "to find similar pictures")
        if not 0 <= weight <= 1:
            raise InputError(f"weight = {weight}; the share of the words is from 0 to 1")
        query = None if text is None else parse(text)
        if not len(session.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        by_picture = QueryScorer(session.matcher.similarity, _encode_picture(session, picture))
        itself = _rows_of_picture(session.snapshot, picture, content)
        by_score = _picture_verdict(session, by_picture)
        if query is None:
            scored = self._scored(session, by_picture, filters, engine, None, page, None, itself)
            hits = page_of(
                session.snapshot, self._judged(session, scored, by_score), page, None, self.memory_mb
            )
            return replace(hits, itself=len(itself))
        text_query = TextQuery(session, encode_query(session.matcher, query), self.min_probability)
        blend = Blend.of(by_picture, text_query.scorer, weight, session.sample)
        scored = self._scored(session, blend, filters, engine, text_query.operators(), page, None, itself)
        verdict = None
        if by_score is not None and text_query.verdict is not None:
            verdict = BlendVerdict(by_score, by_picture, text_query.verdict, text_query.scorer, weight)
        scored = self._judged(session, scored, verdict)
        hits = text_query.with_words(page_of(session.snapshot, scored, page, query, self.memory_mb))
        return replace(hits, itself=len(itself))

    @from_one_index
    @torch.no_grad()
    def explain(self, query: str | Picture, id: int) -> Explanation:
        """Explain the score of an item with a query.

        The query is a sentence; in an index of texts it is a picture. Raises MissingItemError for an
        unknown item.
        """
        session = self.sessions.session()
        row = session.snapshot.row_of(id)
        if session.index.kind == "texts":
            return explain_text(session, query, row, self.min_probability)
        if not isinstance(query, str):
            raise InputError("this is an index of images: explain one with a sentence, not with a picture")
        encoded = encode_query(session.matcher, parse(query))
        return TextQuery(session, encoded, self.min_probability).explain(row)

    def _scored(
        self,
        session: SearchSession,
        scorer: RowScorer,
        filters: Filters | None,
        engine: str | type[Engine],
        keep: Keep | None,
        page: Page,
        threshold: float | None,
        left_out: Int[np.ndarray, " n"] | None = None,
    ) -> Scored:
        def score(rows: np.ndarray | None) -> np.ndarray:
            return self.scan(scorer, session.row_cache, rows, keep, self.memory_mb)

        query = EngineQuery(scorer, score, threshold, keep is not None, page.sort == "date")
        count = page.offset + page.k + (0 if left_out is None else len(left_out))
        found = session.engine(engine).answer(query, filters or Filters(), count)
        rows, scores = found.rows, found.scores
        if left_out is not None:
            scores[left_out if rows is None else np.isin(rows, left_out)] = -np.inf
        if threshold is None:
            threshold = upper_quantile(scores, self.false_positive_rate)
        return Scored(
            scorer, rows, scores, threshold, found.exact, engine=found.engine, fallback=found.fallback
        )

    def _judged(self, session: SearchSession, scored: Scored, verdict: Verdict | None) -> Scored:
        """The scores with the probability of each row, where the model has probabilities."""
        if verdict is None:
            return scored
        chances = chances_of_rows(verdict, scored.scores, session.row_cache, scored.rows, self.memory_mb)
        return self._with_chances(scored, chances)

    def _with_chances(self, scored: Scored, chances: Float[np.ndarray, " row"]) -> Scored:
        return replace(scored, chances=chances, min_probability=self.min_probability, threshold=float("nan"))


def _require_kind(index: SearchableIndex, kind: str, purpose: str) -> None:
    if index.kind != kind:
        other = "captions PICTURE" if kind == "images" else "a sentence"
        raise InputError(
            f"this is an index of {index.kind}; {purpose} needs one of {kind}. Search this one by {other}"
        )


def _picture_verdict(session: SearchSession, by_picture: QueryScorer) -> PictureVerdict | None:
    presence = session.matcher.presence
    return None if presence is None else PictureVerdict.of(presence, by_picture)


def _encode_picture(session: SearchSession, picture: Picture | int) -> EmbeddingSet:
    if isinstance(picture, int):
        found = session.snapshot.gather(np.array([session.snapshot.row_of(picture)]))
    else:
        found = session.matcher.encode_images([picture])
    return EmbeddingSet(found.vectors, found.mask)


def _rows_of_picture(
    snapshot: SearchableRows, picture: Picture | int, content: str | None
) -> Int[np.ndarray, " n"]:
    """The rows of all files that are this very picture."""
    if isinstance(picture, int):
        content = snapshot.item(snapshot.row_of(picture)).content
    elif content is None and isinstance(picture, str | Path):
        content = content_of(Path(picture))
    return snapshot.rows_of(content) if content else np.zeros(0, np.int64)
