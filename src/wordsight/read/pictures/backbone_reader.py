"""Picture -> Regions: grids and found things, read by any frozen pretrained vision backbone, with boxes."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

from jaxtyping import Bool, Float

from wordsight.aliases import previous_settings
from wordsight.pairs import Picture
from wordsight.pretrained import feature_maps
from wordsight.read.base import Reader
from wordsight.read.pictures.backbone_options import BackboneReaderOptions
from wordsight.read.pictures.backbones import open_backbone
from wordsight.read.pictures.detectors import Detections, Detector, detect, open_detector
from wordsight.read.pictures.pixel_reader import FrameReader, PreparedPicture, prepare_for
from wordsight.read.pictures.region_kinds import chances_of_cells, with_kinds
from wordsight.registry.options import takes
from wordsight.runtime.parallel import run_parallel
from wordsight.sets import Regions
from wordsight.tensors import F, Tensor, torch

PIXELS_AT_ONCE = 16 * 224 * 224  # larger slices are no faster, and a deep network's activations take memory
COPY = "reader"  # the folder, inside a saved model, that holds the backbone's files
Ways: TypeAlias = Sequence[bool]  # whether a picture is read mirrored, for each time that it is read
AS_IT_IS, MIRRORED, BOTH_WAYS = (False,), (True,), (False, True)


class BackboneReader(Reader):
    """Pictures -> Regions through a frozen backbone.

    ResNet, MobileNetV2, ConvNeXt, ViT, DINOv2, DINOv3, CLIP, SigLIP, TIPSv2 and others that transformers
    loads; SigLIP 2 NaFlex gives each picture regions in its own shape. It is built with the settings of
    ``BackboneReaderOptions``. Raises MissingModel if a model is neither here nor to be had from here.
    """

    @takes(BackboneReaderOptions)
    def __init__(self, options: BackboneReaderOptions) -> None:
        self.options = options
        self._detector: Detector | None = None
        if options.detector is not None:
            self._detector = open_detector(options.detector, options.detect, options.detector_threshold)
        other_sizes = (options.size or options.high_res_size) is not None
        self.backbone = open_backbone(options.model, options.revision, other_sizes)
        self.device = torch.device("cpu")
        self._views = [self._view(size, grids) for size, grids in options.views]

    def _view(self, size: int | None, grids: Sequence[feature_maps.Grid]) -> "_View":
        """One blank picture through the model tells its own grid at this size."""
        pixels = self.backbone.pixels(self.options.fit, size)
        maps = self._maps(torch.zeros(1, 3, *pixels.square))
        native = max((features.shape[2], features.shape[3]) for features in maps)
        width = sum(features.shape[1] for features in maps)
        view = _View(pixels, native, list(grids), width, self.backbone.keeps_shape)
        view.sides_of(native)  # an error comes before any picture is read
        return view

    @property
    def pixels(self) -> FrameReader:
        return self._views[0].pixels

    @property
    def native(self) -> tuple[int, int]:
        """Rows and columns of the model's own cells."""
        return self._views[0].native

    @property
    def feature_dim(self) -> int:
        kinds = 0 if self._detector is None or not self.options.kinds_weight else self._detector.kind_count
        return self._views[0].feature_dim + kinds

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that decide about the features; a feature store holds them."""
        named = {"detect": list(self.phrases)} if self.phrases else {}
        return self.options.to_settings() | named

    @property
    def phrases(self) -> tuple[str, ...]:
        """Phrases that the detector finds; the labels of regions number them from 1."""
        return () if self._detector is None else self._detector.phrases

    @cached_property
    def identity(self) -> str:
        """A hash of all that changes the features: weights, architecture, preprocessing and settings."""
        digest = hashlib.blake2b(digest_size=16)
        for part in self.backbone.weights():
            digest.update(part)
        named = ("model", "revision", "detector")
        settings = {key: value for key, value in self.settings.items() if key not in named}
        settings = previous_settings(settings)  # features that were stored under the old names stay valid
        hashed: list[Any] = [self.backbone.architecture, self.pixels.settings, settings]
        if self._detector is not None:
            hashed += [self._detector.identity, self._detector.pixels.settings]
        digest.update(json.dumps(hashed, sort_keys=True).encode())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> "BackboneReader":
        self.device = torch.device(device)
        self.backbone.to(self.device)
        if self._detector is not None:
            self._detector.to(self.device)
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Put the backbone's files into the folder, linked where the disk allows it; returns the settings."""
        home = Path(folder) / COPY
        home.mkdir(parents=True, exist_ok=True)
        copies = {"model": self.backbone.save(home), "revision": None}
        if self._detector is not None:
            copies["detector"] = f"{COPY}/{self._detector.save(home)}"
        return self.settings | copies

    def __call__(self, pictures: Sequence[Picture]) -> Regions:
        """Raises UnreadablePicture, which names the first picture that cannot be decoded and the reason."""
        return self.read([self.prepare(picture) for picture in pictures])

    def prepare(self, picture: Picture) -> PreparedPicture:
        """Decode and resize one picture: all that may run in another thread."""
        readers = [view.pixels for view in self._views]
        if self._detector is not None:
            readers.append(self._detector.pixels)
        frame, *others = prepare_for(readers, picture)
        return replace(frame, others=tuple(others))

    def read(self, frames: Sequence[PreparedPicture]) -> Regions:
        """Prepared pictures -> features on the CPU, in float32."""
        return self._in_slices(frames, BOTH_WAYS if self.options.mirrored else AS_IT_IS)

    def read_one_way(self, frames: Sequence[PreparedPicture], mirrored: bool) -> Regions:
        """The pictures as they are, or mirrored: what ``mirrored = true`` takes the mean of.

        A region has the same number in both, and its box is a place in what was read.
        """
        if not mirrored:
            return self._in_slices(frames, AS_IT_IS)
        regions = self._in_slices(frames, MIRRORED)
        assert regions.boxes is not None
        return replace(regions, boxes=feature_maps.mirrored(regions.boxes) * regions.mask[..., None])

    def _in_slices(self, frames: Sequence[PreparedPicture], ways: Ways) -> Regions:
        read = partial(self._read, ways=ways)
        if self.device.type != "cpu" or not frames:
            return read(frames)
        step = min(self._pictures_at_once, -(-len(frames) // torch.get_num_threads()))
        slices = [frames[start : start + step] for start in range(0, len(frames), step)]
        return Regions.join(run_parallel(read, slices))

    @cached_property
    def _pictures_at_once(self) -> int:
        """Pictures that are read together on a processor."""
        largest = max(math.prod(view.pixels.square) for view in self._views)
        return max(PIXELS_AT_ONCE // largest, 1)

    def _read(self, frames: Sequence[PreparedPicture], ways: Ways) -> Regions:
        """Pictures of one shape are read together."""
        if not self.backbone.keeps_shape:
            return self._read_alike(frames, ways)
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row, frame in enumerate(frames):
            shapes = [one.values.shape for one in (frame, *frame.others)]
            groups.setdefault(tuple(shapes), []).append(row)
        parts = [self._read_alike([frames[row] for row in rows], ways) for rows in groups.values()]
        order = torch.tensor([row for rows in groups.values() for row in rows], dtype=torch.long)
        return Regions.join(parts)[order.argsort()] if parts else self._read_alike(frames, ways)

    @torch.no_grad()
    def _read_alike(self, frames: Sequence[PreparedPicture], ways: Ways) -> Regions:
        windows = torch.tensor([frame.window for frame in frames]).view(-1, 4)
        things = None if self._detector is None else self._find(frames, windows)
        read = [self._features(frames, things, mirrored) for mirrored in ways]
        cells, features = read[0][0], torch.stack([features for _, features in read]).mean(0)
        mask = torch.ones(cells.shape[:2], dtype=torch.bool)
        if things is None:
            return self._regions(features, cells, mask, windows)
        regions = self._regions(
            features, torch.cat([cells, things.boxes], 1), torch.cat([mask, things.found], 1), windows
        )
        if not self.phrases:
            return regions
        labels = (things.chances.argmax(-1) + 1) * things.found
        return replace(regions, labels=F.pad(labels, (cells.shape[1], 0)))

    def _features(
        self, frames: Sequence[PreparedPicture], things: Detections | None, mirrored: bool
    ) -> tuple[Float[Tensor, "image cell 4"], Float[Tensor, "image region feature"]]:
        """Boxes of the cells, and features of cells and things, at their places in the picture as it is."""
        boxes, features, maps = [], [], []
        for number, view in enumerate(self._views):
            values = view.pixels.stack([_other(frame, number) for frame in frames]).values
            maps = self._maps(values.flip(-1) if mirrored else values)
            maps = [layer.flip(-1) for layer in maps] if mirrored else maps
            native = max((layer.shape[2], layer.shape[3]) for layer in maps)
            sides = view.sides_of(native)
            features.append(self._side_by_side([feature_maps.pooled(layer, sides) for layer in maps]))
            boxes.append(feature_maps.boxes(sides, native).expand(len(frames), -1, -1))
        cells = torch.cat(boxes, 1)
        if things is None:
            return cells, torch.cat(features, 1)
        inside = [feature_maps.averaged(layer, things.boxes.to(layer.device)) for layer in maps]
        whole = torch.cat([*features, self._side_by_side(inside)], 1)
        if self.options.kinds_weight:
            kinds = [chances_of_cells(cells, things.boxes, things.chances), things.chances]
            whole = with_kinds(whole, torch.cat(kinds, 1), self.options.kinds_weight)
        return cells, whole

    @staticmethod
    def _regions(
        features: Float[Tensor, "image region feature"],
        boxes: Float[Tensor, "image region 4"],
        mask: Bool[Tensor, "image region"],
        windows: Float[Tensor, "image 4"],
    ) -> Regions:
        """Regions on the processor, zeros where one only pads; the boxes are fractions of the window."""
        places = feature_maps.in_picture(boxes, windows)
        return Regions(features.cpu() * mask[..., None], places * mask[..., None], mask)

    def _find(self, frames: Sequence[PreparedPicture], windows: Float[Tensor, "image 4"]) -> Detections:
        """The detections within what the model sees, in fractions of that."""
        assert self._detector is not None
        seen = [frame.others[-1] for frame in frames]
        boxes, found, chances = detect(self._detector, seen, self.options.detections)
        inside = feature_maps.in_window(boxes, windows)
        found &= (inside[..., 2:] - inside[..., :2]).amin(-1) > 0
        return Detections(inside, found, chances * found[..., None])

    def _side_by_side(
        self, layers: list[Float[Tensor, "image region _"]]
    ) -> Float[Tensor, "image region feature"]:
        """Join the layers' features of the same regions, as the settings say."""
        if self.options.signed_sqrt:
            layers = [feature_maps.signed_root(layer) for layer in layers]
        if self.options.unit:  # each layer counts the same
            layers = [F.normalize(layer, dim=-1) / len(layers) ** 0.5 for layer in layers]
        return torch.cat(layers, 2)

    def _maps(self, values: Tensor) -> list[Float[Tensor, "image _ row column"]]:
        """The map of each chosen layer, in float32."""
        return self.backbone.maps(values, self.options.layers, self.options.precision)


@dataclass(frozen=True)
class _View:
    """One size at which the model reads a picture, and the cells that are read there."""

    pixels: FrameReader
    native: tuple[int, int]  # rows, columns; of a square picture where pictures keep their shape
    grids: list[feature_maps.Grid]
    feature_dim: int
    keeps_shape: bool

    def sides_of(self, native: tuple[int, int]) -> list[tuple[int, int]]:
        """Rows and columns of cells of each grid; a long picture may have fewer than its grid says."""
        if native == self.native or not self.keeps_shape:
            return [feature_maps.sides(grid, native) for grid in self.grids]
        rows, columns = native
        cells = (native if isinstance(grid, str) else (grid, grid) for grid in self.grids)
        return [(min(high, rows), min(wide, columns)) for high, wide in cells]


def _other(frame: PreparedPicture, number: int) -> PreparedPicture:
    return frame.others[number - 1] if number else frame
