"""Hits -> lines of text and JSON that the search commands print."""

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wordsight.files.json_text import to_json
from wordsight.report.overlay import strength
from wordsight.search.results import Explanation, Hit, Hits, WordFound

SHOWN = 4  # words that were not read, at either end
LINE = "---- from here on, no better than what a query without an answer finds ----"


def table(hits: Hits) -> Iterator[str]:
    """One line per hit, with the line of relevance where it falls."""
    drawn = hits.relevant < hits.offset  # on a page before this one
    for number, hit in enumerate(hits.hits, start=hits.offset + 1):
        if not hit.relevant and not drawn:
            drawn = True
            yield LINE
        yield f"{number:4d}  {hit.score:7.3f}  {printable(name_of(hit))}{_words(hit)}"


def printable(name: str) -> str:
    """On one line, whatever a file is called: no name ends a line or steers a terminal."""
    return "".join(repr(sign)[1:-1] if unicodedata.category(sign) == "Cc" else sign for sign in name)


def name_of(hit: Hit) -> str:
    return hit.item.path if hit.item.width else hit.item.text


def _words(hit: Hit) -> str:
    found = [f"{word.word} {strength(word.found)}" for word in hit.words if word.judged and word.is_found]
    missing = [word.word for word in hit.words if word.is_missing and word.known]
    unknown = [word.word for word in hit.words if word.is_missing and not word.known]
    named = {"": found, "not found: ": missing, "unknown to the model: ": unknown}
    return "".join(f"  {what}{', '.join(words)}" for what, words in named.items() if words)


def summary(hits: Hits, seconds: float, kind: str) -> str:
    """Summary of a search, for people."""
    how = "all compared" if hits.exact else "only a shortlist compared"
    match = "nothing here matches" if hits.nothing_matches else f"{hits.relevant} match"
    past = "; this page is past the last hit" if hits.offset and not hits.hits else ""
    return f"{match}; {hits.total} {kind} pass, {how}{past}; {seconds:.2f} s"


def notes(hits: Hits) -> Iterator[str]:
    """Lines for people about the query itself: what the model does not know, and what it did not read."""
    if hits.suggestions:
        words = ", ".join(one.word for one in hits.suggestions)
        instead = ", ".join(one.instead for one in hits.suggestions)
        yield f"the model does not know {printable(words)}; did you mean {instead}?"
    if hits.unread:
        yield unread_note(hits.unread)


def unread_note(unread: str) -> str:
    words = unread.split()
    shown = " ".join(words if len(words) <= 2 * SHOWN else [*words[:SHOWN], "...", *words[-SHOWN:]])
    count = "1 word" if len(words) == 1 else f"{len(words)} words"
    return f"the text is longer than this model reads; its last {count} did not count: {printable(shown)}"


def as_json(hit: Hit, number: int) -> str:
    """One line."""
    return to_json(hit_to_dict(hit) | {"rank": number})


def hit_to_dict(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.item.id,
        "path": hit.item.path,
        "text": hit.item.text,
        "score": hit.score,
        "percentile": hit.percentile,
        "relevant": hit.relevant,
        "missing": hit.missing,
        "evidence": hit.evidence,
        "words": [word_to_dict(word) for word in hit.words],
        "width": hit.item.width,
        "height": hit.item.height,
        "bytes": hit.item.bytes,
        "modified": hit.item.modified,
        "taken": hit.item.taken,
    }


def word_to_dict(word: WordFound) -> dict[str, Any]:
    told = asdict(word)
    return {name: None if value in (math.inf, -math.inf) else value for name, value in told.items()}


def explanation_to_dict(explanation: Explanation) -> dict[str, Any]:
    words = [word_to_dict(one.word) | {"shares": one.shares} for one in explanation.words]
    told = asdict(explanation)
    return told | {"words": words}
