"""The command that measures: evaluate, for a model, for anybody's scores, for the mean of several."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.config_options import DataOptions, split_name
from wordsight.cli.evaluate_options import AnnotationOptions, MeasureOptions, ReportOptions, ScoreOptions
from wordsight.cli.option_groups import with_options
from wordsight.cli.shared_options import Device, say_written
from wordsight.cli.stderr import say
from wordsight.cli.trust import TrustRemoteCode
from wordsight.files.json_text import to_json
from wordsight.runtime.progress import ProgressDisplay

if TYPE_CHECKING:
    from wordsight.runs.measuring import Sources

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
    app.command(epilog="Example: wordsight evaluate runs/chan-flickr8k --split test --protocol f8k")(
        with_options(evaluate)
    )


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A run's folder, a model's folder, or a hub name; the scores of several are averaged.",
        ),
    ] = None,
    *,
    data: DataOptions,
    given: ScoreOptions,
    measure: MeasureOptions,
    judged: AnnotationOptions,
    written: ReportOptions,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Measure R@1/5/10, median and mean rank and rsum, in both directions, by a named protocol."""
    models = models or []
    _check_sources(models, given)
    judged.check(len(models), len(given.scores or ()))
    from wordsight.runs.measuring import Sources

    changes = list(data.changes or ())
    if judged.objects is not None:
        changes.append(f"data.objects={json.dumps(str(judged.objects), ensure_ascii=False)}")
    split, weights = split_name(data.split), given.weight_of_each()
    files = given.scores or ()
    sources = Sources(
        models, files, data.config, changes, split, weights, given.standardize, trust_remote_code, device
    )
    if judged.hard_negatives is not None:
        _by_hard_negatives(sources, judged.hard_negatives, written)
    elif judged.relevance is not None:
        _by_annotations(sources, judged, measure, written)
    elif sources.alone:
        _one_model(sources, judged, measure, written)
    else:
        _matrices(sources, given.captions, measure, written)
    for what, path in (("scores", written.save_scores), ("report", written.report)):
        if path is not None:
            say_written(what, path)


def _check_sources(models: list[str], given: ScoreOptions) -> None:
    count = len(models) + len(given.scores or ())
    if not count:
        raise typer.BadParameter("give a MODEL, or a score matrix with --scores, or several to average")
    if count == 1 and (given.weights is not None or given.standardize):
        raise typer.BadParameter(
            "--weights and --standardize are for averaging; give several MODELs or --scores"
        )


def _by_annotations(
    sources: "Sources", judged: AnnotationOptions, measure: MeasureOptions, written: ReportOptions
) -> None:
    from wordsight.runs.measuring import measure_by_annotations

    _only_numbers("--relevance", report=written.report, save_scores=written.save_scores)
    assert judged.relevance is not None
    assert judged.annotations is not None  # the options were checked
    ties, zero_diagonal = measure.order_of_ties(), judged.zero_diagonal
    with ProgressDisplay() as progress:
        found = measure_by_annotations(
            sources, judged.annotations, judged.relevance, ties, zero_diagonal, progress
        )
    _show_report(found, None, written.as_json)


def _by_hard_negatives(sources: "Sources", path: Path, written: ReportOptions) -> None:
    from wordsight.evaluation.hard_negatives import hard_negative_accuracy
    from wordsight.read.annotations.hard_negatives import read_caption_choices
    from wordsight.runs.opening import open_matcher

    _only_numbers("--hard-negatives", report=written.report, save_scores=written.save_scores)
    choices = read_caption_choices(path, written.pictures)
    matcher = open_matcher(sources.models[0], sources.trust_remote_code, sources.device)
    with ProgressDisplay() as progress:
        found = hard_negative_accuracy(matcher, choices, progress=progress)
    _show_report(found, None, written.as_json)


def _one_model(
    sources: "Sources", judged: AnnotationOptions, measure: MeasureOptions, written: ReportOptions
) -> None:
    from wordsight.runs.measuring import measure_model

    model = sources.models[0]
    with ProgressDisplay() as progress:
        measured = measure_model(
            model,
            sources.config,
            sources.changes,
            sources.split,
            measure.settings(),
            measure.intervals,
            written.save_scores,
            sources.trust_remote_code,
            progress,
            sources.device,
        )
    _show_report(measured.recalls, measured.pointing, written.as_json, measure.cmpl_map)
    if judged.objects is not None and measured.pointing is None:
        say("this model makes one vector of all regions or words, so no word points")
    if written.report is not None:
        from wordsight.report.evaluation_report import has_pictures, write_page

        pictures = written.pictures
        write_page(written.report, f"{model}: {sources.split}", measured, pictures=pictures)
        if not has_pictures(measured, pictures):
            say(NO_PICTURES)


def _matrices(sources: "Sources", captions: int, measure: MeasureOptions, written: ReportOptions) -> None:
    from wordsight.runs.measuring import measure_scores

    with ProgressDisplay() as progress:
        recalls = measure_scores(
            sources, measure.settings(), captions, measure.intervals, written.save_scores, progress
        )
    _show_report(recalls, None, written.as_json, measure.cmpl_map)
    if written.report is not None:
        from wordsight.report.html import write_report

        write_report(written.report, recalls.split or "Scores", recalls)


def _only_numbers(instead: str, **options: Path | None) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"--{name.replace('_', '-')} does not go together with {instead}")


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
