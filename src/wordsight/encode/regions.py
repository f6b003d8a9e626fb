"""Regions -> one vector per region, or per image: a linear map; MLP, positions, attention, pool if asked."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from wordsight.encode.attention import attention_layer
from wordsight.encode.base import ImageEncoder
from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.rows import packed, unit_length, unpacked, zeroed
from wordsight.errors import InputError
from wordsight.registry.limits import Limits, Share, Size
from wordsight.registry.options import takes
from wordsight.sets import EmbeddingSet, Regions


@dataclass(frozen=True)
class RegionOptions:
    """Settings of a RegionEncoder.

    ``normalize_input``   scales every region's features to length 1 first
    ``input_dropout``     share of the features dropped in training
    ``dropout``           share of the embedding entries and of the attention dropped in training
    ``mlp``               adds VSE-infinity's residual MLP, its batch statistics taken over real regions only
    ``positions``         adds a learned linear map of (left, top, right, bottom, area); starts at zero
    ``attend_padding``, ``attend_batch``
                          reproduce what CHAN's published code attends to; see ``Attention``
    ``pool``              regions -> one vector per image: "gpo" (VSE-infinity), "mean", ...; None keeps them
    ``projection``             after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``weight_norm``       the linear map is one learned length times a direction (SCAN's ``weight_norm``)
    ``norm_padding``      reproduces VSE-infinity's code, which counts padding as rows of zeros in the batch
                          statistics of the MLP: in training an image then depends on the largest of its batch
    """

    feature_dim: Size
    dim: Size = 1024
    attention: str = "none"
    heads: Annotated[int, Limits(1, 1024)] = 8
    dropout: Share = 0.0
    input_dropout: Share = 0.0
    normalize_input: bool = False
    mlp: bool = False
    positions: bool = False
    attend_padding: bool = False
    attend_batch: bool = False
    pool: PoolTable = None
    projection: ProjectionTable = None
    norm_padding: bool = False
    weight_norm: bool = False

    def __post_init__(self) -> None:
        if self.norm_padding and not self.mlp:
            raise InputError("norm_padding = true needs mlp = true: nothing else takes batch statistics")


class RegionEncoder(ImageEncoder):
    """The image encoders of CHAN (``attention``), SCAN, VSE++ (one region per image) and VSE-infinity.

    It is built with the settings of ``RegionOptions``. Padding never reaches a real region, and its vectors
    are exactly zero.
    """

    @takes(RegionOptions)
    def __init__(self, options: RegionOptions) -> None:
        super().__init__()
        self.options, self.dim, self.projection = options, options.dim, options.projection
        self.linear = uniform_linear(options.feature_dim, self.dim)
        if options.weight_norm:
            parametrizations.weight_norm(self.linear, dim=None)  # type: ignore[arg-type]  # all of it
        self.residual = residual_mlp(options.feature_dim, self.dim) if options.mlp else None
        self.place = _zero_linear(5, self.dim) if options.positions else None
        self.layer = attention_layer(
            options.attention,
            self.dim,
            options.heads,
            options.dropout,
            attend_padding=options.attend_padding,
            attend_batch=options.attend_batch,
        )
        self.pool = make_pool(options.pool)
        self.joint_layer = build_projection(options.projection, self.dim)

    def forward(self, regions: Regions) -> EmbeddingSet:
        """One vector of ``dim`` numbers, not normalized, per region; boxes and mask are carried through.

        One per image if pooled, and of the joint layer's size if there is one.
        """
        padding = int((~regions.mask).sum()) if self.options.norm_padding else 0
        rows = self._project(packed(regions.features, regions.mask), padding)
        if self.place is not None:
            rows = rows + self.place(geometry(packed(self._boxes(regions), regions.mask)).to(rows.dtype))
        rows = nn.functional.dropout(rows, self.options.dropout, self.training)
        vectors = unpacked(rows, regions.mask)
        if self.layer is not None:
            vectors = zeroed(
                self.layer(self._with_padding(vectors, regions.mask), regions.mask), regions.mask
            )
        items = EmbeddingSet(vectors, regions.mask, regions.boxes, regions.labels)
        return projected(pooled(items, self.pool), self.joint_layer)

    def _project(self, features: Float[Tensor, "real feature"], padding: int) -> Float[Tensor, "real dim"]:
        if features.shape[1] != self.options.feature_dim:
            raise InputError(
                f"the regions have {features.shape[1]} features each, but the encoder was built for "
                f"feature_dim = {self.options.feature_dim}; take the features it was trained on, or build it "
                "anew"
            )
        features = features.to(self.linear.weight.dtype)
        if self.options.normalize_input:
            features = unit_length(features)
        features = nn.functional.dropout(features, self.options.input_dropout, self.training)
        rows: Tensor = self.linear(features)
        if self.residual is None:
            return rows
        counted = torch.cat([features, features.new_zeros(padding, features.shape[1])])
        change: Tensor = self.residual(counted)[: rows.shape[0]]
        return rows + change

    def _with_padding(
        self, vectors: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region dim"]:
        """The input of attention: in CHAN's code a padded region is the bias of the linear map, not zero."""
        return (
            torch.where(mask[..., None], vectors, self.linear.bias)
            if self.options.attend_padding
            else vectors
        )

    def _boxes(self, regions: Regions) -> Float[Tensor, "image region 4"]:
        if regions.boxes is None:
            raise InputError(
                "positions = true needs the boxes of the regions, and these features came without any; "
                "extract them with boxes, or set positions = false"
            )
        return regions.boxes


def geometry(boxes: Float[Tensor, "real 4"]) -> Float[Tensor, "real 5"]:
    """Left, top, right, bottom and area, all fractions of the picture."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.cat([boxes, ((right - left) * (bottom - top))[:, None]], 1)


def uniform_linear(inputs: int, outputs: int) -> nn.Linear:
    """W ~ U(-r, r) with r = sqrt(6 / (in + out)), bias 0: the image branch of the whole VSE family."""
    linear = nn.Linear(inputs, outputs)
    radius = math.sqrt(6 / (inputs + outputs))
    nn.init.uniform_(linear.weight, -radius, radius)
    nn.init.zeros_(linear.bias)
    return linear


def residual_mlp(inputs: int, outputs: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear, half as wide inside: the image branch of VSE-infinity."""
    hidden = outputs // 2
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.zeros_(linear.weight)
    return linear
