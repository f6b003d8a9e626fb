"""A grid of cells in, the same cells out, each told what lies how far from it and in which direction."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

REACH = 7  # cells in each direction: all of an 8 x 8 grid
SMALL = 256  # cells; up to here one product of matrices per channel is faster than a convolution on a CPU


class Surroundings(nn.Module):
    """x + W relu(sum over offsets of kernel[offset] * relu(V norm(x)) at that offset), channel by channel.

    A depthwise convolution as wide as the picture, for which "something blue to the right of here" is one
    weighted sum. Self-attention has to find offsets in the products of what cells hold: taught the relations
    of the generated world directly, it had hardly begun when this layer knew nearly all of them.
    """

    def __init__(self, dim: int, reach: int = REACH):
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(dim)
        self.say = nn.Linear(dim, dim)
        self.kernel = nn.Parameter(torch.randn(dim, 2 * reach + 1, 2 * reach + 1) * 0.02)
        self.hear = nn.Linear(dim, dim)
        # Hear nothing at first: words must find their own cells before they can find them by their relations.
        nn.init.zeros_(self.hear.weight)
        nn.init.zeros_(self.hear.bias)

    def forward(self, grid: Float[Tensor, "image row column dim"]) -> Float[Tensor, "image row column dim"]:
        said = F.relu(self.say(self.norm(grid)))
        gather = self._by_product if grid.shape[1] * grid.shape[2] <= SMALL else self._by_convolution
        heard: Tensor = self.hear(F.relu(gather(said)))
        return grid + heard

    def _by_convolution(
        self, said: Float[Tensor, "image row column dim"]
    ) -> Float[Tensor, "image row column dim"]:
        channels = said.permute(0, 3, 1, 2)
        kernel = self.kernel[:, None].to(said.dtype)
        found = F.conv2d(channels, kernel, padding=self.reach, groups=len(kernel))
        return found.permute(0, 2, 3, 1)

    def _by_product(
        self, said: Float[Tensor, "image row column dim"]
    ) -> Float[Tensor, "image row column dim"]:
        """The convolution written out: one [cell, cell] matrix per channel."""
        n, rows, columns, dim = said.shape
        cells = said.flip(1, 2).reshape(n, rows * columns, dim).permute(2, 0, 1)
        found = torch.bmm(cells, self._matrices(rows, columns).to(said.dtype))
        return found.permute(1, 2, 0).reshape(n, rows, columns, dim)

    def _matrices(self, rows: int, columns: int) -> Float[Tensor, "dim from_cell to_cell"]:
        """kernel[:, down, across] at the offset from each cell to each other; 0 beyond the reach.

        Cells to come from are counted from the last to the first: then offsets grow with both counts, and the
        matrices are windows that slide over the kernel.
        """
        high, wide = rows - 1 - self.reach, columns - 1 - self.reach  # negative: less than the whole kernel
        kernel = F.pad(self.kernel.flip(1, 2), (wide, wide, high, high))
        windows = kernel.unfold(1, rows, 1).unfold(2, columns, 1)
        return windows.reshape(len(kernel), rows * columns, rows * columns)
