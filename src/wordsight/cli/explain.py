"""The command explain: a query and an item of an index in, the reasons for its score out."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.choose_export import choose_export
from wordsight.cli.item_arguments import item_id
from wordsight.cli.open_index import index_at
from wordsight.cli.search_options import IndexOrFolder, Roots, roots_of, searcher_of
from wordsight.cli.shared_options import Device, say_written
from wordsight.cli.trust import TrustRemoteCode
from wordsight.files.json_text import to_json

if TYPE_CHECKING:
    from wordsight.search.results import Explanation, WordFound
    from wordsight.search.searcher import Searcher


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: wordsight explain photos.index "a dog runs" 17 --out why.png')(explain)


def explain(
    index: IndexOrFolder,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A sentence; for an index of texts, a picture.")
    ],
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The id of an item, or its path.")],
    out: Annotated[
        Path | None, typer.Option(help="Also write it as .png (boxes in the picture) or .html.")
    ] = None,
    root: Roots = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Explain the score of one item: how well each word is found, where, and what adds up."""
    choose_export([index], device=device)
    from wordsight.cli.hits_output import explanation_to_dict

    searcher = searcher_of(index_at(index, trust_remote_code=trust_remote_code, device=device))
    number = item_id(searcher, item)
    explanation = searcher.explain(query, number)
    if out is not None:
        from wordsight.cli.explanation_files import explain_one

        is_texts = searcher.index.kind == "texts"
        explain_one(out, explanation, query if is_texts else _picture_of(searcher, number, root))
        say_written("explanation", out)
    typer.echo(to_json(explanation_to_dict(explanation)) if as_json else _text(explanation))


def _picture_of(searcher: "Searcher", number: int, roots: list[Path] | None) -> str:
    with searcher.index.snapshot() as snapshot:
        item = snapshot.item(snapshot.row_of(number))
    return str(roots_of(searcher, roots).resolve(item.path))


def _text(explanation: "Explanation") -> str:
    from wordsight.cli.hits_output import unread_note
    from wordsight.search.verdict_text import percent

    chance = explanation.probability
    lines = [f"score {explanation.score:.3f}", explanation.sentence]
    lines[0] += "" if chance is None else f"; probability of a match {percent(chance)}"
    lines += [_line(one.word, explanation.kind) for one in explanation.words]
    if len(explanation.parts) > 1:
        lines += [f"  {part.direction}s add {part.score:.3f}" for part in explanation.parts]
    if explanation.unread:
        lines.append(unread_note(explanation.unread))
    return "\n".join(lines)


def _line(word: "WordFound", kind: str) -> str:
    """One word: its strength, its probability or the level at which it counts as found, verdict, box."""
    from wordsight.report.overlay import strength
    from wordsight.search.verdict_text import percent

    verdict = "unknown to the model" if word.state == "unknown" else word.state or ""
    level = f" (level {strength(word.level)})" if word.judged and isfinite(word.level) else ""
    level = level if word.probability is None else f" ({percent(word.probability)})"
    sides = () if word.box is None or kind == "whole" else word.box
    box = " at " + " ".join(f"{side:.2f}" for side in sides) if sides else ""
    phrase = f' (found as "{word.phrase}")' if box and word.phrase else ""
    return f"  {word.word}  {strength(word.found)}{level}  {verdict}{box}{phrase}"
