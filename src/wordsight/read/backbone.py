"""Picture -> Regions: grids and found things, read by any frozen pretrained vision backbone, with boxes."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from wordsight.pairs import Picture
from wordsight.pretrained import grids
from wordsight.pretrained.models import find_model, load_vision, patches, weight_files
from wordsight.read import preprocessing
from wordsight.read.detector import detect, open_detector
from wordsight.read.pixels import WHOLE, Frame, PixelReader
from wordsight.sets import Regions
from wordsight.whole import link_or_copy

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
AT_ONCE = 16  # on a processor: larger slices are no faster, and a deep network's activations take memory
COPY = "reader"  # the folder, inside a saved model, that holds the backbone's files
# what a model's config.json says about labels, files and versions changes no feature
_NO_EFFECT = {
    "id2label",
    "label2id",
    "transformers_version",
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
}


class BackboneReader:
    """Pictures -> Regions through a frozen backbone.

    ResNet, MobileNetV2, ConvNeXt, ViT, DINOv2, DINOv3, CLIP, SigLIP and others that transformers loads.

    ``model``      a hub name, or a folder with config.json, model.safetensors and preprocessor_config.json
    ``grid``       cells along each side, ``"full"`` for the model's own, or several one after the other:
                   ``[1, 2, 4]`` gives 21 regions, the first of which is the whole picture
    ``layers``     the maps to read, side by side in the features: ``"last"`` is the model's output, a number
                   one of its hidden states
    ``root``       signed square root of the features
    ``unit``       features of length 1
    ``fit``        ``"squash"`` sees the whole picture; ``"published"`` only its centre, if the model was
                   trained so
    ``size``       height and width in pixels, in place of the published ones
    ``precision``  ``"float32"``, or ``"bfloat16"`` where the processor has it
    ``revision``   of the hub model
    ``detector``   after the grids come the boxes of what it finds: a hub name, a folder, YOLOX's .onnx
    ``detections`` at most so many boxes per picture, the surest first

    Raises MissingModel if a model is neither here nor to be had from here.
    """

    def __init__(
        self,
        model: str,
        grid: grids.Grid | Sequence[grids.Grid] = "full",
        layers: Sequence[int | str] = ("last",),
        root: bool = False,
        unit: bool = False,
        fit: str = "squash",
        size: int | None = None,
        precision: str = "float32",
        revision: str | None = None,
        detector: str | None = None,
        detections: int = 10,
    ) -> None:
        if detections < 1:
            raise ValueError(
                f"detections = {detections}: a detector is asked for 1 or more; without one, leave it out"
            )
        _one_of("precision", precision, PRECISIONS)
        self.model = str(model)
        self.grid = grid if isinstance(grid, int | str) else list(grid)
        self.layers = list(layers)
        self.root = root
        self.unit = unit
        self.fit = fit
        self.size = size
        self.precision = precision
        self.revision = revision
        self.detector = detector
        self.detections = detections
        self._detector = None if detector is None else open_detector(str(detector))
        self.folder = find_model(self.model, revision, preprocessing.FILES)
        self.pixels: PixelReader = preprocessing.pixel_reader(self.folder, fit, size)
        self._config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self.network = load_vision(self.folder).to(memory_format=torch.channels_last)
        self.device = torch.device("cpu")
        self._arrange()

    def _arrange(self) -> None:
        """One blank picture through the model tells its native grid and feature size."""
        maps = self._maps(torch.zeros(1, 3, self.pixels.height, self.pixels.width))
        self.native = max((features.shape[2], features.shape[3]) for features in maps)
        wanted = self.grid if isinstance(self.grid, list) else [self.grid]
        self.sides = [grids.sides(grid, self.native) for grid in wanted]
        self.boxes = grids.boxes(self.sides, self.native)
        self.feature_dim = sum(features.shape[1] for features in maps)

    @property
    def settings(self) -> dict[str, Any]:
        names = ("model", "grid", "layers", "root", "unit", "fit", "size", "precision", "revision")
        found = (
            {} if self.detector is None else {"detector": str(self.detector), "detections": self.detections}
        )
        return {name: getattr(self, name) for name in names} | found

    @cached_property
    def identity(self) -> str:
        """A hash of all that changes the features: weights, architecture, preprocessing and settings."""
        digest = hashlib.blake2b(digest_size=16)
        for name, weight in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
        architecture = {key: value for key, value in self._config.items() if key not in _NO_EFFECT}
        named = ("model", "revision", "detector")
        settings = {key: value for key, value in self.settings.items() if key not in named}
        told: list[Any] = [architecture, self.pixels.settings, settings]
        if self._detector is not None:
            told += [self._detector.identity, self._detector.pixels.settings]
        digest.update(json.dumps(told, sort_keys=True).encode())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> "BackboneReader":
        self.device = torch.device(device)
        self.network.to(self.device)
        if self._detector is not None:
            self._detector.to(self.device)
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Put the backbone's files into the folder, linked where the disk allows it; returns the settings."""
        home = Path(folder) / COPY
        home.mkdir(parents=True, exist_ok=True)
        extra = [self.folder / name for name in preprocessing.FILES if (self.folder / name).is_file()]
        for source in [self.folder / "config.json", *extra, *weight_files(self.folder)]:
            link_or_copy(source.resolve(), home / source.name)
        copies = {"model": COPY, "revision": None}
        if self._detector is not None:
            copies["detector"] = f"{COPY}/{self._detector.save(home)}"
        return self.settings | copies

    def __call__(self, pictures: Sequence[Picture]) -> Regions:
        """Raises UnreadablePicture, which names the first picture that cannot be decoded and the reason."""
        return self.read([self.prepare(picture) for picture in pictures])

    def prepare(self, picture: Picture) -> Frame:
        """Decode and resize one picture: all that may run in another thread."""
        frame = self.pixels.prepare(picture)
        if self._detector is None:
            return frame
        return replace(frame, whole=self._detector.pixels.prepare(picture).values)

    @torch.no_grad()
    def read(self, frames: Sequence[Frame]) -> Regions:
        """Prepared pictures -> features on the CPU, in float32."""
        step = AT_ONCE if self.device.type == "cpu" else max(len(frames), 1)
        parts = [self._read(frames[start : start + step]) for start in range(0, len(frames), step)]
        return Regions.join(parts) if parts else self._read(frames)

    def _read(self, frames: Sequence[Frame]) -> Regions:
        windows = torch.tensor([frame.window for frame in frames]).view(-1, 4)
        values = self.pixels.stack(frames).values.to(self.device)
        boxes = self.boxes.expand(len(frames), -1, -1)
        mask = torch.ones(boxes.shape[:2], dtype=torch.bool)
        found = None
        if self._detector is not None:
            found, known = self._find(frames, windows)
            boxes, mask = torch.cat([boxes, found], 1), torch.cat([mask, known], 1)
        features = self._features(values, found).cpu()
        return Regions(features * mask[..., None], _in_picture(boxes, windows) * mask[..., None], mask)

    def _find(
        self, frames: Sequence[Frame], windows: Float[Tensor, "image 4"]
    ) -> tuple[Float[Tensor, "image box 4"], Bool[Tensor, "image box"]]:
        """The detections within what the model sees, in fractions of that."""
        assert self._detector is not None
        whole = [Frame(frame.whole, frame.size, WHOLE) for frame in frames if frame.whole is not None]
        boxes, found = detect(self._detector, self._detector.pixels.stack(whole).values, self.detections)
        inside = _in_view(boxes, windows)
        return inside, found & ((inside[..., 2:] - inside[..., :2]).amin(-1) > 0)

    def _features(
        self, values: Float[Tensor, "image 3 height width"], found: Float[Tensor, "image box 4"] | None
    ) -> Float[Tensor, "image region feature"]:
        maps = self._maps(values)
        parts = [grids.pooled(features, self.sides) for features in maps]
        if found is not None:
            inside = [grids.averaged(features, found.to(features.device)) for features in maps]
            parts = [torch.cat(both, 1) for both in zip(parts, inside, strict=True)]
        if self.root:
            parts = [grids.signed_root(part) for part in parts]
        if self.unit:  # each layer counts the same
            parts = [F.normalize(part, dim=-1) / len(parts) ** 0.5 for part in parts]
        return torch.cat(parts, 2)

    @torch.no_grad()
    def _maps(self, values: Tensor) -> list[Float[Tensor, "image _ row column"]]:
        """The map of each layer asked for, in float32."""
        kind, half = self.device.type, self.precision != "float32"
        with torch.autocast(kind, dtype=PRECISIONS[self.precision], enabled=half):
            output = self.network(pixel_values=values, **self._options)
        cut = patches(self.network.config, values.shape[2], values.shape[3])
        return [grids.feature_map(self._states(output, layer).float(), cut) for layer in self.layers]

    @cached_property
    def _options(self) -> dict[str, bool]:
        wanted = {"output_hidden_states": self.layers != ["last"]}
        known = inspect.signature(self.network.forward).parameters
        if self.size is not None and "interpolate_pos_encoding" in known:
            wanted["interpolate_pos_encoding"] = True
        return wanted

    def _states(self, output: Any, layer: int | str) -> Tensor:
        if layer == "last":
            last: Tensor = output.last_hidden_state
            return last
        states = output.hidden_states
        if isinstance(layer, str) or not -len(states) <= layer < len(states):
            raise ValueError(
                f'layers names {layer!r}; {self.model} has "last" and 0 to {len(states) - 1} (or -1, -2, ...)'
            )
        chosen: Tensor = states[layer]
        return chosen


def _one_of(setting: str, value: str, known: Any) -> None:
    if value not in known:
        raise ValueError(f'{setting} = "{value}" is unknown; known: {", ".join(known)}')


def _in_picture(
    boxes: Float[Tensor, "image region 4"], windows: Float[Tensor, "image 4"]
) -> Float[Tensor, "image region 4"]:
    """Boxes in fractions of the window that the model sees -> in fractions of the whole picture."""
    corner, far = windows[:, None, :2], windows[:, None, 2:]
    return corner.repeat(1, 1, 2) + boxes * (far - corner).repeat(1, 1, 2)


def _in_view(
    boxes: Float[Tensor, "image region 4"], windows: Float[Tensor, "image 4"]
) -> Float[Tensor, "image region 4"]:
    """The other way, cut off at the window's edges; a box outside it has no extent left."""
    corner, far = windows[:, None, :2], windows[:, None, 2:]
    return ((boxes - corner.repeat(1, 1, 2)) / (far - corner).repeat(1, 1, 2)).clamp(0, 1)
