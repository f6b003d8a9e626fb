"""Hits and their explanation -> the files that --explain and --out write: a page, a picture with boxes."""

import os
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from wordsight.errors import InputError
from wordsight.files.atomic import atomic_file
from wordsight.files.undecodable import shown
from wordsight.report.examples import Example
from wordsight.report.gallery import gallery
from wordsight.report.heat import panels_of, with_panels
from wordsight.report.html import page
from wordsight.report.overlay import HeatMap, WordMatch, draw_alignment
from wordsight.search.index.picture_roots import OutsideRootsError, PictureRoots
from wordsight.search.results import Explanation, Hit, Hits, WordFound
from wordsight.search.verdict_text import verdict_text

NOTES = {
    "whole": "The picture was compared as a whole: no place in it is known.",
    "hint": "Boxes are hints: this model was never trained to point.",
}


def explain_hits(
    path: Path, title: str, hits: Hits, explain: Callable[[Hit], Explanation], roots: PictureRoots
) -> None:
    """A page of all hits (.html), or the best one's picture with its boxes (.png, .jpg).

    Raises OutsideRootsError if no picture lies in a folder that may be opened.
    """
    best = explain(hits.hits[0])
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
    examples = [_example(explain(hit), hit, file, hits) for hit, file in there]
    write_page(path, title, f"{verdict_text(hits, 'pictures')}. {best.sentence}{lost}", examples)


def explain_one(path: Path, explanation: Explanation, picture: str) -> None:
    """Explain one picture."""
    if path.suffix.lower() in (".html", ".htm"):
        matches = [match_of(one.word, one.heat) for one in explanation.words]
        name, heat = Path(picture).name, explanation.heat
        example = Example(picture, explanation.text, matches, explanation.score, 0, name=name, heat=heat)
        write_page(path, explanation.text, explanation.sentence, [example])
    else:
        write_overlay(path, picture, explanation)


def write_overlay(path: Path, picture: str, explanation: Explanation) -> None:
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: an explanation is written as .png, .jpg or .html")
    shown = [match_of(one.word, one.heat) for one in explanation.words if one.word.judged]
    drawn = draw_alignment(
        picture,
        [word.box for word in shown],
        [word.label for word in shown],
        [word.found for word in shown],
        note=NOTES.get(explanation.kind, ""),
    )
    drawn = with_panels(drawn, picture, panels_of(shown, explanation.heat))
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    with atomic_file(path) as file:
        drawn.save(file, kind)


def write_page(path: Path, title: str, headline: str, examples: list[Example]) -> None:
    with atomic_file(path) as file:
        file.write(shown(page(escape(title), _emphasized(escape(headline)), gallery(examples))).encode())


def _emphasized(html: str) -> str:
    """Words between asterisks as the page shows them; a terminal shows the asterisks."""
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", html)


def match_of(word: WordFound, heat: HeatMap = ()) -> WordMatch:
    """Its label names the phrase of a region that a detector found."""
    label = f"{word.word} ({word.phrase})" if word.phrase and word.is_found else word.word
    return WordMatch(label, word.found, *((word.box, heat) if word.is_found else (None, ())))


def _example(explanation: Explanation, hit: Hit, file: Path, hits: Hits) -> Example:
    words = [match_of(one.word, one.heat) for one in explanation.words]
    name = os.path.basename(hit.item.path)
    number = hits.offset + 1 + hits.hits.index(hit)
    about = (number, hits.total, name, hit.relevant, explanation.heat)
    return Example(str(file), explanation.text, words, hit.score, *about)
