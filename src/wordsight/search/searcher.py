"""An index and a query (a sentence or a picture) -> Hits, with the reason for each.

>>> searcher = Searcher(Index.open("photos.index"))
>>> for hit in searcher.find_images("a dog +running -person").hits:
...     print(hit.item.path, hit.score, [word.word for word in hit.words if word.is_missing])
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wordsight.errors import InputError
from wordsight.matcher import Matcher
from wordsight.pairs import Picture
from wordsight.search.engine import shortlist
from wordsight.search.engine.brute_force import Keep, QueryScorer, RowScorer, score_rows
from wordsight.search.engine.engine import Engine, EngineQuery
from wordsight.search.engine.hybrid import Blend
from wordsight.search.explain import Reason, explain, reasons
from wordsight.search.index.index import Filters, Index, Snapshot
from wordsight.search.pagination import Page, Scored, page_of
from wordsight.search.query.encoded import EncodedQuery, encode_plain_text, encode_query
from wordsight.search.query.parser import parse
from wordsight.search.relevance.threshold import (
    FALSE_POSITIVE_RATE,
    WORD_FALSE_POSITIVE_RATE,
    Calibration,
    upper_quantile,
)
from wordsight.search.results import Explanation, Hit, Hits
from wordsight.search.searcher_state import SearchSession, SessionCache, from_one_index
from wordsight.sets import EmbeddingSet

ScoreRows: TypeAlias = Callable[..., Float[np.ndarray, " row"]]  # with the signature of score_rows


class Searcher:
    """Search of one index; safe to use from several threads.

    It follows the index as that is updated, also when it is deleted and made anew with another model: each
    answer comes from one state of one index.

    ``memory_mb``      memory for rows of the index during a search, in addition to four bytes per item
    ``false_positive_rate``  accepted share of false positives among queries with no match: it sets the
                       relevance threshold
    ``word_false_positive_rate``   accepted share of false positives among pictures that do not show the word
    ``scan``           scores all rows; a server passes one that lets simultaneous queries share a scan
    """

    def __init__(
        self,
        index: Index,
        memory_mb: float = 256,
        false_positive_rate: float = FALSE_POSITIVE_RATE,
        word_false_positive_rate: float = WORD_FALSE_POSITIVE_RATE,
        scan: ScoreRows = score_rows,
    ) -> None:
        if not memory_mb > 0:
            raise InputError(f"memory_mb = {memory_mb}; a search needs some memory, e.g. 256")
        self.memory_mb = memory_mb
        self.false_positive_rate, self.word_false_positive_rate = (
            false_positive_rate,
            word_false_positive_rate,
        )
        self.scan = scan
        self.sessions = SessionCache(index, memory_mb, false_positive_rate, word_false_positive_rate)

    @property
    def index(self) -> Index:
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
        scorer = _scorer(session, encoded)
        levels = session.calibration.levels(encoded, scorer)
        keep = self._operators(session, encoded, scorer, levels)
        threshold = (
            session.calibration.threshold(_length(session.matcher, encoded)) if encoded.is_known else math.inf
        )
        scored = self._scored(session, scorer, filters, engine, keep, page, threshold)
        hits = page_of(session.snapshot, scored, page, query, self.memory_mb)
        return _with_notes(self._with_words(hits, session.snapshot, encoded, scorer, levels), encoded)

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
        hits = page_of(session.snapshot, scored, page, None, self.memory_mb)
        level = session.text_level(image)
        explained = tuple(_with_text_words(session, hit, image, level) for hit in hits.hits)
        return replace(hits, hits=explained)

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
    ) -> Hits:
        """Find pictures similar to a picture (a file, or the id of an item, which is left out), and to words.

        The regions of the picture take the place of words. With ``text`` the score is
        (1 - weight) x (picture) + weight x (words), each in standard deviations from its mean over the index.
        Operators of the text work as in a search.
        """
        page, session = Page(k, offset, sort), self.sessions.session()
        _require_kind(session.index, "images", "to find similar pictures")
        if not 0 <= weight <= 1:
            raise InputError(f"weight = {weight}; the share of the words is from 0 to 1")
        query = None if text is None else parse(text)
        if not len(session.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        by_picture = QueryScorer(session.matcher.similarity, _encode_picture(session, picture))
        if query is None:
            scored = self._scored(session, by_picture, filters, engine, None, page, None, picture)
            return page_of(session.snapshot, scored, page, None, self.memory_mb)
        encoded = encode_query(session.matcher, query)
        scorer = _scorer(session, encoded)
        levels = session.calibration.levels(encoded, scorer)
        blend = Blend.of(by_picture, scorer, weight, session.calibration.sample)
        keep = self._operators(session, encoded, scorer, levels)
        scored = self._scored(session, blend, filters, engine, keep, page, None, picture)
        hits = page_of(session.snapshot, scored, page, query, self.memory_mb)
        return _with_notes(self._with_words(hits, session.snapshot, encoded, scorer, levels), encoded)

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
            return _explain_text(session, query, row)
        if not isinstance(query, str):
            raise InputError("this is an index of images: explain one with a sentence, not with a picture")
        encoded = encode_query(session.matcher, parse(query))
        scorer = _scorer(session, encoded)
        levels = session.calibration.levels(encoded, scorer)
        return explain(encoded, scorer, session.snapshot.gather(np.array([row])), levels)

    def _operators(
        self, session: SearchSession, encoded: EncodedQuery, scorer: QueryScorer, levels: Sequence[float]
    ) -> Keep | None:
        """Filter for pictures with every required word and no excluded one."""
        required = [n for n, word in enumerate(encoded.words) if word.required]
        excluded = [(one, _scorer(session, one)) for one in encoded.excluded]
        if not required and not excluded:
            return None
        needed = torch.tensor([levels[n] for n in required])
        unwanted = [(one, its, torch.tensor(session.calibration.levels(one, its))) for one, its in excluded]

        def keep(block: EmbeddingSet) -> Bool[Tensor, " row"]:
            stay = torch.ones(len(block), dtype=torch.bool)
            if required:
                stay &= (encoded.found(scorer.found(block)).cpu()[:, required] >= needed).all(1)
            for one, its, limits in unwanted:
                stay &= ~(one.found(its.found(block)).cpu() >= limits).all(1)
            return stay

        return keep

    def _scored(
        self,
        session: SearchSession,
        scorer: RowScorer,
        filters: Filters | None,
        engine: str | type[Engine],
        keep: Keep | None,
        page: Page,
        threshold: float | None,
        left_out: Picture | int | None = None,
    ) -> Scored:
        def score(rows: np.ndarray | None) -> Float[np.ndarray, " row"]:
            return self.scan(scorer, session.row_cache, rows, keep, self.memory_mb)

        query = EngineQuery(scorer, score, threshold, keep is not None, page.sort == "date")
        found = session.engine(engine).search(query, filters or Filters(), page.offset + page.k)
        rows, scores = found.rows, found.scores
        if isinstance(left_out, int):
            row = session.snapshot.row_of(left_out)
            scores[row if rows is None else rows == row] = -np.inf
        if threshold is None:
            threshold = upper_quantile(scores, self.false_positive_rate)
        return Scored(scorer, rows, scores, threshold, found.exact)

    def _with_words(
        self,
        hits: Hits,
        snapshot: Snapshot,
        encoded: EncodedQuery,
        scorer: QueryScorer,
        levels: Sequence[float],
    ) -> Hits:
        if not hits.hits:
            return hits
        pictures = snapshot.gather(np.array([hit.row for hit in hits.hits]))
        explained = reasons(encoded, scorer.align(pictures), pictures, levels)
        return replace(
            hits, hits=tuple(_reasoned(hit, one) for hit, one in zip(hits.hits, explained, strict=True))
        )


def _require_kind(index: Index, kind: str, purpose: str) -> None:
    if index.kind != kind:
        other = "captions PICTURE" if kind == "images" else "a sentence"
        raise InputError(
            f"this is an index of {index.kind}; {purpose} needs one of {kind}. Search this one by {other}"
        )


def _with_notes(hits: Hits, encoded: EncodedQuery) -> Hits:
    """Add the words that the model did not read, and suggestions for unknown words."""
    texts = (encoded, *encoded.excluded)
    unread = " ".join(text.unread for text in texts if text.unread)
    return replace(hits, unread=unread, suggestions=tuple(one for text in texts for one in text.suggestions))


def _scorer(session: SearchSession, encoded: EncodedQuery) -> QueryScorer:
    return QueryScorer(session.matcher.similarity, encoded.set)


def _encode_picture(session: SearchSession, picture: Picture | int) -> EmbeddingSet:
    if isinstance(picture, int):
        found = session.snapshot.gather(np.array([session.snapshot.row_of(picture)]))
    else:
        found = session.matcher.encode_images([picture])
    return EmbeddingSet(found.vectors, found.mask)


def _explain_text(session: SearchSession, picture: Picture, row: int) -> Explanation:
    image = session.matcher.encode_images([picture])
    encoded = encode_plain_text(session.matcher, session.snapshot.item(row).text)
    level = session.text_level(image)
    return explain(encoded, _scorer(session, encoded), image, [level] * len(encoded.words))


def _with_text_words(session: SearchSession, hit: Hit, image: EmbeddingSet, level: float) -> Hit:
    encoded = encode_plain_text(session.matcher, hit.item.text)
    explained = reasons(encoded, _scorer(session, encoded).align(image), image, [level] * len(encoded.words))
    return _reasoned(hit, explained[0])


def _reasoned(hit: Hit, reason: Reason) -> Hit:
    return replace(hit, words=reason.words, evidence=reason.evidence)


def _length(matcher: Matcher, encoded: EncodedQuery) -> int:
    """Words of the sentence, each as often as it counts."""
    if encoded.whole:
        return len(matcher.tokenizer.words(encoded.sentence))
    return sum(word.weight for word in encoded.words)
