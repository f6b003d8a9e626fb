"""A part of a matcher and an example of its input -> an ONNX file with free numbers of items."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import config
from torch import Tensor, nn

from wordsight.errors import InputError, MissingPackageError
from wordsight.runtime.exporting import exporting
from wordsight.sets import EmbeddingSet, Pixels, Regions, Tokens

OPSET = 17
MAPPED_BYTES, MAPPED_WEIGHT = 1 << 22, 1 << 14  # a smaller file is read at once; a smaller weight stays in it
FREE = {
    "ids": ("text", "word"),
    "mask": ("item_set", "item"),
    "features": ("image", "region"),
    "boxes": ("image", "region"),
    "values": ("image",),
}


@dataclass(frozen=True)
class Example:
    """A batch that shows a side how it is called; its tensors by the names of the file's inputs."""

    kind: type[Tokens] | type[Regions] | type[Pixels]
    tensors: Mapping[str, Tensor]


class _Side(nn.Module):
    """An encoder that takes and returns plain tensors."""

    def __init__(self, encoder: Any, example: Example) -> None:
        super().__init__()
        self.encoder, self.kind, self.names = encoder, example.kind, tuple(example.tensors)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given: dict[str, Any] = dict(zip(self.names, tensors, strict=True))
        if self.kind is Regions:
            given.setdefault("boxes", None)
        found: EmbeddingSet = self.encoder(self.kind(**given))
        return (
            (found.vectors, found.mask) if found.boxes is None else (found.vectors, found.mask, found.boxes)
        )


def write_side(encoder: Any, example: Example, path: Path) -> tuple[str, ...]:
    """Write an encoder; returns the names of its inputs, those that it reads."""
    names = tuple(example.tensors)
    axes = {name: dict(enumerate(FREE[name])) for name in names}
    axes |= {name: {0: "n", 1: "vector"} for name in ("vectors", "vector_mask", "vector_boxes")}
    outputs = ["vectors", "vector_mask", "vector_boxes"]
    write_graph(_Side(encoder, example), list(example.tensors.values()), path, names, outputs, axes)
    return _read_inputs(path)


def write_graph(
    module: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    names: Sequence[str],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Trace a module into a file. Raises InputError for one that ONNX cannot say, MissingPackageError."""
    try:
        import onnx  # noqa: F401 (torch's exporter needs it)
    except ImportError:
        raise MissingPackageError("an export needs onnx", "pip install 'wordsight[train]'") from None
    module = deepcopy(module)  # the exporter folds batch norms into the weights that it is given
    _fix_positions(module)
    with torch.no_grad():
        count = len(module(*inputs)) if isinstance(module, _Side) else len(outputs)
    with warnings.catch_warnings(), torch.no_grad(), _traceable(module), exporting():
        warnings.simplefilter("ignore")  # on values that become constants: the check of the file decides
        try:
            torch.onnx.export(
                module, tuple(inputs), str(path), input_names=list(names), output_names=list(outputs[:count]),
                dynamic_axes={name: dict(axes[name]) for name in (*names, *outputs[:count])},
                opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path.stem} cannot be written as ONNX: {first}") from error


def _fix_positions(module: nn.Module) -> None:
    """Positions of TIPSv2 as they are: a trace would stretch them, even to their own size, as ONNX cannot."""
    for part in module.modules():
        if type(part).__name__ == "Tipsv2VisionEmbeddings":
            positions: Any = part.position_embeddings
            part.interpolate_pos_encoding = lambda *_, fixed=positions: fixed  # type: ignore[assignment]


class _traceable:  # noqa: N801
    """Inside the block attention is made of plain products, and shapes are not checked: sizes are tensors."""

    def __init__(self, module: nn.Module) -> None:
        configs: list[Any] = [getattr(part, "config", None) for part in module.modules()]
        self.configs = [one for one in configs if hasattr(one, "_attn_implementation")]
        self.before = [one._attn_implementation for one in self.configs]
        # the fast path of MultiheadAttention is one operator of torch's own
        self.fast = torch.backends.mha.get_fastpath_enabled()

        self.unchecked = config.jaxtyping_disable

    def __enter__(self) -> None:
        config.update("jaxtyping_disable", True)
        for one in self.configs:
            one._attn_implementation = "eager"
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *error: object) -> None:
        config.update("jaxtyping_disable", self.unchecked)
        for one, before in zip(self.configs, self.before, strict=True):
            one._attn_implementation = before
        torch.backends.mha.set_fastpath_enabled(self.fast)


def _read_inputs(path: Path) -> tuple[str, ...]:
    """The inputs that the file reads: an encoder need not read boxes."""
    import onnx

    return tuple(one.name for one in onnx.load(str(path), load_external_data=False).graph.input)


def move_weights_to_sidecar(path: Path) -> None:
    """Move the large weights of a file into ``NAME.onnx.data``, which onnxruntime maps and does not copy.

    A session then opens in a third of the time: a sentence needs few rows of a table of words.
    """
    import onnx

    if path.stat().st_size < MAPPED_BYTES:
        return
    sidecar = path.with_name(f"{path.name}.data")
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location=sidecar.name, size_threshold=MAPPED_WEIGHT
    )
    sidecar.chmod(path.stat().st_mode)  # onnx makes it readable for one user


def write_int8(source: Path, target: Path) -> None:
    """Write the file again with the weights of its matrix products and its word table in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # on what stays in 32 bits, which tells a user nothing
    try:
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(disabled)
