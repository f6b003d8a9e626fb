"""Engine for large indexes: candidates from an index of regions, and their exact scores."""

import logging
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from wordsight.errors import MissingPackageError
from wordsight.search.engine.brute_force import QueryScorer, RowScorer
from wordsight.search.engine.engine import Engine, EngineQuery, RowScores
from wordsight.search.engine.hybrid import Blend
from wordsight.search.engine.region_candidates import Candidates, candidates, selector, word_vectors
from wordsight.search.engine.region_recall import measure_settings
from wordsight.search.engine.region_scores import scores_of
from wordsight.search.index.database import Filters
from wordsight.search.index.decompose import decomposition
from wordsight.search.index.region_build import fits
from wordsight.search.index.region_lists import import_faiss
from wordsight.search.index.region_meta import META, SearchSettings
from wordsight.search.index.region_upkeep import opened
from wordsight.search.index.row_places import runs

if TYPE_CHECKING:
    from wordsight.search.searcher_state import SearchSession

FEW_ROWS = 2000  # so few rows are scored exactly, without candidates
CANDIDATES_PER_HIT = 4  # least number of candidates for each wanted hit
MAX_WIDENING = 8  # times the lists that a filtered search probes
TOO_FEW = "all pictures are compared: too few candidates have the words that the query requires"
MORE = 4  # times the candidates, where operators exclude too many
_log = logging.getLogger("wordsight.search")


class Regions(Engine):
    """Scores the pictures whose regions are nearest to the words of the query.

    It scores all pictures, and logs the reason once, where there is no region index, or where the similarity
    is not decided by each word's best region; also for a query that needs more pictures than it finds.
    """

    def __init__(self, session: "SearchSession") -> None:
        super().__init__(session)
        self.parts = decomposition(session.matcher.similarity)
        self.lists = None if self.parts is None else opened(session.index.folder)
        self.obstacle = self._obstacle()  # reason why no candidates can be found; empty if they can
        if self.obstacle:
            _log.warning("all pictures are scored: %s", self.obstacle)
        places = self.snapshot.content_places()
        empty = np.full(len(self.snapshot), -1)
        numbers = empty if self.obstacle or self.lists is None else self.lists.meta.numbers_of(*places)
        self.outside: np.ndarray = np.flatnonzero(numbers < 0)  # rows that are not in the lists
        rows = np.flatnonzero(numbers >= 0)
        order = np.argsort(numbers[rows], kind="stable")
        self._rows: np.ndarray = rows[order]
        self._numbers: np.ndarray = numbers[rows][order]

    @cached_property
    def settings(self) -> SearchSettings:
        """Effort of a search, as measured when the index was made, or now if that was interrupted."""
        assert self.lists is not None
        stored = self.lists.meta.settings
        if stored.queries:
            return stored
        measured = measure_settings(self.session, self)
        with suppress(OSError, ValueError):  # in a folder of others it is measured again next time
            index: Any = self.session.index  # of a folder: an index on a server has engines of its own
            index.store_region_settings(self.lists.meta.number, measured)
        return measured

    @property
    def recall(self) -> float:
        """Measured share of the ten best pictures that a search finds; 0 if there is no region index."""
        return 0.0 if self.obstacle else self.settings.recall

    def search(self, query: EngineQuery, filters: Filters, k: int) -> RowScores:
        rows = self.snapshot.rows_where(filters)
        count = len(self.snapshot) if rows is None else len(rows)
        if self.obstacle:
            return self._exact(query, filters, k, f"all pictures are compared: {self.obstacle}")
        if query.needs_relevant:
            return self._exact(query, filters, k, "all pictures are compared: newest first needs every match")
        if count <= max(FEW_ROWS, CANDIDATES_PER_HIT * k):
            reason = f"all {count:,} pictures are compared: so few need no candidates"
            return self._exact(query, filters, k, reason if count else "")
        settings = self._widened(k, count / len(self.snapshot))
        passes = np.full(len(self.snapshot), rows is None)
        if rows is not None:
            passes[rows] = True
        allowed = None if rows is None else self._selector(passes)
        ordered = self._candidates(query.scorer, settings, allowed).best_first()
        outside, size = self.outside[passes[self.outside]], settings.candidates
        while True:
            found = self._rows_of(ordered[:size])
            scored = self._scored(query, np.concatenate([found[passes[found]], outside]))
            if np.isfinite(scored.scores).sum() >= k:
                return scored
            if size >= len(ordered):
                return self._exact(query, filters, k, TOO_FEW)
            size *= MORE

    def candidate_rows(self, scorer: RowScorer, settings: SearchSettings) -> Int[np.ndarray, " candidate"]:
        """The rows that a search without filters scores, from the best estimate on."""
        return self._rows_of(self._candidates(scorer, settings, None).best_first()[: settings.candidates])

    def _scored(self, query: EngineQuery, rows: Int[np.ndarray, " row"]) -> RowScores:
        assert self.parts is not None
        if query.has_operators or not isinstance(query.scorer, QueryScorer) or not len(rows):
            return query.score(rows)
        rows = np.unique(rows)
        if not self.snapshot.lengths[rows].all():  # a picture without any vector
            return query.score(rows)
        words = word_vectors(query.scorer.query, self.parts)
        return RowScores(rows, scores_of(self.snapshot, rows, words, self.parts), exact=False)

    def _exact(self, query: EngineQuery, filters: Filters, k: int, reason: str) -> RowScores:
        return self.session.engine("exact").answer(query, filters, k, reason)

    def _candidates(self, scorer: RowScorer, settings: SearchSettings, allowed: Any) -> Candidates:
        assert self.lists is not None
        assert self.parts is not None
        if isinstance(scorer, Blend):
            picture = self._candidates(scorer.picture, settings, allowed)
            words = self._candidates(scorer.words, settings, allowed)
            return _blended(scorer, picture, words)
        assert isinstance(scorer, QueryScorer)
        return candidates(scorer, self.parts, self.lists, settings, allowed)

    def _rows_of(self, numbers: Int[np.ndarray, " candidate"]) -> Int[np.ndarray, " row"]:
        """The rows of these contents, in their order; files of equal bytes share a content."""
        first = np.searchsorted(self._numbers, numbers, "left")
        count = np.searchsorted(self._numbers, numbers, "right") - first
        found: np.ndarray = self._rows[runs(first, count)]
        return found

    def _selector(self, passes: Bool[np.ndarray, " row"]) -> Any:
        assert self.lists is not None
        return selector(self._numbers[passes[self._rows]], self.lists.meta.numbers)

    def _widened(self, k: int, share: float) -> SearchSettings:
        """More effort for a deep page, and for filters that only this share of the rows passes."""
        settings, more = self.settings, CANDIDATES_PER_HIT * k
        return replace(
            settings,
            probes=round(settings.probes * min(MAX_WIDENING, share**-0.5)),
            nearest=max(settings.nearest, more),
            candidates=max(settings.candidates, more),
        )

    def _obstacle(self) -> str:
        if self.parts is None:
            name = type(self.session.matcher.similarity).__name__
            return f"scores of {name} do not follow from the best region of each word"
        if self.lists is None:
            return "there is no index of regions; make one: wordsight index --out INDEX --engine regions"
        if self.lists.meta.first_only != self.parts.first_only or not fits(self.lists, self.snapshot):
            return f"{META} belongs to another index; the next wordsight index makes it again"
        try:
            import_faiss()
        except MissingPackageError as error:
            return str(error)
        self.lists.prepare()
        return ""


def _blended(blend: Blend, picture: Candidates, words: Candidates) -> Candidates:
    """Candidates by a picture and by words, with estimates of the blended score."""
    numbers = np.union1d(picture.numbers, words.numbers)

    def estimate(by_picture: Any, by_words: Any) -> Any:
        one = (by_picture - blend.picture_scale[0]) / blend.picture_scale[1]
        two = (by_words - blend.words_scale[0]) / blend.words_scale[1]
        return (1 - blend.weight) * one + blend.weight * two

    estimates = estimate(picture.estimates_of(numbers), words.estimates_of(numbers))
    return Candidates(numbers, estimates, float(estimate(picture.floor, words.floor)))
