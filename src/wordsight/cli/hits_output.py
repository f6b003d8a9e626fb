"""Hits -> lines of text and JSON that the search commands print."""

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wordsight.files.json_text import to_json
from wordsight.report.overlay import strength
from wordsight.search.results import Explanation, Hit, Hits, WordFound
from wordsight.search.verdict_text import CALIBRATE, percent, verdict_text

SHOWN = 4  # words that were not read, at either end
LINE = "---- no match from here on ----"


def table(hits: Hits) -> Iterator[str]:
    """One line per hit, and a line below the last one that matches."""
    for number, hit in enumerate(hits.hits, start=hits.offset + 1):
        if not hit.relevant and number == hits.relevant + 1:
            yield LINE
        chance = "" if hit.probability is None else f"{percent(hit.probability):>5}  "
        yield f"{number:4d}  {hit.score:7.3f}  {chance}{printable(name_of(hit))}{_words(hit)}"


def printable(name: str) -> str:
    """On one line, whatever a file is called: no name ends a line or steers a terminal."""
    return "".join(repr(sign)[1:-1] if unicodedata.category(sign) == "Cc" else sign for sign in name)


def name_of(hit: Hit) -> str:
    return hit.item.path if hit.item.width else hit.item.text


def _words(hit: Hit) -> str:
    """Words by state; none for a model that judges the sentence as one word, which the score says already."""
    if hit.evidence == "whole" and len(hit.words) == 1:
        return ""
    named = {"": "found", "weak: ": "weak", "not found: ": "not found", "unknown to the model: ": "unknown"}
    parts = []
    for title, state in named.items():
        words = [_strong(word) for word in hit.words if word.state == state]
        parts += [f"  {title}{', '.join(words)}"] if words else []
    return "".join(parts)


def _strong(word: WordFound) -> str:
    """The word, and how surely it is there where that says something."""
    if word.state not in ("found", "weak"):
        return word.word
    return f"{word.word} {strength(word.found) if word.probability is None else percent(word.probability)}"


def summary(hits: Hits, seconds: float, kind: str) -> str:
    """The verdict and the time, for people."""
    past = "; this page is past the last hit" if hits.offset and not hits.hits else ""
    by = "" if hits.exact else f", engine {hits.engine}"
    return f"{verdict_text(hits, kind)}{past}; {seconds:.2f} s{by}"


def notes(hits: Hits) -> Iterator[str]:
    """Lines for people about the query itself: what was probably meant, and what the model did not read."""
    if hits.min_probability is None and hits.nothing_matches and hits.total:
        yield CALIBRATE
    if hits.fallback:
        yield hits.fallback
    if hits.suggestions:
        words = printable(", ".join(one.word for one in hits.suggestions))
        yield f"did you mean {', '.join(one.instead for one in hits.suggestions)} instead of {words}?"
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
        "probability": hit.probability,
        "missing": hit.missing,
        "evidence": hit.evidence,
        "words": [word_to_dict(word) for word in hit.words],
        "width": hit.item.width,
        "height": hit.item.height,
        "bytes": hit.item.bytes,
        "modified": hit.item.modified,
        "taken": hit.item.taken,
        "camera": hit.item.camera,
        "place": hit.item.place,
    }


def word_to_dict(word: WordFound) -> dict[str, Any]:
    fields = asdict(word) | {"state": word.state}
    return {name: None if value in (math.inf, -math.inf) else value for name, value in fields.items()}


def explanation_to_dict(explanation: Explanation) -> dict[str, Any]:
    words = [word_to_dict(one.word) | {"shares": one.shares, "heat": one.heat} for one in explanation.words]
    fields = asdict(explanation)
    return fields | {"words": words}
