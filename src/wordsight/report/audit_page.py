"""An audit -> one HTML page: doubtful captions with their pictures, doubtful words, duplicates."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from wordsight.audit.audit import Audit, percent
from wordsight.audit.doubts import AuditedCaption
from wordsight.audit.duplicates import Duplicate, Kind
from wordsight.files.atomic import atomic_file
from wordsight.files.undecodable import shown
from wordsight.read.pictures.decode import UnreadablePicture, open_picture
from wordsight.report.gallery import data_uri
from wordsight.report.html import page

SHOWN_PIXELS = 400  # longer side of an embedded picture
MOST_TWINS = 60  # pairs of pictures that are shown
CAPTIONS_NOTE = (
    "The least likely first: the probability that the caption was written for this picture and not for a "
    "random one of its split, at even odds before. A crossed-out word is neither shown, nor in another "
    "caption of the picture. Suggestions are captions of other pictures of this data."
)
WORDS_NOTE = (
    "Single words that the picture speaks against, in captions that fit otherwise. The model often misses "
    "small or rare things, so look before you change a caption."
)


def write_audit_page(path: str | Path, title: str, found: Audit) -> None:
    """Write the page, whole or not at all; data without picture files has no pictures in it."""
    headline = (
        f"{len(found.data.texts):,} captions of {len(found.data.names):,} pictures; {found.unlikely:,} look "
        "like captions of another picture."
    )
    sections = [_captions(found), _words(found), _duplicates(found)]
    text = page(escape(title), escape(headline), "\n".join(one for one in sections if one))
    with atomic_file(Path(path)) as file:
        file.write(shown(text).encode())


def _section(name: str, heading: str, note: str, body: str) -> str:
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(heading)}</h2>'
        f'<p class="note">{escape(note)}</p>{body}</section>'
    )


def _captions(found: Audit) -> str:
    if not found.captions:
        return ""
    cards = "".join(_card(found, one) for one in found.captions)
    return _section("captions", "Doubtful captions", CAPTIONS_NOTE, f'<div class="gallery">{cards}</div>')


def _card(found: Audit, one: AuditedCaption) -> str:
    data = found.data
    text = data.texts[one.number]
    others = [data.texts[n] for n in data.texts_of[one.picture] if n != one.number]
    facts = _facts("Other captions of this picture", others)
    facts += _facts("Suggestions", found.suggested(one.picture))
    level = "late" if one.probability < 0.5 else "top"
    split, name = escape(data.split_of[one.picture]), escape(data.names[one.picture])
    return (
        f'<article class="example">{_picture(found, one.picture)}'
        f'<p class="rank {level}"><strong>{percent(one.probability)}</strong> {split}'
        f'<span class="score">{name}</span></p>'
        f'<p class="claim">{marked(text, [word.text for word in one.words if word.unsupported])}</p>'
        f'<dl class="facts">{facts}</dl></article>'
    )


def marked(text: str, words: Sequence[str]) -> str:
    """The text as HTML, these words crossed out."""
    crossed = {word.casefold() for word in words}
    parts = [
        f"<s>{escape(part)}</s>" if part.strip(".,!?;:\"'()").casefold() in crossed else escape(part)
        for part in text.split()
    ]
    return " ".join(parts)


def _facts(name: str, values: Sequence[str]) -> str:
    if not values:
        return ""
    return f"<dt>{escape(name)}</dt>" + "".join(f"<dd>{escape(value)}</dd>" for value in values)


def _picture(found: Audit, number: int) -> str:
    """The picture as data in the page; nothing where there is no file."""
    if found.data.paths is None:
        return ""
    try:
        picture = open_picture(found.data.paths[number], SHOWN_PIXELS)
    except UnreadablePicture:
        return ""
    picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    return (
        f'<div class="picture"><img src="{data_uri(picture)}" width="{picture.width}" '
        f'height="{picture.height}" loading="lazy" alt="{escape(found.data.names[number])}"></div>'
    )


def _words(found: Audit) -> str:
    if not found.words:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(word.text)}</th><td>{percent(word.probability)}</td>'
        f"<td>{marked(found.data.texts[one.number], [word.text])}</td>"
        f"<td>{escape(found.data.names[one.picture])}</td></tr>"
        for one, word in found.words
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("word", "shown", "caption", "picture"))
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Doubtful words, table">'
        f'<table class="settings words"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return _section("words", "Doubtful words", WORDS_NOTE, table)


def _duplicates(found: Audit) -> str:
    if not found.duplicates:
        return ""
    pictures = [one for one in found.duplicates if one.kind is not Kind.caption]
    captions = [one for one in found.duplicates if one.kind is Kind.caption]
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts().items() if count)
    shown_pairs = "".join(_twins(found, one) for one in pictures[:MOST_TWINS])
    body = f'<div class="gallery">{shown_pairs}</div>' if pictures else ""
    if captions:
        texts = [found.data.texts[one.first] for one in captions[:MOST_TWINS]]
        body += f'<dl class="facts">{_facts("Captions that are word for word in two splits", texts)}</dl>'
    return _section("duplicates", "Duplicates", f"{counts}. The first {MOST_TWINS} of each are shown.", body)


def _twins(found: Audit, one: Duplicate) -> str:
    data = found.data
    both = "".join(_picture(found, number) for number in (one.first, one.second))
    names = [f"{data.split_of[number]}: {data.names[number]}" for number in (one.first, one.second)]
    level = "late" if one.across else "top"
    where = "across splits" if one.across else "in one split"
    return (
        f'<article class="example"><div class="twins">{both}</div>'
        f'<p class="rank {level}"><strong>{one.kind.value}</strong> {where}</p>'
        f'<dl class="facts">{_facts("Files", names)}</dl></article>'
    )
