"""Pixels, Tokens -> one vector of length 1 per token, by ColPali or ColQwen2."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wordsight.encode.base import ImageEncoder, TextEncoder
from wordsight.errors import InputError
from wordsight.pretrained import feature_maps
from wordsight.pretrained.models import find_model
from wordsight.pretrained.multi_vector import (
    FOLDER,
    family_of,
    load_network,
    load_tokenizer,
    on,
    prompts_of,
    save_published,
)
from wordsight.sets import EmbeddingSet, Pixels, Tokens


class _MultiVectorEncoder(nn.Module):
    """A frozen network that both sides share: it is in the folder ``model``, not among a matcher's weights.

    ``precision``: of the network's weights, "float32" or "bfloat16"; vectors are float32.
    """

    def __init__(self, model: str, precision: str = "float32") -> None:
        super().__init__()
        self.model, self.precision, self.projection = model, precision, None
        self._folder = find_model(model)
        self.family = family_of(self._folder)
        self.__dict__["network"] = load_network(self._folder, precision)
        self.dim = int(self.network.config.embedding_dim)

    network: Any

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        parameters: Iterator[nn.Parameter] = self.network.parameters(recurse)
        return parameters

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def save(self, folder: Path) -> dict[str, Any]:
        """Link the published files into the folder; return settings that find them there."""
        save_published(self._folder, folder)
        return {"model": FOLDER, "precision": self.precision}

    @torch.no_grad()
    def _embed(self, ids: Tensor, mask: Tensor | None = None, **picture: Any) -> Float[Tensor, "n token dim"]:
        """A vector per token; of ColPali, whose types are all 0, every token sees all others."""
        mask = torch.ones_like(ids) if mask is None else mask.long()
        types = {} if self.family.keeps_shape else {"token_type_ids": torch.zeros_like(ids)}
        output = self.network(input_ids=ids, attention_mask=mask, **types, **picture)
        embeddings: Tensor = output.embeddings.float()
        return embeddings


class MultiVectorTextEncoder(_MultiVectorEncoder, TextEncoder):
    """The text side; the tokens of the prompt and of the padding behind a text count too."""

    def forward(self, texts: Tokens) -> EmbeddingSet:
        """Vectors of length 1, those of one length encoded together."""
        vectors = torch.zeros(*texts.ids.shape, self.dim, device=texts.device)
        for length in sorted(set(texts.lengths.tolist())):
            rows = (texts.lengths == length).nonzero()[:, 0]
            vectors[rows, :length] = self._embed(texts.ids[rows, :length])
        return EmbeddingSet(vectors, texts.mask)


class MultiVectorImageEncoder(_MultiVectorEncoder, ImageEncoder):
    """The picture side: a vector for each cell with its box, then those of the instruction, with boxes of 0.

    All of them count, as published; a box of no extent says that a vector is of no place in the picture.
    """

    def __init__(self, model: str, precision: str = "float32") -> None:
        super().__init__(model, precision)
        tokenizer, (prompt, _) = load_tokenizer(self._folder), prompts_of(self._folder)
        self._image = int(self.network.config.vlm_config.image_token_id)
        text = prompt if self.family.keeps_shape else f"{tokenizer.bos_token}{prompt}\n"
        self._ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        if self.family.keeps_shape != (self._image in self._ids):
            raise InputError(f"the prompt of {model}, {prompt!r}, has no place for a picture")

    def forward(self, pixels: Pixels) -> EmbeddingSet:
        """Pictures of one size are encoded together."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row in range(len(pixels)):
            size = pixels.values.shape[2:] if pixels.sizes is None else pixels.sizes[row].tolist()
            by_size[int(size[0]), int(size[1])].append(row)
        done: list[EmbeddingSet] = []
        for (height, width), rows in by_size.items():
            done.append(self._of_one_size(pixels.values[rows, :, :height, :width].to(on(self.network))))
        order = torch.tensor([row for rows in by_size.values() for row in rows]).argsort()
        return EmbeddingSet.join(done)[order.to(done[0].device)]

    def _of_one_size(self, values: Float[Tensor, "image 3 height width"]) -> EmbeddingSet:
        (rows, columns), picture = self._pictures(values)
        places = torch.full((rows * columns,), self._image).tolist()
        if self.family.keeps_shape:
            at = self._ids.index(self._image)
            ids = [*self._ids[:at], *places, *self._ids[at + 1 :]]
        else:
            at, ids = 0, [*places, *self._ids]
        given = torch.tensor(ids, device=values.device).expand(values.shape[0], -1)
        vectors = self._embed(given, **picture)
        boxes = torch.zeros(len(ids), 4, device=values.device)
        boxes[at : at + rows * columns] = feature_maps.boxes([(rows, columns)], (rows, columns)).to(
            boxes.device
        )
        mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=values.device)
        return EmbeddingSet(vectors, mask, boxes.expand(values.shape[0], -1, -1))

    def _pictures(
        self, values: Float[Tensor, "image 3 height width"]
    ) -> tuple[tuple[int, int], dict[str, Tensor]]:
        """Rows and columns of cells, and what the network reads."""
        eye = self.network.config.vlm_config.vision_config
        side = int(eye.patch_size)
        rows, columns = values.shape[2] // side, values.shape[3] // side
        if not self.family.keeps_shape:
            return (rows, columns), {"pixel_values": values}
        merged, count = int(eye.spatial_merge_size), values.shape[0]
        cells = values.reshape(count, 3, rows // merged, merged, side, columns // merged, merged, side)
        cells = cells.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
        twice = cells.expand(-1, -1, -1, -1, -1, -1, int(eye.temporal_patch_size), -1, -1)
        grid = torch.tensor([[1, rows, columns]] * count, device=values.device)
        patches = twice.reshape(count, rows * columns, -1)
        return (rows // merged, columns // merged), {"pixel_values": patches, "image_grid_thw": grid}
