"""Commands that train: train and demo."""

import json
from pathlib import Path
from typing import Annotated

import typer

from wordsight.cli.choose_export import silence_exporter
from wordsight.cli.config_options import Changes, ConfigFile
from wordsight.cli.data_options import DatasetOptions
from wordsight.cli.option_groups import with_options
from wordsight.cli.shared_options import Device
from wordsight.cli.trust import search_this_folder
from wordsight.runtime.progress import ProgressDisplay


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight train chan-flickr8k --set training.seed=1")(with_options(train))
    app.command(epilog="Example: wordsight demo --out demo")(demo)


def train(
    config: ConfigFile,
    *,
    changes: Changes = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; by default runs/ and the configuration's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start with the weights and the vocabulary of this model: a run, a model's folder (an "
            "imported one, say), or a hub name.",
        ),
    ] = None,
    keep_epoch: Annotated[
        bool,
        typer.Option(
            "--keep-epoch",
            help="With --from: go on with the schedule at the model's epoch, not at the first.",
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where to train, instead of [training] device: cpu, cuda, cuda:1, mps."
        ),
    ] = None,
    dataset: DatasetOptions,
) -> None:
    """Train a model; the run's folder gets the log, the last state and the best model on validation."""
    from wordsight.config import load_config
    from wordsight.runs.training import train as run

    search_this_folder(True)  # a configuration that is trained may name parts of one's own
    folder = out or Path("runs") / Path(config).stem
    given = [*dataset.changes(), *_start(start_from, keep_epoch), *_on(device)]
    loaded = load_config(config, [*(changes or ()), *given], trust_remote_code=True)
    with ProgressDisplay() as progress:
        history = run(loaded, folder, resume, progress)
    if history.stopped_early:
        typer.echo(f"stopped early: rsum was best in epoch {(history.best_epoch or 0) + 1}", err=True)
    best = "" if history.best_rsum is None else f", rsum {history.best_rsum:.1f} on validation"
    epoch = "" if history.best_epoch is None else f" (epoch {history.best_epoch + 1})"
    typer.echo(f"{folder / 'best'}{best}{epoch}")


def _start(model: str | None, keep_epoch: bool) -> list[str]:
    """Changes of [training] that make a run start from a model."""
    if model is None:
        if keep_epoch:
            raise typer.BadParameter("--keep-epoch is the epoch of a model; give one with --from")
        return []
    changes = [f"training.start_from={json.dumps(model, ensure_ascii=False)}"]
    if keep_epoch:
        from wordsight.learn.warm_start import epochs_trained

        changes.append(f"training.first_epoch={epochs_trained(model)}")
    return changes


def _on(device: str | None) -> list[str]:
    """The change of [training] that sets the device."""
    return [] if device is None else [f"training.device={json.dumps(device)}"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the world and of the training.")] = 0,
    changes: Changes = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Then serve the search page, and open it; a finished demo is not redone."
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes any free one.")
    ] = 8765,
    device: Device = "auto",
) -> None:
    """Generate a world of pictures, learn to match it, measure it, index it, search it; a page shows why."""
    from wordsight.cli import serve as serving

    silence_exporter()
    from wordsight.cli.demo import finished, run_demo

    if serve:
        serving.need_extra()
    index = finished(out, seed) if serve else None
    if index is None:
        index = run_demo(out, seed, changes or (), device)
    if serve:
        serving.serve([index], network=serving.NetworkOptions(port=port), open_page=True, device=device)
