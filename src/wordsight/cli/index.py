"""The command index: folders of pictures, or files of texts, in; an up-to-date index out."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.choose_export import choose_export, silence_exporter
from wordsight.cli.detector_options import model_with
from wordsight.cli.index_on_server import copy_to_server, server_to_write
from wordsight.cli.index_options import CaptionOptions, UpdateOptions, UpkeepOptions
from wordsight.cli.leave_export import leave_export
from wordsight.cli.open_index import index_place
from wordsight.cli.option_groups import with_options
from wordsight.cli.shared_options import NoLock
from wordsight.cli.stderr import say
from wordsight.cli.trust import TrustRemoteCode
from wordsight.errors import InputError
from wordsight.files.json_text import to_json
from wordsight.runtime.malloc import share_freed_memory
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.search.index.index import UpdateReport
    from wordsight.search.index.interface import SearchableIndex
    from wordsight.search.places import Place

Out = Annotated[
    Any,  # a Path, or the address of an index on a server
    typer.Option(
        parser=index_place,
        metavar="INDEX",
        help="The index to make: a folder, postgresql://USER@HOST/DATABASE or qdrant://HOST; run again to "
        "update it or to go on.",
    ),
]
EPILOG = "Example: wordsight index photos/ --model runs/chan-flickr8k --out photos.index"


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(with_options(index))


def index(
    out: Out,
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
            help="A run's folder, a model's folder, or a hub name, also of a CLIP, SigLIP or ColPali; else "
            "the one that made --out."
        ),
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Index texts, not pictures: a .txt, .csv, .tsv, .jsonl or caption file. Repeatable."
        ),
    ] = None,
    *,
    captions: CaptionOptions,
    how: UpdateOptions,
    upkeep: UpkeepOptions,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
    no_lock: NoLock = False,  # noqa: ARG001
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Make or update an index: new, changed, renamed and deleted pictures; safe to stop at any time.

    Without a folder it does only the work of --repair, --compact, --engine, --verify and --stats, in that
    order.
    """
    _check_sources(folders, texts, upkeep)
    share_freed_memory()
    skipped = False
    if folders or texts:
        opened, report = _updated(out, folders or [], texts or [], model, captions, how, trust_remote_code)
        _show_report(opened, report, as_json)
        _prepare_search(opened, how.export)
        skipped = bool(report.skipped)
    elif upkeep.copy_from is not None:
        _prepare_search(opened := copy_to_server(upkeep.copy_from, out, how.shards, trust_remote_code))
    else:
        opened = _opened(out, model, how.precision, trust_remote_code)
    _upkeep(opened, upkeep, as_json)
    if skipped:
        raise typer.Exit(3)


def _check_sources(folders: list[Path] | None, texts: list[Path] | None, upkeep: UpkeepOptions) -> None:
    if folders and texts:
        raise typer.BadParameter("an index holds pictures or texts: give folders, or --texts, and not both")
    if not (folders or texts or upkeep.any):
        raise typer.BadParameter(
            "give a folder of pictures, or --texts, or one of --stats --verify --compact --engine"
        )


def _updated(
    out: "Place",
    folders: list[Path],
    texts: list[Path],
    model: str | None,
    captions: CaptionOptions,
    how: UpdateOptions,
    trust_remote_code: bool,
) -> "tuple[SearchableIndex, UpdateReport]":
    """The index of these folders or files, made if it is not there; a failure leaves no new folder."""
    how.check()
    silence_exporter()
    if how.detector is None:  # it runs in torch
        choose_export([out], model, how.device)
    from wordsight.search.index import caption_join
    from wordsight.search.index.scan_sources import check_sources

    kind, sources = ("texts", texts) if texts else ("images", folders)
    check_sources(kind, sources, captions.captions or [], how.drop_all)  # before anything is made
    files = captions.files()
    if not (isinstance(out, Path) and out.exists()):
        caption_join.check(files, sources)
    with _nothing_left_by_failure(out):
        with model_with(how, model, trust_remote_code) as chosen:
            opened = _opened_to_write(out, chosen, kind, how, trust_remote_code)
        rules = opened.walk_rules().changed(how.exclude, how.follow_links)
        opened.run_on(how.device)
        with ProgressDisplay() as progress, how.encoder(opened) as encoder:
            report = opened.update(
                sources,
                progress,
                files,
                how.batch_size,
                how.workers,
                how.drop_all,
                rules,
                captions.caption_column,
                encoder,
            )
    return opened, report


def _nothing_left_by_failure(out: "Place") -> AbstractContextManager[None]:
    """An index that the block creates is deleted if the block fails before a picture is stored."""
    if isinstance(out, Path):
        from wordsight.search.index.index import begun_or_removed

        return begun_or_removed(out)
    from wordsight.search.places import server_index

    return server_index(out).begun_or_dropped(out)


def _opened_to_write(
    out: "Place", model: str | None, kind: str, how: UpdateOptions, trust_remote_code: bool
) -> "SearchableIndex":
    if not isinstance(out, Path):
        return server_to_write(out, model, kind, how, trust_remote_code)
    from wordsight.files.index_folder import META
    from wordsight.search.index.index import Index

    if not (out / META).is_file():
        if model is None:
            raise typer.BadParameter(f"{out} is not there yet: give the model that makes it with --model")
        from wordsight.runs.opening import matcher_folder

        return Index.create(out, matcher_folder(model), kind, how.precision or "float16", trust_remote_code)
    opened = Index.open_to_write(out, trust_remote_code)
    _check(opened, model, how.precision)
    if model is not None:
        from wordsight.runs.opening import matcher_folder

        opened.adopt_presence(matcher_folder(model))
    if opened.kind != kind:
        raise InputError(f"{out} is an index of {opened.kind}; give another folder to index {kind}")
    return opened


def _opened(
    out: "Place", model: str | None, precision: str | None, trust_remote_code: bool
) -> "SearchableIndex":
    from wordsight.search.places import open_index

    opened = open_index(out, trust_remote_code)
    _check(opened, model, precision)
    return opened


def _check(opened: "SearchableIndex", model: str | None, precision: str | None) -> None:
    """Raise InputError for an index of another model or precision than was given."""
    if model is not None:
        from wordsight.runs.opening import matcher_folder

        opened.check_model(matcher_folder(model))
    if precision is not None and precision != opened.meta.precision:
        raise InputError(f"{opened.name} is in {opened.meta.precision}; give another folder for {precision}")


def _upkeep(opened: "SearchableIndex", upkeep: UpkeepOptions, as_json: bool) -> None:
    if upkeep.repair:
        dropped = opened.repair()
        typer.echo(f"{opened.name}: {dropped} damaged items dropped; index again to have them back")
    if upkeep.compact:
        with ProgressDisplay() as progress:
            done = opened.compact(progress)
        typer.echo(f"{opened.name}: {done.dropped} contents dropped, {done.freed / 1e6:,.1f} MB given back")
    if upkeep.engine is not None:
        _index_regions(opened, upkeep.engine)
    if upkeep.engine is not None or upkeep.compact:
        _calibrate_regions(opened)
    if upkeep.verify:
        _verify(opened, as_json)
    if upkeep.stats:
        stats = opened.stats()
        typer.echo(to_json(stats.to_dict()) if as_json else stats.to_text())


def _show_report(opened: "SearchableIndex", report: "UpdateReport", as_json: bool) -> None:
    from wordsight.read.pictures.walk import left_out_text

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
        counted = ", ".join(f"{count} {name}" for name, count in counts.items())
        typer.echo(f"{opened.name}: {counted}, {len(report.skipped)} skipped")
        for one in report.captions:
            typer.echo(one.to_text())
    if report.cut:
        say(
            f"{report.cut:,} texts are longer than this model reads, and their ends do not count; the first: "
            f'"{report.first_cut[:80]}..."'
        )
    if report.left_out:
        say(left_out_text(report.left_out))
    if not (any(counts.values()) or report.skipped):
        say("nothing was found to index there; give the folder that holds the pictures")
    for path, reason in report.skipped:
        say(f"skipped {path}: {reason}")


def _prepare_search(opened: "SearchableIndex", export: bool = False) -> None:
    """Prepare the first search: measure the relevance threshold of this index, and export its model."""
    from wordsight.search.calibrate_index import calibrate

    recall = calibrate(opened)
    if recall is not None:
        counted = f"{100 * recall.recall:.0f} % of the ten best, on {recall.queries} queries"
        say(f"a shortlist of {recall.size} holds {counted}")
    _calibrate_regions(opened)
    leave_export(opened, export)


def _index_regions(opened: "SearchableIndex", engine: str) -> None:
    """Make the index of regions of a local index."""
    from wordsight.search.index.index import Index

    if not isinstance(opened, Index):
        raise InputError(f"{opened.name} makes its own approximate index", "leave --engine out")
    with ProgressDisplay() as progress:
        opened.index_regions(engine, progress)


def _calibrate_regions(opened: "SearchableIndex") -> None:
    """Measure the recall of an index of regions that was made or extended."""
    from wordsight.search.calibrate_regions import calibrate_regions
    from wordsight.search.index.index import Index

    measured = calibrate_regions(opened) if isinstance(opened, Index) else None
    if measured is not None:
        counted = f"{100 * measured.recall:.0f} % of the ten best, on {measured.queries} queries"
        say(f"the index of regions finds {counted}")


def _verify(opened: "SearchableIndex", as_json: bool) -> None:
    with ProgressDisplay() as progress:
        found = opened.verify(progress)
    if as_json:
        typer.echo(json.dumps({"problems": found}))
    else:
        typer.echo("\n".join(found) or f"{opened.name}: integrity check passed")
    if found:
        raise typer.Exit(1)
