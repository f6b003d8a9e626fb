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
from wordsight.search.engine_choice import EngineChoice
from wordsight.search.explain import explain
from wordsight.search.hit_words import (
    as_verdict,
    explain_text,
    scorer_of,
    text_length,
    text_reason,
    with_text_words,
    with_words,
)
from wordsight.search.index.index import Filters, Index
from wordsight.search.pagination import Page, Scored, page_of
from wordsight.search.picture_query import Itself, embedded
from wordsight.search.query.encoded import EncodedQuery, ask
from wordsight.search.query.parser import parse
from wordsight.search.relevance.matches import EveryWord
from wordsight.search.relevance.threshold import (
    FALSE_POSITIVE_RATE,
    WORD_FALSE_POSITIVE_RATE,
    Calibration,
    upper_quantile,
)
from wordsight.search.results import Explanation, Hits
from wordsight.search.searcher_state import SearchSession, SessionCache
from wordsight.sets import EmbeddingSet

Scan: TypeAlias = Callable[..., Float[np.ndarray, " row"]]  # takes what exact.score_rows takes
CHECKED = 100  # texts, the best by score, whose words are looked for in the picture


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
        self.false_positive_rate = false_positive_rate
        self.word_false_positive_rate = word_false_positive_rate
        self.scan = scan
        self.moments = SessionCache(index, memory_mb, false_positive_rate, word_false_positive_rate)
        self._choice = EngineChoice()

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
        """That of the index as it is now."""
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
        """Pictures that a sentence tells of; see search/query.py for what + - ^ and quotes mean.

        Raises QueryError for what is no query, ValueError for an index of texts.
        """
        self._must_hold("images", "to search by a sentence")
        page, query = Page(k, offset, sort), parse(text)
        moment = self.moments.now()
        asked = ask(moment.matcher, query)
        if not len(moment.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        asking = scorer_of(moment, asked)
        levels = moment.calibration.levels(asked, asking)
        keep = self._operators(moment, asked, asking, levels)
        threshold = self._threshold(moment, asked)
        scored = self._scored(moment, asking, filters, engine, keep, page, threshold)
        scored = self._judged(moment, scored, EveryWord(asked, asking, levels))
        hits = page_of(moment.snapshot, scored, page, query, self.memory_mb)
        return with_words(hits, moment.snapshot, asked, asking, levels)

    @torch.no_grad()
    def find_texts(
        self, picture: Picture, k: int = 10, offset: int = 0, filters: Filters | None = None
    ) -> Hits:
        """Sentences that tell of a picture, from an index of texts. Raises UnreadablePicture."""
        self._must_hold("texts", "to find sentences")
        page, moment = Page(k, offset), self.moments.now()
        image = moment.matcher.encode_images([picture])
        if not len(moment.snapshot):
            return Hits((), 0, 0, True, None, 0.0, offset)
        asking = QueryScorer(moment.matcher.similarity, image, "text")
        rows = moment.snapshot.rows_where(filters or Filters())
        scores, level = (
            self.scan(asking, moment.held, rows, memory_mb=self.memory_mb),
            moment.text_level(image),
        )
        found = np.zeros(len(scores), bool)
        for place in np.argsort(-scores, kind="stable")[:CHECKED]:
            row = int(place if rows is None else rows[place])
            found[place] = text_reason(moment, row, image, level).shows_every_word
        threshold = upper_quantile(scores, self.false_positive_rate)
        scored = Scored(asking, rows, scores, threshold, True, found)
        hits = page_of(moment.snapshot, scored, page, None, self.memory_mb)
        return with_text_words(hits, moment, image, level)

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
        content: str | None = None,
    ) -> Hits:
        """Pictures like a picture (a file, or the id of an item, which is then left out), and like words.

        The regions of the picture take the place of the words: each looks for itself in the others. With
        ``text`` the score is (1 - weight) x (picture) + weight x (words), each in deviations from its mean
        over the index. Operators of the text count as in a search. A picture that is in the index itself,
        which the hash of its bytes tells (``content``; of a file it is known), is a hit, and the verdict on
        the others does without it.
        """
        self._must_hold("images", "to find similar pictures")
        if not 0 <= weight <= 1:
            raise InputError(f"weight = {weight}, the share of the words; expected 0 to 1")
        page, moment = Page(k, offset, sort), self.moments.now()
        query = None if text is None else parse(text)
        if not len(moment.snapshot):
            return Hits((), 0, 0, True, query, 0.0, offset)
        by_picture = QueryScorer(moment.matcher.similarity, embedded(moment, picture))
        itself = Itself.of(moment.snapshot, picture, content)
        if query is None:
            scored = self._scored(moment, by_picture, filters, engine, None, page, None, itself)
            return itself.counted(page_of(moment.snapshot, scored, page, None, self.memory_mb), scored.rows)
        asked = ask(moment.matcher, query)
        asking = scorer_of(moment, asked)
        levels = moment.calibration.levels(asked, asking)
        blend = Blend.of(by_picture, asking, weight, moment.calibration.sample)
        keep = self._operators(moment, asked, asking, levels)
        scored = self._scored(moment, blend, filters, engine, keep, page, None, itself)
        scored = self._judged(moment, scored, EveryWord(asked, asking, levels))
        hits = itself.counted(page_of(moment.snapshot, scored, page, query, self.memory_mb), scored.rows)
        return with_words(hits, moment.snapshot, asked, asking, levels)

    @torch.no_grad()
    def explain(self, query: str | Picture, id: int) -> Explanation:
        """Why an item has its score: of a picture with a sentence, of a text with a picture.

        In an index of texts ``query`` is a picture. Raises KeyError for an item that is not there.
        """
        moment = self.moments.now()
        row = moment.snapshot.row_of(id)
        if moment.index.kind == "texts":
            return explain_text(moment, query, row)
        if not isinstance(query, str):
            raise InputError("a picture of this index is explained with a sentence, not with a picture")
        asked = ask(moment.matcher, parse(query))
        asking = scorer_of(moment, asked)
        levels = moment.calibration.levels(asked, asking)
        reason = explain(asked, asking, moment.snapshot.gather(np.array([row])), levels)
        return as_verdict(reason, reason.score >= self._threshold(moment, asked)) if asked.whole else reason

    def _must_hold(self, kind: str, purpose: str) -> None:
        if self.index.kind != kind:
            other = "captions PICTURE" if kind == "images" else "a sentence"
            raise InputError(
                f"this is an index of {self.index.kind}, and {purpose} needs one of {kind}; "
                f"this one can be searched by {other}"
            )

    def _threshold(self, moment: SearchSession, asked: EncodedQuery) -> float:
        """The score from which on a picture matches; of a sentence without a known word, none does."""
        return moment.calibration.line(text_length(moment.matcher, asked)) if asked.is_known else math.inf

    def _operators(
        self, moment: SearchSession, asked: EncodedQuery, asking: QueryScorer, levels: Sequence[float]
    ) -> Keep | None:
        """Which pictures have every required word and no excluded one."""
        required = [n for n, word in enumerate(asked.words) if word.required]
        excluded = [(one, scorer_of(moment, one)) for one in asked.excluded]
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
        itself: Itself | None = None,
    ) -> Scored:
        snapshot = moment.snapshot
        rows = snapshot.rows_where(filters or Filters())
        exact = self._choice.is_exact(moment, asking, rows, engine)
        if not exact:
            size = max(moment.recall.size, 4 * (page.offset + page.k))
            rows = shortlist.nearest_rows(asking.query, snapshot, rows, size)
        began = time.perf_counter()
        scores = None
        if rows is None and keep is None and line is not None and isinstance(asking, QueryScorer):
            scores = self._screened(moment, asking, page, line)
        if scores is None:
            scores = self.scan(asking, moment.held, rows, keep, self.memory_mb)
        self._choice.learn_speed(snapshot, asking, len(scores), time.perf_counter() - began)
        others = scores
        if itself is not None and len(itself.rows):
            own = itself.among(np.arange(len(snapshot)) if rows is None else rows)
            others = np.where(own, -np.inf, scores).astype(np.float32)
            scores = others if itself.left_out else scores
        if line is None:
            line = upper_quantile(others, self.false_positive_rate)
        return Scored(asking, rows, scores, line, exact)

    def _judged(self, moment: SearchSession, scored: Scored, every_word: EveryWord) -> Scored:
        """The scores with the rows in which every word is found."""
        return replace(scored, every_word=every_word.rows(moment.held, scored.rows, self.memory_mb))

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
