"""Hits -> lines of text, JSON, a picture with boxes, a page: what the search commands print and write."""

import math
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file
from wordsight.files.json_text import to_json
from wordsight.report.overlay import WordMatch, draw_alignment, strength
from wordsight.search.index.picture_roots import OutsideRootsError, PictureRoots
from wordsight.search.results import Explanation, Hit, Hits, WordFound

if TYPE_CHECKING:
    from wordsight.report.examples import Example

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
    """What was searched, for people."""
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


NOTES = {
    "whole": "The picture was compared as a whole: no place in it is known.",
    "hint": "Boxes are hints: this model was never trained to point.",
}


def explain_hits(path: Path, title: str, hits: Hits, best: Explanation, roots: PictureRoots) -> None:
    """A page of all hits (.html), or the best one's picture with its boxes (.png, .jpg).

    ``best`` explains the first hit: what evidence it shows is that of all. Raises OutsideRootsError if no
    picture lies in a folder that may be opened.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        write_overlay(path, str(roots.resolve(hits.hits[0].item.path)), best)
        return
    files, outside = {}, []
    for hit in hits.hits:
        try:
            files[hit.item.id] = roots.resolve(hit.item.path)
        except OutsideRootsError as error:
            outside.append(error)
    if not files and outside:
        raise outside[0]
    there = [(hit, file) for hit in hits.hits if (file := files.get(hit.item.id)) and file.is_file()]
    gone = len(files) - len(there)
    lost = f" {gone} left out, whose files are no longer there." if gone else ""
    if outside:
        lost += f" {len(outside)} left out, in no folder that you indexed; name theirs with --root."
    examples = [_example(title, hit, file, hits) for hit, file in there]
    write_page(path, title, f"{_headline(hits)} {best.sentence}{lost}", examples)


def explain_one(path: Path, explanation: Explanation, picture: str) -> None:
    """The same of one picture."""
    if path.suffix.lower() in (".html", ".htm"):
        from wordsight.report.examples import Example

        matches = [match_of(one.word) for one in explanation.words]
        example = Example(picture, explanation.text, matches, explanation.score, 0, name=Path(picture).name)
        write_page(path, explanation.text, explanation.sentence, [example])
    else:
        write_overlay(path, picture, explanation)


def write_overlay(path: Path, picture: str, explanation: Explanation) -> None:
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: an explanation is written as .png, .jpg or .html")
    shown = [match_of(one.word) for one in explanation.words if one.word.judged]
    drawn = draw_alignment(
        picture,
        [word.box for word in shown],
        [word.label for word in shown],
        [word.found for word in shown],
        note=NOTES.get(explanation.kind, ""),
    )
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    with atomic_file(path) as file:
        drawn.save(file, kind)


def write_page(path: Path, title: str, headline: str, examples: "list[Example]") -> None:
    from wordsight.report.gallery import gallery
    from wordsight.report.html import page

    with atomic_file(path) as file:
        file.write(page(escape(title), escape(headline), gallery(examples)).encode())


def match_of(word: WordFound) -> WordMatch:
    return WordMatch(word.word, word.found, word.box if word.is_found else None)


def _example(text: str, hit: Hit, file: Path, hits: Hits) -> "Example":
    from wordsight.report.examples import Example

    words = [match_of(word) for word in hit.words]
    name = os.path.basename(hit.item.path)
    number = hits.offset + 1 + hits.hits.index(hit)
    return Example(str(file), text, words, hit.score, number, hits.total, name, hit.relevant)


def _headline(hits: Hits) -> str:
    if hits.nothing_matches:
        return f"Nothing here matches; these come nearest among {hits.total}."
    return f"{hits.relevant} of {hits.total} match."
