"""The command that calibrates: a trained model and captions in, probabilities in the model's folder out."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from wordsight.cli.config_options import Changes, DataConfig
from wordsight.cli.shared_options import Device, say_written
from wordsight.cli.stderr import say
from wordsight.cli.trust import TrustRemoteCode

if TYPE_CHECKING:
    from wordsight.presence.model import PresenceModel


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: wordsight calibrate runs/chan-flickr8k --index photos.index")(calibrate)


def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run, a saved model, a published CLIP, SigLIP, ...")
    ],
    config: DataConfig = None,
    changes: Changes = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INDEX",
            help="Also give them to this index of the model: a folder, or an address. Repeatable.",
        ),
    ] = None,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Fit probabilities: that a picture shows a word, and that it matches a sentence.

    They are learned from the captions of the training pictures, set right on the validation pictures, and
    written into the model's folder; an index that is made of it has them too. Training does this at its end,
    unless [training] calibrate = false.
    """
    from wordsight.presence.saved import FILE
    from wordsight.runs.opening import matcher_folder, open_config
    from wordsight.runs.training import calibrate_model
    from wordsight.runtime.progress import ProgressDisplay
    from wordsight.search.places import index_place, open_index

    chosen = open_config(model, config, changes or (), trust_remote_code)
    folder = matcher_folder(model)
    indexes = [open_index(index_place(one), trust_remote_code) for one in index or ()]
    for opened in indexes:
        opened.check_model(folder)
    began = time.perf_counter()
    with ProgressDisplay() as progress:
        presence = calibrate_model(model, chosen, device, progress, trust_remote_code)
    say_written("probabilities", folder / FILE)
    for opened in indexes:
        opened.adopt_presence(folder)
        say_written("probabilities", opened.name)
    _report(presence, time.perf_counter() - began)


def _report(presence: "PresenceModel", seconds: float) -> None:
    facts = presence.facts
    typer.echo(
        f"{len(presence.words):,} words of {facts['pictures']:,} pictures; area under the curve "
        f"{facts['area_under_curve']:.3f}, calibration error {facts['calibration_error']:.3f}; "
        f"{seconds:.0f} s"
    )
    if not presence.is_calibrated:
        say(
            "uncalibrated: the validation split has too few pictures: these probabilities were set on the "
            "training pictures, and are too sure"
        )
