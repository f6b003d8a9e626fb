"""Commands about models: train, evaluate, config show, demo."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change one setting; may be given several times."),
]
ConfigFile = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A TOML file, or the name of one in configs/.")
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight train configs/chan-flickr8k.toml --set training.seed=1")(train)
    app.command(epilog="Example: wordsight evaluate runs/chan-flickr8k --split test --protocol f8k")(evaluate)
    app.command(epilog="Example: wordsight demo --out demo")(demo)
    config = typer.Typer(help="What a configuration says.", no_args_is_help=True)
    config.command(epilog="Example: wordsight config show configs/chan-f30k-gru.toml")(show)
    app.add_typer(config, name="config")


def train(
    config: ConfigFile,
    changes: Changes = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; by default runs/ and the configuration's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where this run was stopped.")] = False,
) -> None:
    """Train a model; the run's folder gets the log, the last state and the best model on validation."""
    from wordsight.config import load_config
    from wordsight.runs import train as run

    folder = out or Path("runs") / Path(config).stem
    history = run(load_config(config, changes or ()), folder, resume)
    best = "" if history.best_rsum is None else f", rsum {history.best_rsum:.1f} on validation"
    epoch = "" if history.best_epoch is None else f" (epoch {history.best_epoch + 1})"
    typer.echo(f"{folder / 'best'}{best}{epoch}")


def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A run's folder, a model's folder, or a hub name.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Where [data] stands, if it is not the run's own configuration.")
    ] = None,
    changes: Changes = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    protocol: Annotated[
        str | None, typer.Option(help="f30k, f8k, coco-5k, coco-1k-5fold or all; else the configuration's.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Measure this matrix (.npy, images x texts) instead of a model.")
    ] = None,
    captions: Annotated[int, typer.Option(help="With --scores: texts per image.")] = 5,
    save_scores: Annotated[Path | None, typer.Option(help="Also write the score matrix as .npy.")] = None,
    ties: Annotated[
        str | None, typer.Option(help="pessimistic: against the query. reference: larger index wins.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, int8 (certified: the same ranks) or auto.")
    ] = None,
    intervals: Annotated[bool, typer.Option(help="Bootstrap 95 % intervals.")] = True,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with the numbers and what words found where.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
) -> None:
    """Measure R@1/5/10, median and mean rank and rsum, both ways, by a named protocol."""
    if (model is None) == (scores is None):
        raise typer.BadParameter("give a MODEL, or a score matrix with --scores, and not both")
    if scores is not None:
        from wordsight.measure import evaluate_scores

        recalls = evaluate_scores(
            scores,
            captions_per_image=captions,
            protocol=protocol or "all",
            ties=_ties(ties or "pessimistic"),
            intervals=intervals,
        )
        _tell(recalls, None, as_json)
    else:
        from wordsight.runs import measure_model

        asked = {"protocol": protocol, "ties": ties and _ties(ties), "precision": precision}
        measured = measure_model(
            str(model), config, changes or (), _split(split), asked, intervals, save_scores
        )
        _tell(measured.recalls, measured.pointing, as_json)
        if report is not None:
            from wordsight.serve.page import write_page

            write_page(report, f"{model}: {split}", measured)


def _tell(recalls: Any, pointing: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(recalls.to_dict() | ({} if pointing is None else {"pointing": pointing.to_dict()}))
        )
        return
    typer.echo(recalls.to_text())
    if pointing is not None:
        typer.echo(pointing.to_text())


def _split(name: str) -> Any:
    aliases = {"val": "validation", "dev": "validation"}
    name = aliases.get(name, name)
    if name not in ("train", "validation", "test"):
        raise typer.BadParameter(f"--split {name}; known: train, validation, test")
    return name


def _ties(name: str) -> Any:
    if name not in ("pessimistic", "reference"):
        raise typer.BadParameter(f"--ties {name}; known: pessimistic, reference")
    return name


def show(config: ConfigFile, changes: Changes = None) -> None:
    """Print a configuration with every default written out."""
    from wordsight.config import load_config

    typer.echo(load_config(config, changes or ()).complete().to_toml(), nl=False)


def demo(
    out: Annotated[Path, typer.Option(help="Where the run and its report go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the world and of the training.")] = 0,
) -> None:
    """Generate a world of pictures, learn to match it, measure it, and write a page that shows why."""
    from wordsight.serve.demo import run_demo

    run_demo(out, seed)
