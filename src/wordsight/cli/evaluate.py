"""The command that measures: evaluate, for a model, for anybody's scores, for the mean of several."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wordsight.cli.shared_options import say_written
from wordsight.cli.train import Changes
from wordsight.cli.trust import TrustRemoteCode
from wordsight.files.json_text import to_json
from wordsight.runtime.progress import ProgressDisplay

WAYS = {  # out of a ProtocolMismatchError, in the words of this command
    "all": "measure what you have with --protocol all",
    "first texts": "published numbers use the first {captions} of each: leave the others out of the data",
    "transpose": "save its transpose: numpy.save(FILE, scores.T)",
    "equal rows": "if each image stands in {captions} equal rows, once per caption, save one of each: "
    "numpy.save(FILE, scores[::{captions}]); if each image has one text: --captions 1",
    "identities": "name the configuration or the run whose data says so: --config",
}

NO_PICTURES = (
    "the report shows no examples: the data holds features and no pictures; give their folder with --pictures"
)


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight evaluate runs/chan-flickr8k --split test --protocol f8k")(evaluate)


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A run's folder, a model's folder, or a hub name; the scores of several are averaged.",
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Where [data] stands, if it is not the run's own configuration.")
    ] = None,
    changes: Changes = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    protocol: Annotated[
        str | None,
        typer.Option(
            help="f30k, f8k, coco-5k, coco-1k-5fold, cuhk-pedes, icfg-pedes, rstp-reid or all; "
            "else the configuration's."
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Measure this matrix (.npy, images x texts; also a pickled results_*.npy); several, or "
            "beside models, are averaged."
        ),
    ] = None,
    captions: Annotated[int, typer.Option(min=1, help="With --scores alone: texts per image.")] = 5,
    weights: Annotated[
        str | None, typer.Option(help="Of the average, e.g. 0.6,0.4: models first, then --scores.")
    ] = None,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="Bring each matrix to mean 0 and spread 1 before averaging.")
    ] = False,
    relevance: Annotated[
        str | None,
        typer.Option(help="Measure by annotations instead: cxc, eccv, or the name of your own files."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="With --relevance: the folder of the annotation files.")
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(
            help="Known boxes, to measure whether words point at what they name: the folder of Flickr30k "
            "Entities, or JSON lines with picture, sentence, word and box."
        ),
    ] = None,
    zero_diagonal: Annotated[
        bool,
        typer.Option(
            "--zero-diagonal", help="With --relevance cxc: score an item 0 with itself, as VSE-infinity does."
        ),
    ] = False,
    save_scores: Annotated[Path | None, typer.Option(help="Also write the score matrix as .npy.")] = None,
    ties: Annotated[
        str | None, typer.Option(help="pessimistic: against the query. reference: larger index wins.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, int8 (certified: the same ranks) or auto.")
    ] = None,
    average_precision: Annotated[
        bool | None,
        typer.Option(
            "--map/--no-map", help="Also mAP, mINP, R-precision and mAP@R; by default in person search."
        ),
    ] = None,
    cmpl_map: Annotated[
        bool,
        typer.Option(
            "--cmpl-map",
            help="Also mAP as CMPL's code computes it: each match leaves itself out, so it is lower.",
        ),
    ] = False,
    intervals: Annotated[bool, typer.Option(help="Bootstrap 95 % intervals.")] = True,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with the numbers and what words found where.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="With --report: the folder of the pictures, where the data holds features only (or names "
            "another folder)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Measure R@1/5/10, median and mean rank and rsum, both ways, by a named protocol."""
    if not models and not scores:
        raise typer.BadParameter("give a MODEL, or a score matrix with --scores, or several to average")
    if (relevance is None) != (annotations is None):
        raise typer.BadParameter(
            "--relevance says which annotations, --annotations where they are; give both"
        )
    if len(models or ()) + len(scores or ()) == 1 and (weights is not None or standardize):
        raise typer.BadParameter(
            "--weights and --standardize are for averaging; give several MODELs or --scores"
        )
    if objects is not None:
        if relevance is not None or len(models or ()) != 1 or scores:
            raise typer.BadParameter(
                "--objects measures where the words of one MODEL point; leave out --relevance and --scores"
            )
        changes = [*(changes or ()), f"data.objects={json.dumps(str(objects), ensure_ascii=False)}"]
    from wordsight.runs import Sources, measure_by_annotations, measure_model, measure_scores

    sources = Sources(
        models or (),
        scores or (),
        config,
        changes or (),
        split_of(split),
        _weights(weights),
        standardize,
        trust_remote_code,
    )
    asked = {
        "protocol": protocol,
        "ties": ties and _ties(ties),
        "precision": precision,
        "average_precision": True if cmpl_map else average_precision,
    }
    if relevance is not None and annotations is not None:
        _only_numbers(report=report, save_scores=save_scores)
        with ProgressDisplay() as progress:
            found = measure_by_annotations(
                sources, annotations, relevance, _ties(ties or "pessimistic"), zero_diagonal, progress
            )
        _show_report(found, None, as_json)
    elif sources.alone:
        with ProgressDisplay() as progress:
            measured = measure_model(
                sources.models[0],
                config,
                changes or (),
                sources.split,
                asked,
                intervals,
                save_scores,
                trust_remote_code,
                progress,
            )
        _show_report(measured.recalls, measured.pointing, as_json, cmpl_map)
        if objects is not None and measured.pointing is None:
            typer.echo("this model makes one vector of all regions or words, so no word points", err=True)
        if report is not None:
            from wordsight.report.evaluation_report import has_pictures, write_page

            write_page(report, f"{sources.models[0]}: {sources.split}", measured, pictures=pictures)
            if not has_pictures(measured, pictures):
                typer.echo(NO_PICTURES, err=True)
    else:
        with ProgressDisplay() as progress:
            recalls = measure_scores(sources, asked, captions, intervals, save_scores, progress)
        _show_report(recalls, None, as_json, cmpl_map)
        if report is not None:
            from wordsight.report.html import write_report

            write_report(report, recalls.split or "Scores", recalls)
    for what, path in (("scores", save_scores), ("report", report)):
        if path is not None:
            say_written(what, path)


def _only_numbers(**options: Path | None) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"--{name.replace('_', '-')} does not go together with --relevance")


def _show_report(found: Any, pointing: Any, as_json: bool, cmpl_map: bool = False) -> None:
    if as_json:
        numbers = found.to_dict() | ({} if pointing is None else {"pointing": pointing.to_dict()})
        numbers |= {"cmpl_map": found.cmpl_map} if cmpl_map else {}
        typer.echo(to_json(numbers))
        return
    typer.echo(found.to_text())
    if cmpl_map:
        way = found.cmpl_map
        typer.echo(
            f"mAP as CMPL's code has it: picture -> text {way['i2t']:.1f}, text -> picture {way['t2i']:.1f}"
        )
    if pointing is not None:
        typer.echo(pointing.to_text())


def _weights(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--weights {text}; expected numbers with commas, e.g. 0.6,0.4") from None


def split_of(name: str) -> Any:
    aliases = {"val": "validation", "dev": "validation"}
    name = aliases.get(name, name)
    if name not in ("train", "validation", "test"):
        raise typer.BadParameter(f"--split {name}; known: train, validation, test")
    return name


def _ties(name: str) -> Any:
    if name not in ("pessimistic", "reference"):
        raise typer.BadParameter(f"--ties {name}; known: pessimistic, reference")
    return name
