"""Options of a detector whose boxes are regions, of index and features extract."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class DetectorOptions:
    """A detector, and what it finds."""

    detector: Annotated[
        str | None,
        typer.Option(help="Detector whose boxes are regions too: a hub name, a folder, or a YOLOX as .onnx."),
    ] = None
    detect: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help='What a detector that reads text (Grounding DINO, OWLv2) finds: "dog, red frisbee"; by '
            "default the 80 kinds of things of COCO.",
        ),
    ] = None
    detections: Annotated[
        int | None, typer.Option(min=1, help="Boxes per picture at most [default: 10].")
    ] = None
    detector_threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="How sure such a detector must be of a box; by default as published."
        ),
    ] = None

    def check(self) -> None:
        """Raise InputError for words without a detector, and for words where its name belongs."""
        if self.detector is None and self.detect is None and not self.settings:
            return
        from wordsight.read.pictures.phrases import check_detector_name

        check_detector_name(self.detector, self.detect)
        if self.detector is None:
            raise typer.BadParameter("--detections and --detector-threshold need a --detector")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the backbone reader; those that are left out have its defaults."""
        names = ("detector", "detect", "detections", "detector_threshold")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@contextmanager
def model_with(boxes: DetectorOptions, model: str | None, trust_remote_code: bool) -> Iterator[str | None]:
    """Name of the model for an index: as given, or a copy with the detector of the options, for the block."""
    if boxes.detector is None:
        yield model
        return
    if model is None:
        raise typer.BadParameter(
            "--detector is a part of the model that reads the pictures; give --model too"
        )
    from tempfile import TemporaryDirectory

    from wordsight.matcher.change_detector import change_detector
    from wordsight.runs.opening import matcher_folder

    home = matcher_folder(model)
    with TemporaryDirectory() as folder:
        out = Path(folder) / Path(model).name
        yield str(change_detector(home, out, boxes.settings, trust_remote_code))
