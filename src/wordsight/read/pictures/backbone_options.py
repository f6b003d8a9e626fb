"""Settings of a backbone reader -> which pictures, cells, layers and boxes it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wordsight.errors import InputError
from wordsight.pretrained.feature_maps import Grid
from wordsight.read.pictures.backbones import PRECISIONS
from wordsight.read.pictures.phrases import check_detector_name
from wordsight.registry.limits import NotNegative, PixelSide, Share, Size


@dataclass(frozen=True)
class BackboneReaderOptions:
    """Settings of a BackboneReader.

    ``model``      a hub name, a folder with config.json, model.safetensors and preprocessor_config.json, or a
                   file that ends in .onnx (``onnx_backbone`` says what its JSON may hold)
    ``grid``       cells along each side, ``"full"`` for the model's own, or several one after the other:
                   ``[1, 2, 4]`` gives 21 regions, the first of which is the whole picture
    ``layers``     the maps to read, side by side in the features: ``"last"`` is the model's output, a number
                   one of its hidden states
    ``signed_sqrt``  signed square root of the features
    ``unit``       features of length 1
    ``fit``        ``"squash"`` sees the whole picture; ``"published"`` only its centre, if the model was
                   trained so
    ``size``       height and width in pixels, in place of the published ones
    ``precision``  ``"float32"``, or ``"bfloat16"`` where the processor has it
    ``revision``   of the hub model
    ``high_res_size``  height and width in pixels at which the picture is read again, for finer regions
    ``high_res_grid``  the cells that are read there, after those of ``grid``
    ``detector``   adds the boxes that it finds, after all cells, read at ``high_res_size`` if that is given:
                   a hub name, a folder, or YOLOX's .onnx
    ``detections``  at most so many boxes per picture, the surest first
    ``detect``     what a detector that reads text (Grounding DINO, OWLv2) finds: ["dog", "red frisbee"] or
                   "dog, red frisbee"; by default the 80 kinds of things of COCO
    ``detector_threshold``  boxes of such a detector that are less sure (0 to 1) are left out; by default as
                   published
    ``kinds_weight``  above 0, the detector's chance of each kind of thing stands beside the features of every
                   region, that of a sure kind with so many times their length
    ``mirrored``   each picture is read mirrored left to right as well, and the features of a region are the
                   mean of both; twice the time, and no more regions
    """

    model: str
    grid: Grid | Sequence[Grid] = "full"
    layers: Sequence[int | str] = ("last",)
    signed_sqrt: bool = False
    unit: bool = False
    fit: str = "squash"
    size: PixelSide | None = None
    precision: str = "float32"
    revision: str | None = None
    high_res_size: PixelSide | None = None
    high_res_grid: Grid | Sequence[Grid] = ()
    detector: str | None = None
    detections: Size = 10
    kinds_weight: NotNegative = 0.0
    detect: str | Sequence[str] | None = None
    detector_threshold: Share | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise InputError(f'precision = "{self.precision}" is unknown; known: {known}')
        if self.detections < 1:
            raise InputError(
                f"detections = {self.detections}; expected at least 1, or no detector and no detections"
            )
        if self.kinds_weight and self.detector is None:
            raise InputError(f"kinds_weight = {self.kinds_weight:g} needs a detector, which tells the kinds")
        check_detector_name(self.detector, self.detect)
        self._check_high_res()

    def _check_high_res(self) -> None:
        cells = not isinstance(self.high_res_grid, Sequence) or len(self.high_res_grid) > 0
        if self.high_res_size is None and cells:
            raise InputError(
                f"high_res_grid = {self.high_res_grid!r} needs high_res_size, the size in pixels at which it "
                "is read"
            )
        if self.high_res_size is not None and not cells and self.detector is None:
            raise InputError(
                f"high_res_size = {self.high_res_size} is read for nothing: give high_res_grid or a detector"
            )

    @property
    def views(self) -> list[tuple[PixelSide | None, Sequence[Grid]]]:
        """The sizes at which a picture is read, and the grids that are read at each."""
        views: list[tuple[PixelSide | None, Sequence[Grid]]] = [(self.size, _listed(self.grid))]
        if self.high_res_size is not None:
            views.append((self.high_res_size, _listed(self.high_res_grid)))
        return views

    def to_settings(self) -> dict[str, Any]:
        """The settings that decide about the features, as JSON has them; they build an equal reader."""
        names = ["model", "grid", "layers", "signed_sqrt", "unit", "fit", "size", "precision", "revision"]
        if self.high_res_size is not None:
            names += ["high_res_size", "high_res_grid"]
        if self.detector is not None:
            names += ["detector", "detections"]
            names += [name for name in ("detect", "detector_threshold") if getattr(self, name) is not None]
        names += [name for name in ("kinds_weight", "mirrored") if getattr(self, name)]
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _listed(grid: Grid | Sequence[Grid]) -> Sequence[Grid]:
    return [grid] if isinstance(grid, int | str) else grid
