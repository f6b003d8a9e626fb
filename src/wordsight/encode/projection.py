"""Vectors -> vectors of the joint space: CMPL's joint layer, a linear map without bias and a batch norm."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from jaxtyping import Float

from wordsight import registry
from wordsight.encode.rows import packed, unpacked
from wordsight.errors import InputError
from wordsight.registry.limits import Positive, Share, Size
from wordsight.sets import EmbeddingSet
from wordsight.tensors import Tensor, nn

ProjectionTable: TypeAlias = Size | Mapping[str, Any] | None  # a size, or {dim, eps, momentum, std}


class ProjectionLayer(nn.Module):
    """Linear(width, dim) without bias, then BatchNorm1d(dim): both modalities end in one, each its own.

    ``eps``       added to the variance (TensorFlow's MobileNet scope: 0.001, its ResNet scope: 1e-5)
    ``momentum``  what a batch weighs in the running statistics; TensorFlow writes 1 - momentum and calls it
                  decay (MobileNet 0.9997, ResNet 0.997)
    ``std``       of the truncated normal that the map starts from (MobileNet scope: 0.09); None = a spread
                  of sqrt(2 / width) after the tails are cut (variance scaling)

    In training every channel is normalized over the batch, so a vector depends on the others of its batch; in
    evaluation it does not.
    """

    def __init__(
        self, width: Size, dim: Size, eps: float = 1e-5, momentum: Share = 0.1, std: Positive | None = None
    ):
        super().__init__()
        self.width = width
        self.dim = dim
        self.eps = eps
        self.momentum = momentum
        self.std = std
        self.linear = nn.Linear(width, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim, eps=eps, momentum=momentum)
        spread = math.sqrt(1.3 * 2 / width) if std is None else std  # 1.3 makes up for the cut tails
        nn.init.trunc_normal_(self.linear.weight, std=spread, a=-2 * spread, b=2 * spread)

    def forward(self, rows: Float[Tensor, "real width"]) -> Float[Tensor, "real dim"]:
        if self.training and len(rows) < 2:
            raise InputError(
                "the joint layer normalizes over the batch, and this batch has one vector; train with "
                "batches of at least 2 (per process)"
            )
        projection: Tensor = self.norm(self.linear(rows))
        return projection


def build_projection(projection: ProjectionTable, width: int) -> ProjectionLayer | None:
    """The layer for the setting ``projection``: a size, a table {dim, eps, momentum, std}, or None."""
    if projection is None:
        return None
    table = {"dim": projection} if isinstance(projection, int) else projection
    made: ProjectionLayer = registry.instantiate(ProjectionLayer, "[projection]", table, width=width)
    return made


def out_dim(encoder: Any) -> int:
    """How many numbers each vector of this encoder has: its joint layer's if it has one, or its ``dim``."""
    projection = getattr(encoder, "projection", None)
    return int(
        encoder.dim
        if projection is None
        else projection
        if isinstance(projection, int)
        else projection["dim"]
    )


def projected(items: EmbeddingSet, layer: ProjectionLayer | None) -> EmbeddingSet:
    """Project items into the joint space; padding counts in no batch statistics and stays zero."""
    if layer is None:
        return items
    rows = layer(packed(items.vectors, items.mask))
    return replace(items, vectors=unpacked(rows, items.mask))
