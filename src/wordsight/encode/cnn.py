"""Pixels -> one vector per cell of a grid laid over the picture, or one: a small convolutional network."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wordsight.encode.attention import attention_layer
from wordsight.encode.base import ImageEncoder
from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.surroundings import Surroundings
from wordsight.errors import InputError
from wordsight.registry.limits import Limits, Share, Size
from wordsight.registry.options import takes
from wordsight.sets import EmbeddingSet, Pixels


@dataclass(frozen=True)
class GridCNNOptions:
    """Settings of a GridCNN.

    ``cell``         side of a cell in pixels, a power of two: 64 x 64 pictures have 8 x 8 cells of 8
    ``width``        channels of the first layer; they double with each halving, up to four times that
    ``depth``        residual blocks at the cells' resolution; each widens what a cell sees by 4 cells (by 2
                     with ``hidden``), and begins by adding nothing
    ``overlaps``     how many of the halvings, from the first, look over the edge by one of their pixels: with
                     1 a cell of 8 sees 10 pixels before the residual blocks, with 2 it sees 14, with 3 22
    ``coordinates``  tells every cell where in the picture it is, which "left of" and "above" need
    ``context``      "none", or how cells learn of each other: "surroundings", "self-attention", "transformer"
    ``pool``         cells -> one vector per picture: "gpo", "mean", "max"; None keeps the cells
    ``projection``   after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``stem_stride``  step of the first convolution: 2, or 4, which does two halvings at once
    ``hidden``       channels between the two convolutions of a residual block, the second of which is then
                     1 x 1: with three quarters of the channels outside, 0.4 of the work. 0: both are 3 x 3,
                     and there are as many as outside
    """

    dim: Size = 1024
    width: Size = 16
    depth: Annotated[int, Limits(0, 1024)] = 1
    cell: int = 8
    overlaps: Annotated[int, Limits(0, 1024)] = 1
    coordinates: bool = True
    context: str = "none"
    heads: Annotated[int, Limits(1, 1024)] = 4
    dropout: Share = 0.0
    pool: PoolTable = None
    projection: ProjectionTable = None
    stem_stride: Annotated[int, Limits(1, 64)] = 2
    hidden: Annotated[int, Limits(0, 65536)] = 0

    def __post_init__(self) -> None:
        if self.cell < 2 or self.cell & (self.cell - 1):
            raise InputError(f"cell = {self.cell} pixels; expected a power of two: 2, 4, 8, 16 or 32")
        if self.stem_stride not in (2, 4) or self.stem_stride > self.cell:
            raise InputError(
                f"stem_stride = {self.stem_stride}; expected 2, or 4 with cells of at least 4 pixels"
            )


class GridCNN(ImageEncoder):
    """Learned end to end from small pictures; the boxes are the cells, as fractions of the picture.

    It is built with the settings of ``GridCNNOptions``. Norms are group norms: a picture's vectors do not
    depend on the others of its batch.
    """

    @takes(GridCNNOptions)
    def __init__(self, options: GridCNNOptions) -> None:
        super().__init__()
        self.options, self.dim, self.projection = options, options.dim, options.projection
        levels = range(int(math.log2(options.stem_stride)) - 1, int(math.log2(options.cell)))
        channels = [3, *(options.width * min(2**level, 4) for level in levels)]
        strides = [options.stem_stride, *(2 for _ in channels[2:])]
        sizes = enumerate(zip(pairwise(channels), strides, strict=True))
        self.halvings = nn.Sequential(
            *(_halving(*pair, stride, overlap=level < options.overlaps) for level, (pair, stride) in sizes)
        )
        self.blocks = nn.Sequential(*(_Residual(channels[-1], options.hidden) for _ in range(options.depth)))
        self.head = nn.Linear(channels[-1] + 4 * options.coordinates, self.dim)
        surroundings = options.context == "surroundings"
        self.surroundings = Surroundings(self.dim) if surroundings else None
        context = "none" if surroundings else options.context
        self.layer = attention_layer(context, self.dim, options.heads, options.dropout)
        self.pool = make_pool(options.pool)
        self.joint_layer = build_projection(options.projection, self.dim)

    def forward(self, pixels: Pixels) -> EmbeddingSet:
        """One vector, not normalized, per cell, row by row from the top left; one per picture if pooled."""
        values = pixels.values
        self._check(values)
        grid = self.blocks(self.halvings(values.contiguous(memory_format=torch.channels_last)))
        boxes = cell_boxes(*grid.shape[2:]).to(values.device).expand(values.shape[0], -1, -1)
        cells = grid.flatten(2).transpose(1, 2)
        if self.options.coordinates:
            cells = torch.cat([cells, _where(boxes).to(cells.dtype)], 2)
        vectors = nn.functional.dropout(self.head(cells), self.options.dropout, self.training)
        mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=values.device)
        if self.surroundings is not None:
            vectors = self.surroundings(vectors.reshape(vectors.shape[0], *grid.shape[2:], -1)).flatten(1, 2)
        if self.layer is not None:
            vectors = self.layer(vectors, mask)
        return projected(pooled(EmbeddingSet(vectors, mask, boxes), self.pool), self.joint_layer)

    def _check(self, values: Float[Tensor, "image 3 height width"]) -> None:
        height, width = values.shape[2:]
        cell = self.options.cell
        if height % cell or width % cell:
            raise InputError(
                f"pictures of {width} x {height} pixels do not divide into cells of {cell}; "
                "set the reader's size to a multiple of the cell"
            )


def cell_boxes(rows: int, columns: int) -> Float[Tensor, "cell 4"]:
    """Left, top, right, bottom of every cell, row by row; fractions of the picture."""
    top, left = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
    return torch.stack([left, top, left + 1 / columns, top + 1 / rows], -1).flatten(0, 1)


def _where(boxes: Float[Tensor, "image cell 4"]) -> Float[Tensor, "image cell 4"]:
    """The centre in [-1, 1] and its square: enough for a linear map to prefer a side, or the middle."""
    centre = boxes[..., :2] + boxes[..., 2:] - 1
    return torch.cat([centre, centre.square()], -1)


# A network whose cells see far is free to answer for a small thing with a neighbouring cell, and does: on the
# generated world words pointed one cell off, all in one direction, in one run of three. So cells first see
# little more than their own box, and from its middle; what lies around it they learn afterwards.


def _halving(inputs: int, outputs: int, stride: int, overlap: bool) -> nn.Sequential:
    size, padding = stride + 2 * overlap, int(overlap)
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return nn.Sequential(_centred(convolution), _norm(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    """x + two convolutions of relu(norm(x)): 3 x 3 both, or the second 1 x 1 from ``hidden`` channels."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        last = nn.Conv2d(hidden, channels, 1) if hidden else nn.Conv2d(channels, channels, 3, padding=1)
        between = hidden or channels
        nn.init.zeros_(last.weight)
        self.change = nn.Sequential(
            _norm(channels),
            nn.ReLU(inplace=True),
            _centred(nn.Conv2d(channels, between, 3, padding=1, bias=False)),
            _norm(between),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, grid: Float[Tensor, "image channel row column"]) -> Tensor:
        change: Tensor = self.change(grid)
        return grid + change


def _centred(convolution: nn.Conv2d) -> nn.Conv2d:
    """Begin by looking at the middle: weights in proportion to binomial coefficients, their length kept."""
    size = convolution.kernel_size[0]
    row = torch.tensor([float(math.comb(size - 1, place)) for place in range(size)])
    window = torch.outer(row, row)
    with torch.no_grad():
        convolution.weight.mul_(window / window.square().mean().sqrt())
    return convolution


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)
