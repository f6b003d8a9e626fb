"""An index and a question, a sentence or a picture -> Hits, and the reason for each.

>>> searcher = Searcher(Index.open("photos.index"))
>>> for hit in searcher.find_images("a dog +running -person").hits:
...     print(hit.item.path, hit.score, [word.word for word in hit.words if word.is_missing])
"""

import math
import time
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
from wordsight.search.engine.brute_force import Keep, QueryScorer, Question, score_rows
from wordsight.search.engine.hybrid import Blend
from wordsight.search.explain import Reason, explain, reasons
from wordsight.search.index.index import Filters, Index, Snapshot
from wordsight.search.pagination import Page, Scored, page_of
from wordsight.search.query.encoded import EncodedQuery, ask, encode_plain_text
from wordsight.search.query.parser import parse
from wordsight.search.relevance.threshold import (
    FALSE_POSITIVE_RATE,
    WORD_FALSE_POSITIVE_RATE,
    Calibration,
    upper_quantile,
)
from wordsight.search.results import Explanation, Hit, Hits
from wordsight.search.searcher_state import SearchSession, SessionCache
from wordsight.sets import EmbeddingSet

ENGINES = ("auto", "exact", "shortlist")
Scan: TypeAlias = Callable[..., Float[np.ndarray, " row"]]  # takes what exact.score_rows takes
PATIENCE = 1.0  # seconds that "auto" lets an exact search take, if the shortlist is good
GOOD = 0.9  # recall of a good one


class Searcher:
    """Questions to one index; safe to use from several threads. It follows the index as that is updated.

    So it does if the index is deleted and made anew, by whatever model: an answer is of one of them.

    ``memory_mb``      bounds what a search holds of the index at once, beside four bytes per item
    ``false_positive_rate``  accepted share of false positives among queries with no match: it sets the
                       relevance threshold
    ``word_false_positive_rate``   of pictures without a thing, the share in which its word may count as found
    ``scan``           how all rows are scored: a server lets the questions of one moment share a reading
    """

    def __init__(
        self,
        index: Index,
        memory_mb: float = 256,
        false_positive_rate: float = FALSE_POSITIVE_RATE,
        word_false_positive_rate: float = WORD_FALSE_POSITIVE_RATE,
        scan: Scan = score_rows,
    ) -> None:
        if not memory_mb > 0:
            raise InputError(f"memory_mb = {memory_mb}; a search needs some memory, e.g. 256")
        self.memory_mb = memory_mb
        self.false_positive_rate, self.word_false_positive_rate = (
            false_positive_rate,
            word_false_positive_rate,
        )
        self.scan = scan
        self.moments = SessionCache(index, memory_mb, false_positive_rate, word_false_positive_rate)
        self._products_per_second = 5e9  # a first guess; each exact search corrects it

    @property
    def index(self) -> Index:
        return self.moments.index

    @property
    def matcher(self) -> Matcher:
        return self.index.matcher

    def now(self) -> SearchSession:
        """The index as it is now, as the next question would see it; keep it while its snapshot is read."""
        return self.moments.now()

    def calibration(self) -> Calibration:
        """The calibration of the newest state of the index."""
        return self.moments.now().calibration

    def shortlist_recall(self) -> shortlist.Recall:
        """How good the shortlist is in the index as it is now; measured when first asked."""
        return self.moments.now().recall

    @torch.no_grad()
    def find_images(
        self,
        text: str,
        k: int = 10,
        offset: int = 0,
        filters: Filters | None = None,
        engine: str = "auto",
        sort: str = "score",
    ) -> Hits:
        """Find pictures that match a sentence; see search/query.py for what + - ^ and quotes mean.

        Raises QueryError for what is no query, ValueError for an index of texts.
        """
        self._must_hold("images", "to search by a sentence")
        page, query = Page(k, offset, sort), parse(text)
        moment = self.moments.now()
        asked = ask(moment.matcher, query)
        if not len(moment.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        asking = _asking(moment, asked)
        levels = moment.calibration.levels(asked, asking)
        keep = self._operators(moment, asked, asking, levels)
        line = moment.calibration.line(_length(moment.matcher, asked)) if asked.is_known else math.inf
        scored = self._scored(moment, asking, filters, engine, keep, page, line)
        hits = page_of(moment.snapshot, scored, page, query, self.memory_mb)
        return _with_notes(self._with_words(hits, moment.snapshot, asked, asking, levels), asked)

    @torch.no_grad()
    def find_texts(
        self, picture: Picture, k: int = 10, offset: int = 0, filters: Filters | None = None
    ) -> Hits:
        """Find sentences that match a picture, from an index of texts. Raises UnreadablePicture."""
        self._must_hold("texts", "to find sentences")
        page, moment = Page(k, offset), self.moments.now()
        image = moment.matcher.encode_images([picture])
        if not len(moment.snapshot):
            return Hits((), 0, 0, True, None, 0.0, offset)
        asking = QueryScorer(moment.matcher.similarity, image, "text")
        rows = moment.snapshot.rows_where(filters or Filters())
        scores = self.scan(asking, moment.held, rows, memory_mb=self.memory_mb)
        scored = Scored(asking, rows, scores, upper_quantile(scores, self.false_positive_rate), True)
        hits = page_of(moment.snapshot, scored, page, None, self.memory_mb)
        level = moment.text_level(image)
        told = tuple(_with_text_words(moment, hit, image, level) for hit in hits.hits)
        return replace(hits, hits=told)

    @torch.no_grad()
    def similar(
        self,
        picture: Picture | int,
        k: int = 10,
        offset: int = 0,
        filters: Filters | None = None,
        text: str | None = None,
        weight: float = 0.5,
        engine: str = "auto",
        sort: str = "score",
    ) -> Hits:
        """Find pictures similar to one (a file, or the id of an item, then left out), and to words.

        The regions of the picture take the place of the words: each looks for itself in the others. With
        ``text`` the score is (1 - weight) x (picture) + weight x (words), each in deviations from its mean
        over the index. Operators of the text count as in a search.
        """
        self._must_hold("images", "to find similar pictures")
        if not 0 <= weight <= 1:
            raise InputError(f"weight = {weight}, the share of the words; expected 0 to 1")
        page, moment = Page(k, offset, sort), self.moments.now()
        query = None if text is None else parse(text)
        if not len(moment.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        by_picture = QueryScorer(moment.matcher.similarity, _embedded(moment, picture))
        if query is None:
            scored = self._scored(moment, by_picture, filters, engine, None, page, None, picture)
            return page_of(moment.snapshot, scored, page, None, self.memory_mb)
        asked = ask(moment.matcher, query)
        asking = _asking(moment, asked)
        levels = moment.calibration.levels(asked, asking)
        blend = Blend.of(by_picture, asking, weight, moment.calibration.sample)
        keep = self._operators(moment, asked, asking, levels)
        scored = self._scored(moment, blend, filters, engine, keep, page, None, picture)
        hits = page_of(moment.snapshot, scored, page, query, self.memory_mb)
        return _with_notes(self._with_words(hits, moment.snapshot, asked, asking, levels), asked)

    @torch.no_grad()
    def explain(self, query: str | Picture, id: int) -> Explanation:
        """Explain the score of an item: of a picture with a sentence, of a text with a picture.

        In an index of texts ``query`` is a picture. Raises KeyError for an item that is not there.
        """
        moment = self.moments.now()
        row = moment.snapshot.row_of(id)
        if moment.index.kind == "texts":
            return _explain_text(moment, query, row)
        if not isinstance(query, str):
            raise InputError("a picture of this index is explained with a sentence, not with a picture")
        asked = ask(moment.matcher, parse(query))
        asking = _asking(moment, asked)
        levels = moment.calibration.levels(asked, asking)
        return explain(asked, asking, moment.snapshot.gather(np.array([row])), levels)

    def _must_hold(self, kind: str, purpose: str) -> None:
        if self.index.kind != kind:
            other = "captions PICTURE" if kind == "images" else "a sentence"
            raise InputError(
                f"this is an index of {self.index.kind}, and {purpose} needs one of {kind}; "
                f"this one can be searched by {other}"
            )

    def _operators(
        self, moment: SearchSession, asked: EncodedQuery, asking: QueryScorer, levels: Sequence[float]
    ) -> Keep | None:
        """A filter for pictures with every required word and no excluded one."""
        required = [n for n, word in enumerate(asked.words) if word.required]
        excluded = [(one, _asking(moment, one)) for one in asked.excluded]
        if not required and not excluded:
            return None
        needed = torch.tensor([levels[n] for n in required])
        unwanted = [(one, its, torch.tensor(moment.calibration.levels(one, its))) for one, its in excluded]

        def keep(block: EmbeddingSet) -> Bool[Tensor, " row"]:
            stay = torch.ones(len(block), dtype=torch.bool)
            if required:
                stay &= (asked.found(asking.found(block)).cpu()[:, required] >= needed).all(1)
            for one, its, limits in unwanted:
                stay &= ~(one.found(its.found(block)).cpu() >= limits).all(1)
            return stay

        return keep

    def _scored(
        self,
        moment: SearchSession,
        asking: Question,
        filters: Filters | None,
        engine: str,
        keep: Keep | None,
        page: Page,
        line: float | None,
        left_out: Picture | int | None = None,
    ) -> Scored:
        snapshot = moment.snapshot
        rows = snapshot.rows_where(filters or Filters())
        exact = self._is_exact(moment, asking, rows, engine)
        if not exact:
            size = max(moment.recall.size, 4 * (page.offset + page.k))
            rows = shortlist.nearest_rows(asking.query, snapshot, rows, size)
        began = time.perf_counter()
        scores = None
        if rows is None and keep is None and line is not None and isinstance(asking, QueryScorer):
            scores = self._screened(moment, asking, page, line)
        if scores is None:
            scores = self.scan(asking, moment.held, rows, keep, self.memory_mb)
        self._learn_speed(snapshot, asking, len(scores), time.perf_counter() - began)
        if isinstance(left_out, int):
            row = snapshot.row_of(left_out)
            scores[row if rows is None else rows == row] = -np.inf
        if line is None:
            line = upper_quantile(scores, self.false_positive_rate)
        return Scored(asking, rows, scores, line, exact)

    def _screened(
        self, moment: SearchSession, asking: QueryScorer, page: Page, line: float
    ) -> Float[np.ndarray, " row"] | None:
        """Scores of all rows, exact where the page depends on them; None if that is not cheaper."""
        settled = moment.screen.settle(asking, page.offset + page.k, line, page.sort == "date")
        if settled is None:
            return None
        scores, rows = settled
        scores[rows] = score_rows(asking, moment.snapshot, rows, None, self.memory_mb)
        return scores

    def _is_exact(
        self, moment: SearchSession, asking: Question, rows: np.ndarray | None, engine: str
    ) -> bool:
        if engine not in ENGINES:
            raise InputError(f'engine = "{engine}"; known: {", ".join(ENGINES)}')
        if engine != "auto":
            return engine == "exact"
        count = len(moment.snapshot) if rows is None else len(rows)
        seconds = self._products(moment.snapshot, asking, count) / self._products_per_second
        return seconds <= PATIENCE or count <= shortlist.SIZES[-1] or moment.recall.recall < GOOD

    def _products(self, snapshot: Snapshot, asking: Question, count: int) -> float:
        """Multiplications of an exact search."""
        if not len(snapshot):
            return 0.0
        return count * float(snapshot.lengths.mean()) * asking.query.vectors.numel()

    def _learn_speed(self, snapshot: Snapshot, asking: Question, count: int, seconds: float) -> None:
        if count >= 1000 and seconds > 0:
            measured = self._products(snapshot, asking, count) / seconds
            self._products_per_second = (self._products_per_second + measured) / 2

    def _with_words(
        self,
        hits: Hits,
        snapshot: Snapshot,
        asked: EncodedQuery,
        asking: QueryScorer,
        levels: Sequence[float],
    ) -> Hits:
        if not hits.hits:
            return hits
        pictures = snapshot.gather(np.array([hit.row for hit in hits.hits]))
        told = reasons(asked, asking.align(pictures), pictures, levels)
        return replace(
            hits, hits=tuple(_reasoned(hit, one) for hit, one in zip(hits.hits, told, strict=True))
        )


def _with_notes(hits: Hits, asked: EncodedQuery) -> Hits:
    """Add the words that the model did not read, and suggestions for words that it does not know."""
    texts = (asked, *asked.excluded)
    unread = " ".join(text.unread for text in texts if text.unread)
    return replace(hits, unread=unread, suggestions=tuple(one for text in texts for one in text.suggestions))


def _asking(moment: SearchSession, asked: EncodedQuery) -> QueryScorer:
    return QueryScorer(moment.matcher.similarity, asked.set)


def _embedded(moment: SearchSession, picture: Picture | int) -> EmbeddingSet:
    if isinstance(picture, int):
        found = moment.snapshot.gather(np.array([moment.snapshot.row_of(picture)]))
    else:
        found = moment.matcher.encode_images([picture])
    return EmbeddingSet(found.vectors, found.mask)


def _explain_text(moment: SearchSession, picture: Picture, row: int) -> Explanation:
    image = moment.matcher.encode_images([picture])
    asked = encode_plain_text(moment.matcher, moment.snapshot.item(row).text)
    level = moment.text_level(image)
    return explain(asked, _asking(moment, asked), image, [level] * len(asked.words))


def _with_text_words(moment: SearchSession, hit: Hit, image: EmbeddingSet, level: float) -> Hit:
    asked = encode_plain_text(moment.matcher, hit.item.text)
    told = reasons(asked, _asking(moment, asked).align(image), image, [level] * len(asked.words))
    return _reasoned(hit, told[0])


def _reasoned(hit: Hit, reason: Reason) -> Hit:
    return replace(hit, words=reason.words, evidence=reason.evidence)


def _length(matcher: Matcher, asked: EncodedQuery) -> int:
    """Words of the sentence, each as often as it counts."""
    if asked.whole:
        return len(matcher.tokenizer.words(asked.sentence))
    return sum(word.weight for word in asked.words)
