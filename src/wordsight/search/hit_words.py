"""Hits and the text that they were found by -> the same hits with the words that each of them shows."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wordsight.matcher import Matcher
from wordsight.pairs import Picture
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.explain import Reason, explain, reasons
from wordsight.search.index.snapshot import Snapshot
from wordsight.search.query.encoded import EncodedQuery, encode_plain_text
from wordsight.search.results import Explanation, Hit, Hits, WordFound
from wordsight.search.searcher_state import SearchSession
from wordsight.sets import EmbeddingSet


def scorer_of(session: SearchSession, text: EncodedQuery) -> QueryScorer:
    return QueryScorer(session.matcher.similarity, text.set)


def text_length(matcher: Matcher, text: EncodedQuery) -> int:
    """Words of the sentence, each as often as it counts."""
    if text.whole:
        return len(matcher.tokenizer.words(text.sentence))
    return sum(word.weight for word in text.words)


def with_words(
    hits: Hits, snapshot: Snapshot, text: EncodedQuery, scorer: QueryScorer, levels: Sequence[float]
) -> Hits:
    """Pictures with the words of the query, and what is to be said of the query itself."""
    texts = (text, *text.excluded)
    hits = replace(
        hits,
        unread=" ".join(one.unread for one in texts if one.unread),
        suggestions=tuple(one for every in texts for one in every.suggestions),
    )
    if not hits.hits:
        return hits
    pictures = snapshot.gather(np.array([hit.row for hit in hits.hits]))
    found = reasons(text, scorer.align(pictures), pictures, levels)
    if text.whole:
        found = [
            one._replace(words=tuple(_judged(word, hit.relevant) for word in one.words))
            for one, hit in zip(found, hits.hits, strict=True)
        ]
    return replace(hits, hits=tuple(_reasoned(hit, one) for hit, one in zip(hits.hits, found, strict=True)))


def as_verdict(explained: Explanation, matches: bool) -> Explanation:
    """A sentence that is one vector: its only "word" is found where the picture matches."""
    words = tuple(replace(one, word=_judged(one.word, matches)) for one in explained.words)
    return replace(explained, words=words)


def _judged(word: WordFound, matches: bool) -> WordFound:
    return replace(word, is_found=word.known and matches, level=-math.inf)


def text_reason(session: SearchSession, row: int, image: EmbeddingSet, level: float) -> Reason:
    """The words of a stored text, and which of them the picture shows."""
    text = encode_plain_text(session.matcher, session.snapshot.item(row).text)
    return reasons(text, scorer_of(session, text).align(image), image, [level] * len(text.words))[0]


def with_text_words(hits: Hits, session: SearchSession, image: EmbeddingSet, level: float) -> Hits:
    """Texts with their own words, and which of them the picture shows."""
    found = (text_reason(session, hit.row, image, level) for hit in hits.hits)
    return replace(hits, hits=tuple(_reasoned(hit, one) for hit, one in zip(hits.hits, found, strict=True)))


def explain_text(session: SearchSession, picture: Picture, row: int) -> Explanation:
    """The score of a stored text with a picture."""
    image = session.matcher.encode_images([picture])
    text = encode_plain_text(session.matcher, session.snapshot.item(row).text)
    level = session.text_level(image)
    return explain(text, scorer_of(session, text), image, [level] * len(text.words))


def _reasoned(hit: Hit, reason: Reason) -> Hit:
    return replace(hit, words=reason.words, evidence=reason.evidence)
