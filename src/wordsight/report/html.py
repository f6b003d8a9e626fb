"""Recalls, pointing, training history and examples -> one HTML page that needs nothing but itself."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from wordsight.evaluation.pointing import Pointing
from wordsight.evaluation.recall import Direction, K, Recalls, interval_method
from wordsight.files.atomic import atomic_file
from wordsight.files.undecodable import shown
from wordsight.report.examples import Example
from wordsight.report.gallery import gallery
from wordsight.report.line_chart import line_chart

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p class="headline">{headline}</p></header>
<main>
{sections}
</main>
<footer><p>Written by wordsight. This page is one file: it loads nothing and sends nothing.</p></footer>
<script>{script}</script>
</body>
</html>
"""


def write_report(
    path: str | Path,
    title: str,
    recalls: Recalls,
    pointing: Pointing | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[Example] = (),
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page, whole or not at all; what is None or empty has no section.

    ``history`` holds one mapping per epoch with "epoch" (from 0), "loss" and, where validated, "rsum".
    ``settings`` may be nested. Raises UnreadablePicture when an example's picture cannot be opened.
    """
    sections = [
        _figures(recalls, pointing),
        gallery(examples),
        _recall_table(recalls),
        _precision_table(recalls),
        _training(history),
        _settings(settings or {}),
    ]
    text = "\n".join(section for section in sections if section)
    with atomic_file(Path(path)) as file:
        file.write(shown(page(escape(title), escape(_sentence(recalls.headline)), text)).encode())
    return Path(path)


def page(title: str, headline: str, sections: str) -> str:
    """One file of HTML that loads nothing; all three are HTML already."""
    style, script = _part("report.css"), _part("report.js")
    return PAGE.format(title=title, headline=headline, style=style, script=script, sections=sections)


def _part(name: str) -> str:
    return resources.files("wordsight.report").joinpath(name).read_text(encoding="utf-8").strip()


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:] + "."


def _figures(recalls: Recalls, pointing: Pointing | None) -> str:
    """The numbers that one looks for first."""
    named = (
        ("Text → picture, R@1", recalls.t2i.recall[1], "%", "t2i R@1"),
        ("Picture → text, R@1", recalls.i2t.recall[1], "%", "i2t R@1"),
        ("Sum of six recalls", recalls.rsum, "of 600", "rsum"),
    )
    tiles = "".join(_tile(name, value, unit, _detail(recalls, key)) for name, value, unit, key in named)
    if pointing is not None:
        tiles += _tile("Pointing accuracy", 100 * pointing.share, "%", _gauge(pointing))
    warning = f'<p class="deviation"><strong>Not the protocol.</strong> {escape(recalls.deviation)}.</p>'
    return (
        f'<section aria-label="Results"><dl class="tiles">{tiles}</dl>'
        f"{warning if recalls.deviation else ''}</section>"
    )


def _detail(recalls: Recalls, key: str) -> str:
    interval = f"95 %: {_ends(recalls, key)} · " if recalls.intervals is not None else ""
    return f"{interval}protocol {escape(recalls.protocol)}"


def _tile(name: str, value: float, unit: str, detail: str) -> str:
    return (
        f'<div class="tile"><dt>{name}</dt>'
        f'<dd class="value">{value:.1f}<span class="unit"> {unit}</span></dd>'
        f'<dd class="detail">{detail}</dd></div>'
    )


def _gauge(pointing: Pointing) -> str:
    share, chance, centre = 100 * pointing.share, 100 * pointing.chance, 100 * pointing.centre
    return (
        f'<span class="gauge" aria-hidden="true" style="--share:{share:.1f}%;--chance:{chance:.1f}%"></span>'
        f"chance {chance:.1f} % · picture's centre {centre:.1f} % · {pointing.words} object words"
    )


def _ends(recalls: Recalls, name: str) -> str:
    if recalls.intervals is None:
        return ""
    low, high = recalls.intervals[name]
    return f"{low:.1f}–{high:.1f}"


def _recall_table(recalls: Recalls) -> str:
    total = (
        f'<tr class="total"><th scope="row">Sum (rsum)</th><td colspan="3">{recalls.rsum:.1f}'
        f'{_small(_ends(recalls, "rsum"))}</td><td colspan="2"></td></tr>'
    )
    table = _table(
        "Recall at K",
        f"{_sentence(recalls.headline)} Recalls in percent.",
        ("Asked → answered", *(f"R@{k}" for k in K), "medr", "meanr"),
        _recall_row("Picture → text", "i2t", recalls.i2t, recalls)
        + _recall_row("Text → picture", "t2i", recalls.t2i, recalls)
        + total,
        "recalls",
    )
    note = f'<p class="note">{escape(interval_method())}</p>' if recalls.intervals is not None else ""
    return f'<section aria-labelledby="recalls"><h2 id="recalls">Recall at K</h2>{table}{note}</section>'


def _precision_table(recalls: Recalls) -> str:
    """Where all right answers came, not only the first: for persons with several pictures."""
    if recalls.i2t.precisions is None or recalls.t2i.precisions is None:
        return ""
    names = list(recalls.i2t.precisions)
    rows = "".join(
        _row(label, [f"{found[name]:.1f}{_small(_ends(recalls, f'{way} {name}'))}" for name in names])
        for label, way, found in (
            ("Picture → text", "i2t", recalls.i2t.precisions),
            ("Text → picture", "t2i", recalls.t2i.precisions),
        )
    )
    caption = f"{_sentence(recalls.headline)} Means over queries, in percent."
    table = _table("Precision", caption, ("Asked → answered", *names), rows, "recalls")
    return f'<section aria-labelledby="precision"><h2 id="precision">Precision</h2>{table}</section>'


def _table(name: str, caption: str, heads: Sequence[str], rows: str, kind: str = "") -> str:
    """A table that scrolls by itself where the screen is narrower."""
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}, table"><table class="{kind}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _recall_row(label: str, key: str, direction: Direction, recalls: Recalls) -> str:
    cells = [f"{direction.recall[k]:.1f}{_small(_ends(recalls, f'{key} R@{k}'))}" for k in K]
    row = _row(label, [*cells, f"{direction.medr:g}", f"{direction.meanr:.1f}"])
    chance = [f"{share:.1f}" for share in recalls.chance.get(key, {}).values()]
    return row + (_row("by chance", [*chance, "", ""]) if chance else "")


def _row(head: str, cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _small(text: str) -> str:
    return f"<small>{text}</small>" if text else ""


def _training(history: Sequence[Mapping[str, Any]]) -> str:
    kinds = (("rsum", "Validation rsum", "max"), ("loss", "Training loss", "min"))
    figures = "".join(line_chart(history, key, title, best) for key, title, best in kinds)
    if not figures:
        return ""
    return (
        '<section aria-labelledby="training"><h2 id="training">Training</h2>'
        f'<div class="curves">{figures}</div>{_epochs(history)}</section>'
    )


def _epochs(history: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in dict.fromkeys(key for entry in history for key in entry) if name != "epoch"]
    rows = "".join(
        _row(str(int(entry.get("epoch", row)) + 1), [_number(entry.get(name, "")) for name in names])
        for row, entry in enumerate(history)
    )
    table = _table("Epochs", "What each epoch logged.", ("epoch", *names), rows)
    return f"<details><summary>Every epoch as a table</summary>{table}</details>"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _settings(settings: Mapping[str, Any]) -> str:
    if not settings:
        return ""
    rows = "".join(_row(escape(name), [escape(str(value))]) for name, value in _flat(settings))
    table = _table("Settings", "What this was made with.", ("setting", "value"), rows, "settings")
    return (
        '<section aria-labelledby="settings"><h2 id="settings">Settings</h2>'
        f"<details><summary>All settings</summary>{table}</details></section>"
    )


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
