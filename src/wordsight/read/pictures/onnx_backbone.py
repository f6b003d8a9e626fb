"""An image network in an ONNX file, and the small JSON next to it, as a backbone: pictures -> a spatial map.

``network.json`` next to ``network.onnx``; every key may be left out:

``size``      height and width in pixels, or one number for both; else the size that the file fixes
``mean``      per channel, of values in [0, 1]; else ImageNet's
``std``       the same
``channels``  ``"rgb"`` or ``"bgr"``
``resample``  how pictures are resized: ``"bilinear"``, ``"bicubic"``, ...
``output``    the name of the output with the map; else the first of the right shape

A map is [image, channel, row, column], its last two sides alike or the first two (a network with its channels
last); [image, token, channel] is laid out in rows, leading class tokens left out.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any

from jaxtyping import Float

from wordsight.errors import InputError
from wordsight.files import plain_json
from wordsight.files.atomic import link_or_copy
from wordsight.files.fingerprint import content_of
from wordsight.pretrained import feature_maps
from wordsight.read.pictures.onnx_session import CPU, ONNX, first_line, open_session, run_session
from wordsight.read.pictures.pixel_reader import PixelReader
from wordsight.registry import instantiate
from wordsight.tensors import Tensor, torch

KEYS = ("size", "mean", "std", "channels", "resample", "output")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PROVIDERS = {"cpu": CPU, "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}


class OnnxBackbone:
    """A network that onnxruntime runs. Raises MissingModel, MissingPackageError, InputError."""

    keeps_shape = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = _description(path.with_suffix(".json"))
        self._provider = CPU
        self._session = open_session(path)
        self._input = self._session.get_inputs()[0]
        self._channels_last = self._input.shape[-1] == 3 and self._input.shape[1] != 3
        self.architecture = {"onnx": self.description}

    def pixels(self, fit: str, size: int | None) -> PixelReader:
        """Whole pictures at the network's size; ``size`` replaces it where the file leaves it open."""
        if fit != "squash":
            raise InputError(
                f'fit = "{fit}" is for published models that say how; {self.path.name} sees the whole picture'
            )
        fixed, chosen = self._fixed_size(), size or self.description.get("size")
        if fixed is not None and chosen not in (None, fixed, fixed[0] if fixed[0] == fixed[1] else None):
            raise InputError(
                f"{self.path.name} reads pictures of {fixed[0]} x {fixed[1]} pixels, not of size = {chosen}"
            )
        if fixed is None and chosen is None:
            raise InputError(
                f"{self.path.name} does not fix the size of its pictures",
                f'write it into {self.path.with_suffix(".json").name}: {{"size": 224}}',
            )
        shown = {key: self.description[key] for key in ("resample",) if key in self.description}
        normalization = {key: self.description.get(key, usual) for key, usual in IMAGENET.items()}
        settings = {"size": fixed or chosen} | normalization | shown
        made: PixelReader = instantiate(PixelReader, f"{self.path.with_suffix('.json')}:", settings)
        return made

    def maps(
        self, values: Float[Tensor, "image 3 height width"], layers: Sequence[int | str], precision: str
    ) -> list[Float[Tensor, "image _ row column"]]:
        """The network's map, once: a file has no hidden states."""
        if list(layers) != ["last"]:
            raise InputError(f'layers = {list(layers)}: {self.path.name} has only "last"')
        if precision != "float32":
            raise InputError(
                f'precision = "{precision}": {self.path.name} computes in the one it was made in'
            )
        given = values.cpu().flip(1) if self.description.get("channels") == "bgr" else values.cpu()
        array = (given.permute(0, 2, 3, 1) if self._channels_last else given).numpy()
        output = self._output
        try:
            found = run_session(self._session, array, output)
        except Exception as error:  # onnxruntime's own classes, which differ between its versions
            raise InputError(f"{self.path} does not take {list(array.shape)}: {first_line(error)}") from error
        return [_spatial(torch.from_numpy(found).float())]

    def weights(self) -> Iterator[bytes]:
        yield content_of(self.path).encode()

    def to(self, device: torch.device) -> None:
        """Run on a GPU where onnxruntime was built for it; else say so."""
        import onnxruntime

        provider = PROVIDERS.get(device.type, "")
        if provider == self._provider:
            return
        if provider not in onnxruntime.get_available_providers():
            raise InputError(
                f"this onnxruntime cannot run {self.path.name} on {device}; it has "
                f"{', '.join(onnxruntime.get_available_providers())}",
                "install onnxruntime-gpu, or leave the device out",
            )
        self._session, self._provider = open_session(self.path, provider), provider

    def save(self, home: Path) -> str:
        """Put the file and its description into the folder; returns the path below the folder's parent."""
        for source in (self.path, self.path.with_suffix(".json")):
            if source.is_file():
                link_or_copy(source.resolve(), home / f"backbone{source.suffix}")
        return f"{home.name}/backbone{ONNX}"

    def _fixed_size(self) -> list[int] | None:
        sides = list(self._input.shape[1:3] if self._channels_last else self._input.shape[2:4])
        return sides if all(isinstance(side, int) for side in sides) else None

    @cached_property
    def _output(self) -> str:
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        wanted = self.description.get("output")
        if wanted is not None and wanted not in outputs:
            raise InputError(f"{self.path.name} has no output {wanted!r}; it has {', '.join(outputs)}")
        spatial = [name for name, shape in outputs.items() if len(shape) == 4]
        spatial += [name for name, shape in outputs.items() if len(shape) == 3]
        if wanted is None and not spatial:
            raise InputError(
                f"{self.path.name} gives no map: its outputs are "
                + ", ".join(f"{name} {list(shape)}" for name, shape in outputs.items()),
                "export the network without its pooling and classifier",
            )
        return str(wanted or spatial[0])


def _spatial(values: Tensor) -> Float[Tensor, "image channel row column"]:
    if values.ndim == 4 and values.shape[1] == values.shape[2] != values.shape[3]:
        return values.permute(0, 3, 1, 2)
    side = isqrt(values.shape[1])
    return feature_maps.feature_map(values, (side, side))


def _description(path: Path) -> dict[str, Any]:
    """The settings next to the file, checked; none without a JSON."""
    if not path.is_file():
        return {}
    found = plain_json.read(path)
    strange = [key for key in found if key not in KEYS] if isinstance(found, dict) else []
    if not isinstance(found, dict) or strange:
        name = f"has {strange[0]!r}" if strange else "is no object"
        raise InputError(f"{path} {name}; known: {', '.join(KEYS)}")
    if found.get("channels", "rgb") not in ("rgb", "bgr"):
        raise InputError(f'{path} has channels {found["channels"]!r}; known: "rgb", "bgr"')
    if not isinstance(found.get("output", ""), str):
        raise InputError(f"{path} has output {found['output']!r}; expected the name of an output")
    return found
