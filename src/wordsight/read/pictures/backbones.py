"""Frozen vision networks that give spatial maps: any that transformers loads, or any in an ONNX file."""

import inspect
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.files.atomic import link_or_copy
from wordsight.pretrained import feature_maps, naflex
from wordsight.pretrained.models import find_model, load_vision, model_files, patches
from wordsight.read.pictures import preprocessor_config
from wordsight.read.pictures.onnx_backbone import OnnxBackbone
from wordsight.read.pictures.onnx_session import ONNX
from wordsight.read.pictures.pixel_reader import FrameReader
from wordsight.tensors import Tensor, torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Layer = int | str  # "last" is the network's output, a number one of its hidden states
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


@runtime_checkable
class Backbone(Protocol):
    """A frozen network, and how it wants its pictures."""

    architecture: dict[str, Any]  # what changes the features, apart from the weights

    @property
    def keeps_shape(self) -> bool: ...  # whether pictures have maps of their own shapes
    def pixels(self, fit: str, size: int | None) -> FrameReader: ...
    def maps(
        self, values: Float[Tensor, "image 3 height width"], layers: Sequence[Layer], precision: str
    ) -> list[Float[Tensor, "image _ row column"]]: ...
    def weights(self) -> Iterator[bytes]: ...  # all of them, in a fixed order
    def to(self, device: torch.device) -> None: ...
    def save(self, home: Path) -> str: ...


def open_backbone(model: str, revision: str | None, other_sizes: bool) -> Backbone:
    """A hub name, a folder, or a file that ends in .onnx. Raises MissingModel, InputError.

    ``other_sizes``: pictures are read at other sizes than the published one.
    """
    if model.endswith(ONNX):
        return OnnxBackbone(Path(model).expanduser())
    return TransformersBackbone(find_model(model, revision, preprocessor_config.FILES), model, other_sizes)


class TransformersBackbone:
    """ResNet, ConvNeXt, ViT, DINOv2, DINOv3, CLIP, SigLIP, TIPSv2 and others that transformers loads."""

    def __init__(self, folder: Path, name: str, other_sizes: bool) -> None:
        self.folder, self.name, self.other_sizes = folder, name, other_sizes
        config = plain_json.read(folder / "config.json")
        self.architecture = {key: value for key, value in config.items() if key not in _NO_EFFECT}
        self.network = load_vision(folder).to(memory_format=torch.channels_last)
        self.device = torch.device("cpu")

    def pixels(self, fit: str, size: int | None) -> FrameReader:
        return preprocessor_config.pixel_reader(self.folder, fit, size)

    @torch.no_grad()
    def maps(
        self, values: Float[Tensor, "image 3 height width"], layers: Sequence[Layer], precision: str
    ) -> list[Float[Tensor, "image _ row column"]]:
        """The map of each layer, in float32."""
        half = precision != "float32"
        with torch.autocast(self.device.type, dtype=PRECISIONS[precision], enabled=half):
            hidden = {"output_hidden_states": list(layers) != ["last"]}
            output = self.network(**self._shown(values.to(self.device)), **hidden, **self._options)
        cut = patches(self.network.config, values.shape[2], values.shape[3])
        return [feature_maps.feature_map(self._states(output, layer).float(), cut) for layer in layers]

    @property
    def keeps_shape(self) -> bool:
        return naflex.is_naflex(self.network.config)

    def _shown(self, values: Tensor) -> dict[str, Tensor]:
        """Pixels as the network takes them."""
        if self.keeps_shape:
            return naflex.cut(values, None, self.network.config.patch_size)
        return {"pixel_values": values}

    @cached_property
    def _options(self) -> dict[str, bool]:
        known = inspect.signature(self.network.forward).parameters
        interpolates = self.other_sizes and "interpolate_pos_encoding" in known
        return {"interpolate_pos_encoding": True} if interpolates else {}

    def _states(self, output: Any, layer: Layer) -> Tensor:
        if layer == "last":
            last: Tensor = output.last_hidden_state
            return last
        states = output.hidden_states
        if isinstance(layer, str) or not -len(states) <= layer < len(states):
            raise InputError(
                f'layers names {layer!r}; {self.name} has "last" and 0 to {len(states) - 1} (or -1, -2, ...)'
            )
        chosen: Tensor = states[layer]
        return chosen

    def weights(self) -> Iterator[bytes]:
        for name, weight in sorted(self.network.state_dict().items()):
            yield f"{name} {tuple(weight.shape)}".encode()
            yield weight.detach().cpu().float().contiguous().numpy().tobytes()

    def to(self, device: torch.device) -> None:
        self.device = device
        self.network.to(device)

    def save(self, home: Path) -> str:
        """Put the files into the folder, linked where the disk allows it; returns the folder's name."""
        for source in model_files(self.folder, preprocessor_config.FILES):
            link_or_copy(source.resolve(), home / source.name)
        return home.name
