"""Feature maps -> regions: averaged cells of one or several grids, where each is, and the mean in any box."""

from collections.abc import Sequence
from math import isqrt
from typing import Annotated, Literal

from jaxtyping import Bool, Float, Int

from wordsight.errors import InputError
from wordsight.registry.limits import Limits
from wordsight.runtime.exporting import is_exporting
from wordsight.tensors import F, Tensor, torch

Grid = Annotated[int, Limits(1, 1024)] | Literal["full"]  # cells along each side; "full" = all of the map


def feature_map(
    states: Float[Tensor, "image *positions"], patches: tuple[int, int]
) -> Float[Tensor, "image channel row column"]:
    """A convolutional map as it is; tokens without the leading class and register tokens, laid out in rows.

    ``patches``: rows and columns of patches that the picture was cut into. Models that merge patches on
    the way (Swin) leave a square of fewer tokens.
    """
    if states.ndim == 4:
        return states
    tokens, (rows, columns) = states.shape[1], patches
    if tokens < rows * columns:
        rows = columns = isqrt(tokens)
    laid_out = states[:, tokens - rows * columns :].transpose(1, 2)
    return laid_out.reshape(states.shape[0], -1, rows, columns)


def sides(grid: Grid, native: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of cells. More cells than the map has would only repeat them: an error."""
    if grid == "full":
        return native
    if not 1 <= grid <= min(native):
        raise InputError(
            f"grid = {grid} is out of reach: the model's own grid is {native[0]} x {native[1]} cells; "
            f'choose 1 to {min(native)}, "full", or a larger size of the pictures'
        )
    return grid, grid


def pooled(
    features: Float[Tensor, "image channel row column"], grids: Sequence[tuple[int, int]]
) -> Float[Tensor, "image region channel"]:
    """Average the map to each grid in turn; the cells of a grid go row by row from the top left."""
    levels = [_cell_means(features, grid).flatten(2) for grid in grids]
    return torch.cat([features[..., :0].flatten(2), *levels], 2).transpose(1, 2)


def _cell_means(
    features: Float[Tensor, "image channel row column"], grid: tuple[int, int]
) -> Float[Tensor, "image channel grid_row grid_column"]:
    """Adaptive average pooling; in an export by plain means, since ONNX has no such pooling."""
    if not is_exporting():
        return F.adaptive_avg_pool2d(features, grid)
    native = [int(features.shape[2]), int(features.shape[3])]
    rows, columns = ([range(n * side // cells, -(-(n + 1) * side // cells)) for n in range(cells)]
                     for side, cells in zip(native, grid, strict=True))  # fmt: skip
    means = [
        features[:, :, row.start : row.stop, column.start : column.stop].mean((2, 3))
        for row in rows
        for column in columns
    ]
    return torch.stack(means, 2).reshape(features.shape[0], features.shape[1], *grid)


def boxes(grids: Sequence[tuple[int, int]], native: tuple[int, int]) -> Float[Tensor, "region 4"]:
    """Left, top, right, bottom of every region, in fractions of what the model sees.

    These are the cells that were averaged: where a grid does not divide the map, neighbours share some.
    """
    levels = [torch.zeros(0, 4)]
    for rows, columns in grids:
        top, bottom = _edges(rows, native[0])
        left, right = _edges(columns, native[1])
        corners = [
            side.expand(rows, columns) for side in (left[None], top[:, None], right[None], bottom[:, None])
        ]
        levels.append(torch.stack(corners, 2).reshape(-1, 4))
    return torch.cat(levels)


def cells_of(
    grids: Int[Tensor, "image 2"], count: int
) -> tuple[Float[Tensor, "image cell 4"], Bool[Tensor, "image cell"]]:
    """The boxes of the cells of each picture's own grid (rows, columns), row by row, and which are real."""
    place = torch.arange(count, device=grids.device)
    rows, columns = grids[:, :1], grids[:, 1:]
    row, column = torch.div(place, columns, rounding_mode="floor"), place % columns
    corners = [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows]
    mask = place < rows * columns
    return torch.stack(corners, 2) * mask[..., None], mask


def _edges(cells: int, native: int) -> tuple[Float[Tensor, " cell"], Float[Tensor, " cell"]]:
    """Where adaptive average pooling begins and ends each cell: floor(i n / g) to ceil((i + 1) n / g)."""
    index = torch.arange(cells)
    begin, end = index * native // cells, -(-(index + 1) * native // cells)
    return begin / native, end / native


def averaged(
    features: Float[Tensor, "image channel row column"], places: Float[Tensor, "image box 4"]
) -> Float[Tensor, "image box channel"]:
    """The mean of the map in each box, in fractions of what the model sees; zeros in one of no extent.

    A cell counts as far as it lies inside.
    """
    rows = _covered(places[..., 1], places[..., 3], features.shape[2])
    columns = _covered(places[..., 0], places[..., 2], features.shape[3])
    inside = torch.einsum("ibr,ibc,idrc->ibd", rows, columns, features)
    area = (rows.sum(2) * columns.sum(2)).clamp(min=torch.finfo(features.dtype).tiny)
    return inside / area[..., None]


def _covered(
    begin: Float[Tensor, "image box"], end: Float[Tensor, "image box"], cells: int
) -> Float[Tensor, "image box cell"]:
    """How much of each cell of a side lies between begin and end."""
    edges = torch.arange(cells + 1, device=begin.device) / cells
    common = torch.minimum(end[..., None], edges[1:]) - torch.maximum(begin[..., None], edges[:-1])
    return common.clamp(min=0)


def in_picture(
    boxes: Float[Tensor, "image region 4"], windows: Float[Tensor, "image 4"]
) -> Float[Tensor, "image region 4"]:
    """Boxes in fractions of the window that the model sees -> in fractions of the whole picture."""
    corner, far = windows[:, None, :2], windows[:, None, 2:]
    return corner.repeat(1, 1, 2) + boxes * (far - corner).repeat(1, 1, 2)


def mirrored(boxes: Float[Tensor, "*box 4"]) -> Float[Tensor, "*box 4"]:
    """Boxes in a picture -> the same boxes in the mirrored picture."""
    left, top, right, bottom = boxes.unbind(-1)
    return torch.stack([1 - right, top, 1 - left, bottom], -1)


def in_window(
    boxes: Float[Tensor, "image region 4"], windows: Float[Tensor, "image 4"]
) -> Float[Tensor, "image region 4"]:
    """The other way, cut off at the window's edges; a box outside it has no extent left."""
    corner, far = windows[:, None, :2], windows[:, None, 2:]
    return ((boxes - corner.repeat(1, 1, 2)) / (far - corner).repeat(1, 1, 2)).clamp(0, 1)


def signed_root(features: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The power transform with exponent 1/2: tames the few large values of features that follow a ReLU."""
    return features.sign() * features.abs().sqrt()
