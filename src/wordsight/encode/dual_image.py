"""Pixels -> vectors of the space that a published dual encoder has for pictures and texts."""

from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wordsight.encode.base import ImageEncoder
from wordsight.encode.dual import BOTH, WHOLE, DualEncoder, DualOptions
from wordsight.errors import InputError
from wordsight.pretrained import feature_maps, naflex
from wordsight.pretrained.dual_encoders import Side
from wordsight.pretrained.models import patches
from wordsight.registry.options import takes
from wordsight.sets import EmbeddingSet, Pixels


class DualImageEncoder(DualEncoder, ImageEncoder):
    """The picture side of a dual encoder, see DualOptions; boxes are those of the grid of patches.

    The boxes are fractions of what the model is shown, so a reader that cuts out the centre is for "whole".
    """

    side: Side = "vision"
    each = "patches"

    @takes(DualOptions)
    def __init__(self, options: DualOptions) -> None:
        super().__init__(options)

    def forward(self, pixels: Pixels) -> EmbeddingSet:
        """Not normalized. With "both" the first item is the whole picture, then patches from the top left."""
        with self._learns():
            output, grids = self._read(pixels)
            whole = (output.image_embeds if self._is_clip else output.pooler_output)[:, None]
            if self.options.items == WHOLE:
                return self._finished(_whole(whole))
            count = int(grids.prod(1).max()) if len(grids) else 0
            states = output.last_hidden_state
            each = self._of_patches(states[:, states.shape[1] - count :])
        boxes, mask = feature_maps.cells_of(grids, count)
        items = EmbeddingSet(each, mask, boxes)
        if self.options.items == BOTH:
            items = _side_by_side(_whole(whole), items)
        return self._finished(items)

    def _read(self, pixels: Pixels) -> tuple[Any, Int[Tensor, "image 2"]]:
        """The tower's output, and rows and columns of patches of each picture."""
        values, config = pixels.values, self.tower.config
        if naflex.is_naflex(config):
            shown = naflex.cut(values, pixels.sizes, config.patch_size)
            return self.tower(**shown), shown["spatial_shapes"]
        if pixels.sizes is not None:
            raise InputError(
                f"{self.options.model} reads pictures of one size, and the reader gives each its own",
                'take the reader "model-pixels" of the same model',
            )
        grid = torch.tensor(patches(config, values.shape[2], values.shape[3]), device=values.device)
        return self.tower(pixel_values=values, **self._options(values)), grid.expand(values.shape[0], 2)

    def _of_patches(self, states: Float[Tensor, "image patch width"]) -> Float[Tensor, "image patch dim"]:
        """The model's own last layers on each patch alone; TIPSv2 has none behind its norm."""
        if self._is_clip:
            projected: Tensor = self.tower.visual_projection(self.tower.vision_model.post_layernorm(states))
            return projected
        if not hasattr(self.tower, "head"):
            return states
        alone: Tensor = self.tower.head(states.flatten(0, 1)[:, None])  # looks at the only one there is
        return alone.reshape(*states.shape[:2], -1)

    def _options(self, values: Tensor) -> dict[str, bool]:
        """Positions are stretched to pictures of another size than the published one."""
        size = self.tower.config.image_size
        another = tuple(values.shape[2:]) != (size, size)
        known = "interpolate_pos_encoding" in signature(self.tower.forward).parameters
        return {"interpolate_pos_encoding": True} if another and known else {}

    @property
    def _is_clip(self) -> bool:
        return hasattr(self.tower, "visual_projection")

    def _width(self, config: Any) -> int:
        return int(config.projection_dim if self._is_clip else config.hidden_size)


def _whole(vectors: Float[Tensor, "image 1 dim"]) -> EmbeddingSet:
    box = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]], device=vectors.device)
    mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
    return EmbeddingSet(vectors, mask, box.expand(vectors.shape[0], 1, 4))


def _side_by_side(first: EmbeddingSet, then: EmbeddingSet) -> EmbeddingSet:
    """The items of both, of the same pictures."""
    assert first.boxes is not None
    assert then.boxes is not None
    return EmbeddingSet(
        torch.cat([first.vectors, then.vectors], 1),
        torch.cat([first.mask, then.mask], 1),
        torch.cat([first.boxes, then.boxes], 1),
    )
