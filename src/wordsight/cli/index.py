"""The command of the index: folders of pictures, or files of texts, in; an index in step with them out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.data_options import CaptionColumn, ImageColumn
from wordsight.cli.shared_options import Exclude, FollowLinks, NoLock, changed_rules, left_out_text
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError
from wordsight.files.json_text import to_json
from wordsight.files.undecodable import shown
from wordsight.runtime.malloc import share_freed_memory
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.read.pictures.walk import WalkRules
    from wordsight.search.index.caption_file import CaptionFile
    from wordsight.search.index.index import Index, UpdateReport

EPILOG = "Example: wordsight index photos/ --model runs/chan-flickr8k --out photos.index"


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(index)


def index(
    out: Annotated[Path, typer.Option(help="The index; the same command brings it up to date, or goes on.")],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="Folders of pictures, with all folders below; hidden ones (.name) are left out.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A run's folder, a model's folder, or a hub name, also of a CLIP or SigLIP; else the one "
            "that made --out."
        ),
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Index texts, not pictures: a .txt, .csv, .tsv, .jsonl or caption file. Repeatable."
        ),
    ] = None,
    captions: Annotated[
        list[Path] | None,
        typer.Option(help="A caption file of the pictures, to filter by its words. Repeatable."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="The folder that the names in --captions start from.")
    ] = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    precision: Annotated[
        str | None, typer.Option(help="float16 (as it is by default) or int8, of a new index.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per batch: what a kill may lose.")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode pictures.")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda; auto takes the GPU if there is one.")] = "auto",
    drop_all: Annotated[
        bool, typer.Option("--drop-all", help="A folder that is gone or empty takes its items with it.")
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Give back the space of what was deleted or changed.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every promise of the index; exit code 1 if one is broken.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is damaged, so that indexing makes it again.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print the numbers of the index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Make or update an index: new, changed, renamed and deleted pictures; safe to stop at any moment.

    Without a folder it only does what --repair, --compact, --verify and --stats ask, in that order.
    """
    if folders and texts:
        raise typer.BadParameter("an index holds pictures or texts: give folders, or --texts, and not both")
    if not (folders or texts or compact or verify or repair or stats):
        raise typer.BadParameter(
            "give a folder of pictures, or --texts, or one of --stats --verify --compact"
        )
    from wordsight.search.index import caption_join
    from wordsight.search.index.caption_file import CaptionFile
    from wordsight.search.index.index import begun_or_removed
    from wordsight.search.index.scan_sources import check_sources

    share_freed_memory()
    kind, sources = "texts" if texts else "images", folders or texts or []
    check_sources(kind, sources, captions or [], drop_all)  # before anything is made
    files = [CaptionFile(file, pictures, image_column, caption_column) for file in captions or []]
    if not out.exists():
        caption_join.check(files, sources)
    with begun_or_removed(out):
        opened = _opened(out, model, kind, precision, bool(sources), trust_remote_code)
        if sources:
            rules = changed_rules(opened.walk_rules(), exclude, follow_links)
            report = in_step(
                opened, sources, files, batch_size, workers, device, drop_all, rules, caption_column
            )
    skipped = False
    if sources:
        _show_report(opened, report, as_json)
        _calibrate(opened)
        skipped = bool(report.skipped)
    if repair:
        typer.echo(f"{out}: {opened.repair()} damaged items dropped; index again to have them back")
    if compact:
        with ProgressDisplay() as progress:
            done = opened.compact(progress)
        typer.echo(f"{out}: {done.dropped} contents dropped, {done.freed / 1e6:,.1f} MB given back")
    if verify:
        _verify(opened, as_json)
    if stats:
        told = opened.stats()
        typer.echo(to_json(told.to_dict()) if as_json else told.to_text())
    if skipped:
        raise typer.Exit(3)


def _opened(
    out: Path,
    model: str | None,
    kind: str,
    precision: str | None,
    may_create: bool,
    trust_remote_code: bool,
) -> "Index":
    from wordsight.runs import matcher_folder
    from wordsight.search.index.index import Index
    from wordsight.search.index.manifest import META, adopt_presence

    if not (out / META).is_file() and may_create:
        if model is None:
            raise typer.BadParameter(f"{out} is not there yet: give the model that makes it with --model")
        return Index.create(out, matcher_folder(model), kind, precision or "float16", trust_remote_code)
    opened = (Index.open_to_write if may_create else Index.open)(out, trust_remote_code)
    if model is not None:
        opened.check_model(matcher_folder(model))
        if may_create:
            adopt_presence(out, matcher_folder(model))
    if may_create and opened.kind != kind:
        raise InputError(f"{out} is an index of {opened.kind}; give another folder to index {kind}")
    if precision is not None and precision != opened.meta.precision:
        raise InputError(f"{out} is in {opened.meta.precision}; give another folder for {precision}")
    return opened


def in_step(
    opened: "Index",
    sources: list[Path],
    captions: "Sequence[CaptionFile]" = (),
    batch_size: int = 32,
    workers: int = 4,
    device: str = "auto",
    drop_all: bool = False,
    rules: "WalkRules | None" = None,
    caption_column: str | None = None,
    quiet_seconds: float = 0.0,
) -> "UpdateReport":
    """``Index.update`` on the device, with its progress."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    opened.matcher.to(device)
    if hasattr(opened.matcher.reader, "to"):
        opened.matcher.reader.to(device)
    with ProgressDisplay(quiet_seconds) as progress:
        return opened.update(
            sources, progress, captions, batch_size, workers, drop_all, rules, caption_column
        )


def _show_report(opened: "Index", report: "UpdateReport", as_json: bool) -> None:
    counts = {name: getattr(report, name) for name in ("added", "updated", "renamed", "deleted", "unchanged")}
    if as_json:
        skipped = [{"path": path, "reason": reason} for path, reason in report.skipped]
        captions = [
            {"file": str(one.file), "named": one.named, "found": one.found} for one in report.captions
        ]
        more = {
            "skipped": skipped,
            "left_out": dict(report.left_out),
            "captions": captions,
            "cut": report.cut,
        }
        typer.echo(json.dumps(counts | more))
    else:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        typer.echo(f"{opened.folder}: {told}, {len(report.skipped)} skipped")
        for one in report.captions:
            typer.echo(one.to_text())
    if report.cut:
        typer.echo(
            f"{report.cut:,} texts are longer than this model reads, and their ends do not count; the first: "
            f'"{shown(report.first_cut[:80])}..."',
            err=True,
        )
    if report.left_out:
        typer.echo(left_out_text(report.left_out), err=True)
    for path, reason in report.skipped:
        typer.echo(f"skipped {shown(path)}: {reason}", err=True)


def _calibrate(opened: "Index") -> None:
    """Measure the relevance threshold of this index now, not at the first search."""
    from wordsight.search.searcher_state import calibrate

    recall = calibrate(opened)
    if recall is not None:
        told = f"{100 * recall.recall:.0f} % of the ten best, on {recall.queries} queries"
        typer.echo(f"a shortlist of {recall.size} holds {told}", err=True)


def _verify(opened: "Index", as_json: bool) -> None:
    with ProgressDisplay() as progress:
        found = opened.verify(progress)
    if as_json:
        typer.echo(json.dumps({"problems": found}))
    else:
        typer.echo("\n".join(found) or f"{opened.folder}: integrity check passed")
    if found:
        raise typer.Exit(1)
