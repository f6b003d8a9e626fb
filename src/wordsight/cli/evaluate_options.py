"""Options of the command evaluate: data, scores, numbers, annotations and what is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

TIES = ("pessimistic", "reference")


@dataclass(frozen=True)
class ScoreOptions:
    """Matrices of scores, and how several of them become one."""

    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Measure this matrix (.npy, images x texts; also a pickled results_*.npy); several, or "
            "one with models, are averaged."
        ),
    ] = None
    captions: Annotated[int, typer.Option(min=1, help="With --scores alone: texts per image.")] = 5
    weights: Annotated[
        str | None, typer.Option(help="Weights of the average, e.g. 0.6,0.4: models first, then --scores.")
    ] = None
    standardize: Annotated[
        bool, typer.Option("--standardize", help="Bring each matrix to mean 0 and spread 1 before averaging.")
    ] = False

    def weight_of_each(self) -> list[float] | None:
        try:
            return None if self.weights is None else [float(part) for part in self.weights.split(",")]
        except ValueError:
            raise typer.BadParameter(
                f"--weights {self.weights}; expected numbers with commas, e.g. 0.6,0.4"
            ) from None


@dataclass(frozen=True)
class MeasureOptions:
    """The numbers that are computed, and by which rules."""

    protocol: Annotated[
        str | None,
        typer.Option(
            help="f30k, f8k, coco-5k, coco-1k-5fold, cuhk-pedes, icfg-pedes, rstp-reid or all; "
            "else the configuration's."
        ),
    ] = None
    ties: Annotated[
        str | None,
        typer.Option(
            help="Order of equal scores. pessimistic: against the query; reference: the larger index wins."
        ),
    ] = None
    precision: Annotated[
        str | None, typer.Option(help="float32, int8 (certified: the same ranks) or auto.")
    ] = None
    average_precision: Annotated[
        bool | None,
        typer.Option(
            "--map/--no-map", help="Also mAP, mINP, R-precision and mAP@R; by default in person search."
        ),
    ] = None
    cmpl_map: Annotated[
        bool,
        typer.Option(
            "--cmpl-map",
            help="Also mAP as CMPL's code computes it: each match leaves itself out, so it is lower.",
        ),
    ] = False
    intervals: Annotated[bool, typer.Option(help="Bootstrap 95 % intervals.")] = True

    def settings(self) -> dict[str, Any]:
        """Settings of [evaluation] that were given."""
        return {
            "protocol": self.protocol,
            "ties": None if self.ties is None else self.order_of_ties(),
            "precision": self.precision,
            "average_precision": True if self.cmpl_map else self.average_precision,
        }

    def order_of_ties(self) -> Any:
        name = self.ties or TIES[0]
        if name not in TIES:
            raise typer.BadParameter(f"--ties {name}; known: {', '.join(TIES)}")
        return name


@dataclass(frozen=True)
class AnnotationOptions:
    """Human annotations to measure by."""

    relevance: Annotated[
        str | None,
        typer.Option(help="Measure by annotations instead: cxc, eccv, or the name of your own files."),
    ] = None
    annotations: Annotated[
        Path | None, typer.Option(help="With --relevance: the folder of the annotation files.")
    ] = None
    zero_diagonal: Annotated[
        bool,
        typer.Option(
            "--zero-diagonal", help="With --relevance cxc: score an item 0 with itself, as VSE-infinity does."
        ),
    ] = False
    objects: Annotated[
        Path | None,
        typer.Option(
            help="Known boxes, to measure whether words point at what they name: the folder of Flickr30k "
            "Entities, COCO's instances_*.json, or JSON lines with picture, sentence, word and box."
        ),
    ] = None
    hard_negatives: Annotated[
        Path | None,
        typer.Option(
            help="Measure instead how often a caption beats one that was made wrong on purpose: a file or a "
            "folder of SugarCrepe, ARO or Winoground, or a table with picture, caption and negative."
        ),
    ] = None

    def check(self, models: int, scores: int) -> None:
        if (self.relevance is None) != (self.annotations is None):
            raise typer.BadParameter(
                "--relevance says which annotations, --annotations where they are; give both"
            )
        if self.objects is not None and (self.relevance is not None or models != 1 or scores):
            raise typer.BadParameter(
                "--objects measures where the words of one MODEL point; leave out --relevance and --scores"
            )
        others = self.relevance is not None or self.objects is not None
        if self.hard_negatives is not None and (others or models != 1 or scores):
            raise typer.BadParameter(
                "--hard-negatives measures one MODEL; leave out --relevance, --objects and --scores"
            )


@dataclass(frozen=True)
class ReportOptions:
    """The files that are written, and the form of what is printed."""

    save_scores: Annotated[Path | None, typer.Option(help="Also write the score matrix as .npy.")] = None
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with the numbers and where words were found.")
    ] = None
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="With --report or --hard-negatives: the folder of the pictures, where the data holds "
            "features only (or names another folder)."
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False
