"""A sentence and a state of an index -> what decides on a match, and the words that each picture shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from wordsight.matcher import Matcher
from wordsight.pairs import Picture
from wordsight.search.engine.brute_force import Keep, QueryScorer
from wordsight.search.explain import Chances, Reason, explain, reasons
from wordsight.search.query.encoded import EncodedQuery, encode_plain_text, probable_typos
from wordsight.search.relevance.verdict import TextVerdict, log_odds
from wordsight.search.results import Explanation, Hit, Hits, WordFound
from wordsight.search.searcher_state import SearchSession
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, torch


@dataclass(frozen=True, eq=False)
class TextQuery:
    """A sentence, ready to be compared and judged."""

    session: SearchSession
    encoded: EncodedQuery
    min_probability: float

    @cached_property
    def scorer(self) -> QueryScorer:
        return QueryScorer(self.session.matcher.similarity, self.encoded.set)

    @cached_property
    def verdict(self) -> TextVerdict | None:
        """Nothing, where the model has no probabilities."""
        matcher = self.session.matcher
        if matcher.presence is None:
            return None
        return TextVerdict.of(matcher, matcher.presence, self.encoded, self.scorer)

    @cached_property
    def levels(self) -> list[float]:
        """From which strength on each word counts as found, where there are no probabilities."""
        if self.verdict is not None:
            return [math.inf] * len(self.encoded.words)
        return self.session.calibration.levels(self.encoded, self.scorer)

    @property
    def threshold(self) -> float:
        """The least score of a match, where there are no probabilities."""
        if not self.encoded.is_known:
            return math.inf
        return self.session.calibration.threshold(self._length(self.session.matcher))

    def _length(self, matcher: Matcher) -> int:
        """Words of the sentence, each as often as it counts."""
        if self.encoded.whole:
            return len(matcher.tokenizer.words(self.encoded.sentence))
        return sum(word.weight for word in self.encoded.words)

    def found(self, block: EmbeddingSet) -> Bool[Tensor, "row word"]:
        """Whether each row shows each word."""
        if self.verdict is None:
            return self.encoded.found(self.scorer.found(block)).cpu() >= torch.tensor(self.levels)
        logits = self.verdict.word_logits(block).cpu()
        never = torch.zeros(len(block), dtype=torch.bool)
        by_column = logits >= log_odds(self.min_probability)
        return torch.stack([never if n is None else by_column[:, n] for n in self.verdict.columns], 1)

    def matches(self, block: EmbeddingSet) -> Bool[Tensor, " row"]:
        """Whether each row shows all of it: what an excluded text must not do."""
        if self.verdict is None:
            return self.found(block).all(1)
        logits = self.verdict.logits(block, self.scorer.scores(block).float())
        return logits.cpu() >= log_odds(self.min_probability)

    def operators(self) -> Keep | None:
        """A filter for pictures with every required word and no excluded one."""
        required = [n for n, word in enumerate(self.encoded.words) if word.required]
        excluded = [replace(self, encoded=one) for one in self.encoded.excluded]
        if not required and not excluded:
            return None

        def keep(block: EmbeddingSet) -> Tensor:
            stay = torch.ones(len(block), dtype=torch.bool)
            if required:
                stay &= self.found(block)[:, required].all(1)
            for one in excluded:
                stay &= ~one.matches(block)
            return stay

        return keep

    def chances(self, pictures: EmbeddingSet, matched: Sequence[float | None]) -> Chances | None:
        """The probability of each word in each picture; ``matched``: that of each picture as a match."""
        if self.verdict is None:
            return None
        by_word = [[one] for one in matched] if self.encoded.whole else self.verdict.probabilities(pictures)
        return Chances(by_word, self.min_probability)

    def with_words(self, hits: Hits) -> Hits:
        """Pictures with the words of the query, and what is to be said of the query itself."""
        texts = (self.encoded, *self.encoded.excluded)
        hits = replace(
            hits,
            unread=" ".join(one.unread for one in texts if one.unread),
            suggestions=tuple(one for every in texts for one in every.suggestions),
        )
        if not hits.hits:
            return hits
        pictures = self.session.snapshot.gather(np.array([hit.row for hit in hits.hits]))
        chances = self.chances(pictures, [hit.probability for hit in hits.hits])
        aligned, phrases = self.scorer.align(pictures), self.session.matcher.phrases
        explained = reasons(self.encoded, aligned, pictures, self.levels, chances, phrases)
        whole = self.encoded.whole
        agreed = tuple(_agreed(*pair, whole) for pair in zip(hits.hits, explained, strict=True))
        if hits.nothing_matches and not hits.suggestions:
            tokenizer, presence = self.session.matcher.tokenizer, self.session.matcher.presence
            found = {word.word for hit in agreed for word in hit.words if word.is_found}
            typos = probable_typos(
                tokenizer, self.encoded.sentence, found, presence.words if presence else ()
            )
            hits = replace(hits, suggestions=typos)
        return replace(hits, hits=agreed)

    def explain(self, row: int) -> Explanation:
        """The score of one picture."""
        picture = self.session.snapshot.gather(np.array([row]))
        matched = self.match_probability(picture)
        chances, phrases = self.chances(picture, [matched]), self.session.matcher.phrases
        explained = explain(self.encoded, self.scorer, picture, self.levels, chances, phrases)
        if self.encoded.whole and matched is None:
            matches = float(self.scorer.scores(picture)[0]) >= self.threshold
            words = tuple(replace(one, word=_judged(one.word, matches)) for one in explained.words)
            explained = replace(explained, words=words)
        return replace(explained, probability=matched)

    def match_probability(self, picture: EmbeddingSet) -> float | None:
        """Probability that this picture matches; None where the model has no probabilities."""
        if self.verdict is None:
            return None
        return float(torch.sigmoid(self.verdict.logits(picture, self.scorer.scores(picture).float()))[0])


def _agreed(hit: Hit, reason: Reason, whole: bool) -> Hit:
    """A hit with its words; a sentence that is one vector is found where it matches."""
    words = reason.words
    if whole and hit.probability is None:
        words = tuple(_judged(word, hit.relevant) for word in words)
    return replace(hit, words=words, evidence=reason.evidence)


def _judged(word: WordFound, matches: bool) -> WordFound:
    return replace(word, is_found=word.known and matches, level=-math.inf)


def text_reason(session: SearchSession, hit: Hit, image: EmbeddingSet, min_probability: float) -> Reason:
    """The words of a stored text, and which of them the picture shows."""
    query = _stored_text(session, hit.row, min_probability)
    levels, chances = _judgement(session, query, image, [hit.probability])
    aligned, phrases = query.scorer.align(image), session.matcher.phrases
    return reasons(query.encoded, aligned, image, levels, chances, phrases)[0]


def explain_text(session: SearchSession, picture: Picture, row: int, min_probability: float) -> Explanation:
    """The score of a stored text with a picture."""
    image, query = session.matcher.encode_images([picture]), _stored_text(session, row, min_probability)
    matched = query.match_probability(image)
    levels, chances = _judgement(session, query, image, [matched])
    explained = explain(query.encoded, query.scorer, image, levels, chances, session.matcher.phrases)
    return replace(explained, probability=matched)


def _stored_text(session: SearchSession, row: int, min_probability: float) -> TextQuery:
    encoded = encode_plain_text(session.matcher, session.snapshot.item(row).text)
    return TextQuery(session, encoded, min_probability)


def _judgement(
    session: SearchSession, query: TextQuery, image: EmbeddingSet, matched: Sequence[float | None]
) -> tuple[Sequence[float], Chances | None]:
    """Levels of the strengths of a stored text's words, or their probabilities: they decide on the words."""
    if query.verdict is None:
        return [session.text_level(image)] * len(query.encoded.words), None
    return query.levels, query.chances(image, matched)
