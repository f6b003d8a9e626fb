"""Pixels -> one vector per cell of a grid, or per picture: a published vision model that is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wordsight.encode.base import ImageEncoder
from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.regions import uniform_linear
from wordsight.encode.rows import unit_length, zeroed
from wordsight.errors import InputError
from wordsight.pretrained import feature_maps, naflex
from wordsight.pretrained.models import find_model, load_vision, patches, random_vision
from wordsight.registry.limits import Limits, Share, Size
from wordsight.registry.options import takes
from wordsight.sets import EmbeddingSet, Pixels

FOLDER = "image_encoder"  # where the architecture is saved, inside a matcher's folder
BLANK = 64  # pixels of the picture that measures a network which names no size


@dataclass(frozen=True)
class BackboneOptions:
    """Settings of a BackboneEncoder.

    ``model``          hub name ("microsoft/resnet-152") or local folder; the reader "model-pixels" of the
                       same model gives it pictures as it knows them
    ``grid``           cells along each side, "full" for the network's own; each is a vector with its box
    ``head``           a linear map to ``dim``; without one ``dim`` must be the network's own width
    ``normalize_input``  scales the channels of every cell to length 1 before the linear map; with grid = 1
                       the network's pooled features, as in VSE++
    ``dropout``        share of the vectors' numbers dropped in training
    ``drop_cells``     size augmentation of VSE-infinity (0.2): in training every picture draws a number from
                       0 to 1, and if it is above this rate loses each cell with a chance of number x rate
    ``pool``           cells -> one vector per picture: "mean" (CMPL, VSE++), "gpo", ...; None keeps the cells
    ``projection``          after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``batch_norm``     "train": as in a network that is trained; "frozen": its published statistics, scales
                       and shifts stay (VSE-infinity)
    ``checkpointing``  spends time to save memory: activations inside the network are computed twice
    ``pretrained``     False builds the architecture of ``model`` without its weights: for a saved matcher,
                       which brings its own
    """

    model: str
    dim: Size = 1024
    grid: Annotated[int, Limits(1, 1024)] | str = "full"
    head: bool = True
    dropout: Share = 0.0
    drop_cells: float = 0.0
    pool: PoolTable = None
    projection: ProjectionTable = None
    batch_norm: str = "train"
    checkpointing: bool = False
    pretrained: bool = True
    revision: str | None = None
    normalize_input: bool = False

    def __post_init__(self) -> None:
        if self.batch_norm not in ("train", "frozen"):
            raise InputError(f'batch_norm "{self.batch_norm}" is not known; known: frozen, train')
        if isinstance(self.grid, str) and self.grid != "full":
            raise InputError(f'grid = "{self.grid}"; expected a number of cells along each side, or "full"')
        if not 0 <= self.drop_cells < 1:
            raise InputError(f"drop_cells = {self.drop_cells}; expected 0 up to, but not including, 1")


class BackboneEncoder(ImageEncoder):
    """ResNet, MobileNet, ConvNeXt, ViT, DINOv2, the picture side of CLIP: what transformers' AutoModel loads.

    It is built with the settings of ``BackboneOptions``. The pretrained weights are the parameters under
    ``backbone.``, so that a group of that prefix can have a lower learning rate. Raises MissingModel if the
    model is neither here nor to be had from here.
    """

    @takes(BackboneOptions)
    def __init__(self, options: BackboneOptions) -> None:
        super().__init__()
        self.options, self.dim, self.projection = options, options.dim, options.projection
        self.backbone = _network(options)
        channels = self._measure()
        if not options.head and self.dim != channels:
            raise InputError(
                f"head = false leaves the {channels} channels of {options.model} as they are; "
                f"set dim = {channels}"
            )
        self.linear = uniform_linear(channels, self.dim) if options.head else None
        self.pool = make_pool(options.pool)
        self.joint_layer = build_projection(options.projection, self.dim)
        if options.batch_norm == "frozen":
            for norm in self._norms():
                norm.requires_grad_(False)
        self.train(self.training)

    def forward(self, pixels: Pixels) -> EmbeddingSet:
        """One vector, not normalized, per cell, row by row from the top left; one per picture if pooled."""
        grid = self._map(pixels.values)
        native = (int(grid.shape[2]), int(grid.shape[3]))
        cells = [
            feature_maps.sides("full" if isinstance(self.options.grid, str) else self.options.grid, native)
        ]
        vectors = feature_maps.pooled(grid, cells)
        if self.options.normalize_input:
            vectors = unit_length(vectors)
        if self.linear is not None:
            vectors = self.linear(vectors)
        boxes = feature_maps.boxes(cells, native).to(vectors.device).expand(vectors.shape[0], -1, -1)
        mask = self._remaining(vectors)
        items = pooled(EmbeddingSet(zeroed(vectors, mask), mask, boxes), self.pool)
        dropped = nn.functional.dropout(items.vectors, self.options.dropout, self.training)
        return projected(EmbeddingSet(dropped, items.mask, items.boxes), self.joint_layer)

    def train(self, mode: bool = True) -> "BackboneEncoder":
        """Training mode, except for batch norms that are frozen."""
        super().train(mode)
        if self.options.batch_norm == "frozen":
            for norm in self._norms():
                norm.eval()
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the architecture's config.json; return settings that build it without the weights."""
        self.backbone.config.save_pretrained(folder / FOLDER)
        return {"model": FOLDER, "pretrained": False, "revision": None}

    def _map(
        self, values: Float[Tensor, "image 3 height width"]
    ) -> Float[Tensor, "image channel row column"]:
        """The network's last hidden states, laid out as they lie in the picture."""
        values = values.contiguous(memory_format=torch.channels_last)
        states: Tensor = self.backbone(pixel_values=values, **self._options(values)).last_hidden_state
        return feature_maps.feature_map(
            states, patches(self.backbone.config, values.shape[2], values.shape[3])
        )

    def _options(self, values: Tensor) -> dict[str, bool]:
        """A transformer reads pictures of another size if its positions are stretched to them."""
        known = signature(self.backbone.forward).parameters
        another = tuple(values.shape[2:]) != _size(self.backbone.config)
        return {"interpolate_pos_encoding": True} if another and "interpolate_pos_encoding" in known else {}

    @torch.no_grad()
    def _measure(self) -> int:
        """How many channels the network's map has: a blank picture tells."""
        height, width = _size(self.backbone.config)
        self.backbone.eval()  # the blank picture must not enter the statistics of batch norms
        return int(self._map(torch.zeros(1, 3, height, width)).shape[1])

    def _remaining(self, vectors: Float[Tensor, "image cell dim"]) -> Bool[Tensor, "image cell"]:
        """All cells, or in training those that size augmentation leaves; never none."""
        shape = vectors.shape[:2]
        if not (self.training and self.options.drop_cells):
            return torch.ones(shape, dtype=torch.bool, device=vectors.device)
        share, draws = (
            torch.rand(shape[0], 1, device=vectors.device),
            torch.rand(shape, device=vectors.device),
        )
        remaining = (share <= self.options.drop_cells) | (draws > self.options.drop_cells * share)
        return remaining | (draws == draws.max(1, keepdim=True).values)

    def _norms(self) -> Iterator[_BatchNorm]:
        return (module for module in self.backbone.modules() if isinstance(module, _BatchNorm))


def _network(options: BackboneOptions) -> Any:
    """The trainable network, without a pooler of its own: weights that no gradient would reach."""
    if options.pretrained:
        network = load_vision(find_model(options.model, options.revision)).requires_grad_(True)
    else:
        network = random_vision(options.model, options.revision)
    if naflex.is_naflex(network.config):
        raise InputError(
            f"{options.model} reads each picture in its own shape, and is not trained further here",
            'read it frozen, by [reader] name = "backbone", or train it as [image_encoder] name = "dual"',
        )
    pooler = getattr(network, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        network.pooler = None
    if options.checkpointing:
        if not network.supports_gradient_checkpointing:
            raise InputError(
                f"{options.model} cannot be checkpointed in transformers; set checkpointing = false"
            )
        enable = getattr(network, "activation_checkpointing_enable", network.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
    return network.to(memory_format=torch.channels_last)


def _size(config: Any) -> tuple[int, int]:
    """Height and width of the pictures that a network was made for, where it says so."""
    size = getattr(config, "image_size", None) or BLANK
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
