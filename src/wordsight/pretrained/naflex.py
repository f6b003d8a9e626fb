"""Pictures of several sizes -> the rows of patches that SigLIP 2 NaFlex reads, each in its own grid."""

import math
from typing import Any

from jaxtyping import Float, Int

from wordsight.tensors import Tensor, torch

TYPE = "siglip2_vision_model"  # the model_type of a config
FINE, COARSE = 1e-5, 100.0  # the step and the largest scale of the published search for a size


def is_naflex(config: Any) -> bool:
    return getattr(config, "model_type", None) == TYPE


def grid_of(height: int, width: int, patch: int, most: int) -> tuple[int, int]:
    """Rows and columns of at most so many patches, in the shape of a picture as far as patches allow.

    As published: the largest scale that fits, found by halving, with sides rounded up to whole patches.
    """

    def grid(scale: float) -> tuple[int, int]:
        rows, columns = (math.ceil(side * scale / patch) for side in (height, width))
        return max(rows, 1), max(columns, 1)

    low, high = FINE / 10, COARSE
    while high - low >= FINE:
        middle = (low + high) / 2
        rows, columns = grid(middle)
        low, high = (middle, high) if rows * columns <= most else (low, middle)
    return grid(low)


def cut(
    values: Float[Tensor, "image 3 height width"], sizes: Int[Tensor, "image 2"] | None, patch: int
) -> dict[str, Tensor]:
    """Arguments of the model's forward: patches row by row, which of them are real, and the grids.

    ``sizes``: height and width of each picture, in the top left of its values; None: they fill them.
    """
    if sizes is None:
        full = torch.tensor([values.shape[2:]], device=values.device)
        sizes = full.expand(values.shape[0], 2)
    grids = torch.div(sizes, patch, rounding_mode="floor")
    cells = values.unfold(2, patch, patch).unfold(3, patch, patch).permute(0, 2, 3, 4, 5, 1)
    rows, columns = (torch.arange(count, device=values.device) for count in cells.shape[1:3])
    inside = (rows[:, None] < grids[:, :1, None]) & (columns < grids[:, 1:, None])
    counts = grids.prod(1)
    longest = int(counts.max()) if len(counts) else 0
    first = (~inside.flatten(1)).int().argsort(dim=1, stable=True)[:, :longest]
    images = torch.arange(len(grids), device=values.device)[:, None]
    return {
        "pixel_values": cells.flatten(3).flatten(1, 2)[images, first],
        "pixel_attention_mask": torch.arange(longest, device=values.device) < counts[:, None],
        "spatial_shapes": grids,
    }
