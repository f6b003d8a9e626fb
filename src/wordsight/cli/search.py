"""Commands that ask an index: search, similar, captions, explain."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.filter_options import filters_of
from wordsight.cli.folder_index import index_at
from wordsight.cli.shared_options import Exclude, FollowLinks, NoLock, say_written
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError, MissingFileError
from wordsight.files.json_text import to_json

if TYPE_CHECKING:
    from wordsight.search.index.index import Index
    from wordsight.search.index.picture_roots import PictureRoots
    from wordsight.search.results import Hit, Hits
    from wordsight.search.searcher import Searcher

NOTHING = 5  # the exit code of --strict when nothing matches

IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="What wordsight index has made.")]
Searched = Annotated[
    Path,
    typer.Argument(
        metavar="INDEX",
        help="What wordsight index has made; or a folder of pictures, whose index is then kept for you.",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="That indexes a folder of pictures, needed once: a run, a CLIP, a SigLIP."),
]
Count = Annotated[int, typer.Option("--top", "-k", min=1, max=1000, help="Hits per page.")]
PageNumber = Annotated[int, typer.Option("--page", min=1, help="Which page of hits.")]
Folder = Annotated[str | None, typer.Option(help="Only below this folder: a path, or the last names of one.")]
After = Annotated[
    str | None,
    typer.Option(
        metavar="DATE", help="Only pictures taken from then on (EXIF, else the file's date): 2024-05-31."
    ),
]
Before = Annotated[str | None, typer.Option(metavar="DATE", help="Only pictures taken before.")]
Text = Annotated[str | None, typer.Option(help="Only items whose captions or path hold these words.")]
MinSize = Annotated[str | None, typer.Option(help="Only files at least so large: 200kB, 1.5MB.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per hit.")]
Null = Annotated[bool, typer.Option("--null", "-0", help="Only paths, each ended by NUL: for xargs -0.")]
Open = Annotated[bool, typer.Option("--open", help="Open the best hit with the system's viewer.")]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="Also open pictures below this folder, for an index that you did not make. Repeatable.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Only hits above the line; exit code 5 if there are none.")
]
Explain = Annotated[
    Path | None,
    typer.Option(help="Write why: .html, a page of all hits; .png, the best hit with its boxes."),
]
EngineName = Annotated[
    str, typer.Option("--engine", help="auto, exact, shortlist, or one of an installed package.")
]
SortName = Annotated[str, typer.Option("--sort", help="score, or date: the matching ones, newest first.")]
FalsePositiveRate = Annotated[
    float | None,
    typer.Option(help="Accepted false-positive rate for queries with no match."),
]
Memory = Annotated[float, typer.Option("--memory-mb", help="How much of the index is held at once.")]


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: wordsight search photos.index "a dog +running -person" --strict')(search)
    app.command(epilog='Example: wordsight similar photos.index dog.jpg --words "in the snow"')(similar)
    app.command(epilog="Example: wordsight captions sentences.index dog.jpg")(captions)
    app.command(epilog='Example: wordsight explain photos.index "a dog runs" 17 --out why.png')(explain)


def search(
    index: Searched,
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY",
            help='A sentence. +word must be found, -word must not, word^2 counts twice, "as is".',
        ),
    ],
    model: ModelName = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    top: Count = 10,
    page: PageNumber = 1,
    folder: Folder = None,
    after: After = None,
    before: Before = None,
    text: Text = None,
    min_size: MinSize = None,
    sort: SortName = "score",
    engine: EngineName = "auto",
    strict: Strict = False,
    false_positive_rate: FalsePositiveRate = None,
    explain: Explain = None,
    as_json: Json = False,
    null: Null = False,
    open_best: Open = False,
    root: Roots = None,
    memory_mb: Memory = 256,
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Pictures that a sentence tells of, the best first, and which of its words each one shows.

    A line marks where relevance ends. Put -- before a query that begins with a minus.
    """
    searcher = _searcher(
        index_at(index, model, exclude, follow_links, trust_remote_code), memory_mb, false_positive_rate
    )
    began = time.perf_counter()
    filters = filters_of(folder, after, before, text, min_size)
    hits = searcher.find_images(query, top, (page - 1) * top, filters, engine, sort)
    if explain is not None:
        _explain_hits(explain, query, hits, searcher, _roots(searcher, root))
    _show(hits, "pictures", began, strict, as_json, null)
    if open_best:
        _open_best(hits, strict, _roots(searcher, root))
    _end(hits, strict)


def similar(
    index: Searched,
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A file, or the id of an item.")],
    model: ModelName = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    words: Annotated[str | None, typer.Option(help="What it should show besides; operators count.")] = None,
    weight: Annotated[float, typer.Option(min=0, max=1, help="Of the words, against the picture.")] = 0.5,
    top: Count = 10,
    page: PageNumber = 1,
    folder: Folder = None,
    after: After = None,
    before: Before = None,
    text: Text = None,
    min_size: MinSize = None,
    sort: SortName = "score",
    engine: EngineName = "auto",
    strict: Strict = False,
    false_positive_rate: FalsePositiveRate = None,
    as_json: Json = False,
    null: Null = False,
    open_best: Open = False,
    root: Roots = None,
    memory_mb: Memory = 256,
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Pictures like a picture; with --words, like it and like what they say."""
    searcher = _searcher(
        index_at(index, model, exclude, follow_links, trust_remote_code), memory_mb, false_positive_rate
    )
    began = time.perf_counter()
    filters = filters_of(folder, after, before, text, min_size)
    asked = _picture(picture)
    offset = (page - 1) * top
    with _items_in_words():
        hits = searcher.similar(asked, top, offset, filters, words, weight, engine, sort)
    _show(hits, "pictures", began, strict, as_json, null)
    if open_best:
        _open_best(hits, strict, _roots(searcher, root))
    _end(hits, strict)


def captions(
    index: IndexFolder,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A file.")],
    top: Count = 10,
    page: PageNumber = 1,
    text: Text = None,
    strict: Strict = False,
    false_positive_rate: FalsePositiveRate = None,
    as_json: Json = False,
    memory_mb: Memory = 256,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Sentences of an index of texts that tell of a picture, the best first."""
    from wordsight.search.index.index import Index

    began = time.perf_counter()
    searcher = _searcher(Index.open(index, trust_remote_code), memory_mb, false_positive_rate)
    filters = filters_of(None, None, None, text, None)
    hits = searcher.find_texts(_file(str(picture)), top, (page - 1) * top, filters)
    _show(hits, "sentences", began, strict, as_json)
    _end(hits, strict)


def explain(
    index: Searched,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A sentence; in an index of texts a picture.")
    ],
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The id of an item, or its path.")],
    out: Annotated[
        Path | None, typer.Option(help="Write it as .png (boxes in the picture) or .html.")
    ] = None,
    root: Roots = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Why an item has its score: how well each word is found, where, and what adds up."""
    from wordsight.cli.hits_output import explanation_to_dict

    searcher = _searcher(index_at(index, trust_remote_code=trust_remote_code), 256, None)
    number = _item(searcher, item)
    with _items_in_words():
        told = searcher.explain(query, number)
    if out is not None:
        from wordsight.cli.explanation_files import explain_one

        is_texts = searcher.index.kind == "texts"
        explain_one(out, told, query if is_texts else _file_of(searcher, number, root))
        say_written("explanation", out)
    typer.echo(to_json(explanation_to_dict(told)) if as_json else _as_text(told))


@contextmanager
def _items_in_words() -> Iterator[None]:
    """Report an item that is not there in one sentence."""
    try:
        yield
    except KeyError as error:
        raise InputError(error.args[0]) from error


def _searcher(index: "Index", memory_mb: float, false_positive_rate: float | None) -> "Searcher":
    from wordsight.search.relevance.threshold import FALSE_POSITIVE_RATE
    from wordsight.search.searcher import Searcher

    return Searcher(
        index, memory_mb, FALSE_POSITIVE_RATE if false_positive_rate is None else false_positive_rate
    )


def _show(
    hits: "Hits",
    kind: str,
    began: float,
    strict: bool,
    as_json: bool = False,
    null: bool = False,
) -> None:
    from wordsight.cli.hits_output import notes, summary

    shown = _shown(hits, strict)
    if null:
        sys.stdout.flush()
        typer.echo(b"".join(os.fsencode(hit.item.path) + b"\0" for hit in shown), nl=False)
    else:
        _print(hits, shown, as_json)
    for line in (summary(hits, time.perf_counter() - began, kind), *notes(hits)):
        print(line, file=sys.stderr)


def _shown(hits: "Hits", strict: bool) -> "list[Hit]":
    return [hit for hit in hits.hits if hit.relevant or not strict]


def _open_best(hits: "Hits", strict: bool, roots: "PictureRoots") -> None:
    if shown := _shown(hits, strict):
        typer.launch(str(roots.resolve(shown[0].item.path)))


def _end(hits: "Hits", strict: bool) -> None:
    if strict and hits.nothing_matches:
        raise typer.Exit(NOTHING)


def _print(hits: "Hits", shown: "list[Hit]", as_json: bool) -> None:
    """Paths need not be text: they are written with the bytes that they have."""
    from dataclasses import replace

    from wordsight.cli import hits_output

    if as_json:
        lines = [hits_output.as_json(hit, n) for n, hit in enumerate(shown, start=hits.offset + 1)]
    else:
        lines = list(hits_output.table(replace(hits, hits=tuple(shown))))
    for line in lines:
        typer.echo(os.fsencode(line))


def _roots(searcher: "Searcher", named: list[Path] | None) -> "PictureRoots":
    from wordsight.search.index.picture_roots import PictureRoots

    return PictureRoots(searcher.index.folder, tuple(named or ()))


def _explain_hits(path: Path, query: str, hits: "Hits", searcher: "Searcher", roots: "PictureRoots") -> None:
    from wordsight.cli.explanation_files import explain_hits

    if not hits.hits:
        print(f"no hit to explain: {path} is not written", file=sys.stderr)
        return
    explain_hits(path, query, hits, searcher.explain(query, hits.hits[0].item.id), roots)
    say_written("explanation", path)


def _as_text(told: Any) -> str:
    from wordsight.cli.hits_output import unread_note
    from wordsight.report.overlay import strength

    lines = [f"score {told.score:.3f}", told.sentence]
    for one in told.words:
        word = one.word
        verdict = "" if not word.judged else "found" if word.is_found else "not found"
        level = "" if not word.judged else f" (level {strength(word.level)})"
        known = "" if word.known else "; the model does not know this word"
        box = (
            ""
            if word.box is None or told.kind == "whole"
            else " at " + " ".join(f"{side:.2f}" for side in word.box)
        )
        lines.append(f"  {word.word}  {strength(word.found)}{level}  {verdict}{known}{box}")
    if len(told.parts) > 1:
        lines += [f"  {part.direction}s add {part.score:.3f}" for part in told.parts]
    if told.unread:
        lines.append(unread_note(told.unread))
    return "\n".join(lines)


def _item(searcher: "Searcher", item: str) -> int:
    """An id, or the id of a path."""
    if item.isascii() and item.isdigit() and not os.path.exists(item):
        return int(item)
    with searcher.index.snapshot() as snapshot:
        found = snapshot.id_of(item)
    if found is None:
        raise InputError(f"{item} is neither an id nor the path of a file in this index")
    return found


def _file_of(searcher: "Searcher", number: int, named: list[Path] | None) -> str:
    with searcher.index.snapshot() as snapshot:
        item = snapshot.item(snapshot.row_of(number))
    return str(_roots(searcher, named).resolve(item.path))


def _picture(picture: str) -> str | int:
    if picture.isascii() and picture.isdigit() and not os.path.exists(picture):
        return int(picture)
    return _file(picture)


def _file(picture: str) -> str:
    if not Path(picture).is_file():
        raise MissingFileError(f"there is no picture {picture}")
    return picture
