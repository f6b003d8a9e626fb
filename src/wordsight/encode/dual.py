"""Pixels, Tokens -> vectors of the space that a published dual encoder (CLIP, SigLIP) has for both.

**What is known of the vectors.** Those of the whole picture and the whole text are what these models were
trained to bring together: their cosine is evidence that the two belong together. The vectors of patches and
words are what the model's own last layers make of one of them alone: CLIP's final norm and projection,
SigLIP's pooling of a single patch and its text head. They lie in the same space, often near what they show,
but no loss ever asked them to, and attention has carried facts about the whole into each of them. Which
patch is nearest to a word is therefore a hint, no evidence, until it is trained for: by a linear map and a
loss over alignments, as in configs/chan-clip.toml.
"""

from inspect import signature
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from wordsight.encode.base import ImageEncoder, TextEncoder
from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.rows import zeroed
from wordsight.errors import InputError
from wordsight.pretrained import feature_maps
from wordsight.pretrained.dual_encoders import Side, load_tower
from wordsight.pretrained.models import find_model, patches
from wordsight.registry.limits import Size, Whole
from wordsight.sets import EmbeddingSet, Pixels, Tokens

WHOLE = "whole"
BOTH = "both"


class _DualEncoder(nn.Module):
    """A published tower, and the layers that may be learned behind it.

    ``model``       hub name ("openai/clip-vit-base-patch32") or local folder
    ``items``       the vectors of a set: "whole" for one of all, "patches" (of a text: "words") for one each,
                    "both" for the whole as the first of the set, which the similarity "dual" expects
    ``head``        a linear map to ``dim`` behind the published space; without one ``dim`` is its width
    ``freeze``      the published part gets no gradient; what is behind it still learns
    ``pool``        the set -> one vector: "gpo", "mean", ...; None keeps the set
    ``projection``       after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``pretrained``  False builds the architecture without its weights: for a saved matcher, which brings them
    ``revision``    of the hub model

    The published weights are the parameters under ``tower.``.
    """

    side: Side
    each: str  # what one item of the set is

    def __init__(
        self,
        model: str,
        dim: Size | None = None,
        items: str = WHOLE,
        head: bool = False,
        freeze: bool = False,
        pool: PoolTable = None,
        projection: ProjectionTable = None,
        pretrained: bool = True,
        revision: str | None = None,
    ):
        super().__init__()
        known = (WHOLE, self.each, BOTH)
        if items not in known:
            raise InputError(f'items = "{items}" is unknown; known: {", ".join(known)}')
        self.model = model
        self.items = items
        self.head = head
        self.freeze = freeze
        self.projection = projection
        self.pretrained = pretrained
        self.revision = revision
        folder = find_model(model, revision) if pretrained else Path(model)
        self.tower = load_tower(folder, self.side, pretrained).requires_grad_(not freeze)
        width = self._width(self.tower.config)
        if not head and dim is not None and dim != width:
            raise InputError(
                f"head = false leaves the {width} dimensions of {model} as they are, and dim is {dim}; "
                f"set dim = {width}, or head = true"
            )
        self.dim = dim or width
        self.linear = nn.Linear(width, self.dim) if head else None
        self.pool = make_pool(pool)
        self.joint_layer = build_projection(projection, self.dim)
        self.train(self.training)

    def train(self, mode: bool = True) -> "_DualEncoder":
        """Training mode, except for a part that is frozen."""
        super().train(mode)
        if self.freeze:
            self.tower.eval()
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the tower's config.json; return settings that build it without the weights."""
        place = f"{'image' if self.side == 'vision' else 'text'}_encoder"
        self.tower.config.save_pretrained(folder / place)
        return {"model": place, "pretrained": False, "revision": None}

    def _learns(self) -> torch.set_grad_enabled:
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze)

    def _finished(self, items: EmbeddingSet) -> EmbeddingSet:
        """Apply the learned layers behind the published vectors; padding becomes zero."""
        vectors = items.vectors if self.linear is None else self.linear(items.vectors)
        masked = EmbeddingSet(zeroed(vectors, items.mask), items.mask, items.boxes)
        return projected(pooled(masked, self.pool), self.joint_layer)

    def _width(self, config: Any) -> int:
        """Numbers in a vector of the published space."""
        raise NotImplementedError


class DualImageEncoder(_DualEncoder, ImageEncoder):
    """The picture side of a dual encoder, see the settings above; boxes are those of the grid of patches.

    The boxes are fractions of what the model is shown, so a reader that cuts out the centre is for "whole".
    """

    side: Side = "vision"
    each = "patches"

    def forward(self, pixels: Pixels) -> EmbeddingSet:
        """Not normalized. With "both" the first item is the whole picture, then patches from the top left."""
        values = pixels.values
        rows, columns = patches(self.tower.config, values.shape[2], values.shape[3])
        with self._learns():
            out = self.tower(pixel_values=values, **self._options(values))
            whole = (out.image_embeds if self._is_clip else out.pooler_output)[:, None]
            vectors = self._chosen(whole, out.last_hidden_state, rows * columns)
        boxes = self._boxes(rows, columns).to(vectors.device).expand(vectors.shape[0], -1, -1)
        mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return self._finished(EmbeddingSet(vectors, mask, boxes))

    def _chosen(
        self, whole: Float[Tensor, "image 1 dim"], states: Float[Tensor, "image token width"], count: int
    ) -> Float[Tensor, "image item dim"]:
        if self.items == WHOLE:
            return whole
        each = self._of_patches(states[:, states.shape[1] - count :])
        return torch.cat([whole, each], 1) if self.items == BOTH else each

    def _of_patches(self, states: Float[Tensor, "image patch width"]) -> Float[Tensor, "image patch dim"]:
        """The model's own last layers on each patch alone."""
        if self._is_clip:
            projected: Tensor = self.tower.visual_projection(self.tower.vision_model.post_layernorm(states))
            return projected
        alone: Tensor = self.tower.head(states.flatten(0, 1)[:, None])  # looks at the only one there is
        return alone.reshape(*states.shape[:2], -1)

    def _boxes(self, rows: int, columns: int) -> Float[Tensor, "item 4"]:
        cells = feature_maps.boxes([(rows, columns)], (rows, columns))
        everything = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        if self.items == WHOLE:
            return everything
        return torch.cat([everything, cells]) if self.items == BOTH else cells

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


class DualTextEncoder(_DualEncoder, TextEncoder):
    """The text side of a dual encoder, see the settings above; the tokenizer must be "dual" too.

    ``pad_id``   what SigLIP is shown behind a text, up to the length it was trained with: the tokenizer's

    The first token of "dual" Tokens stands for the whole text: its place in the set holds the text's
    vector, or is masked with items = "words". The marks are never words.
    """

    side: Side = "text"
    each = "words"

    def __init__(
        self,
        model: str,
        dim: Size | None = None,
        items: str = WHOLE,
        head: bool = False,
        freeze: bool = False,
        pool: PoolTable = None,
        projection: ProjectionTable = None,
        pretrained: bool = True,
        revision: str | None = None,
        pad_id: Whole = 1,
    ):
        super().__init__(model, dim, items, head, freeze, pool, projection, pretrained, revision)
        self.pad_id = pad_id

    def forward(self, texts: Tokens) -> EmbeddingSet:
        """Not normalized; one vector per text, per piece of a word, or both, as ``items`` says."""
        self._check(texts)
        with self._learns():
            vectors = self._clip(texts) if self._is_clip else self._siglip(texts)
        mask = self._mask(texts.mask)
        if self.items == WHOLE:
            vectors, mask = vectors[:, :1], mask[:, :1]
        return self._finished(EmbeddingSet(vectors, mask))

    def _clip(self, texts: Tokens) -> Float[Tensor, "text word dim"]:
        """A word sees those before it, so padding behind a text changes nothing, and its end has seen all."""
        states: Tensor = self.tower(input_ids=texts.ids).last_hidden_state
        ends = states[torch.arange(states.shape[0], device=states.device), texts.lengths - 1]
        projected: Tensor = self.tower.text_projection(torch.cat([ends[:, None], states[:, 1:]], 1))
        return projected

    def _siglip(self, texts: Tokens) -> Float[Tensor, "text word dim"]:
        """Padded to the length that it was trained with and sees; the last place is the whole text."""
        states: Tensor = self.tower(input_ids=self._laid_out(texts)).last_hidden_state
        words = states[:, : texts.ids.shape[1] - 1]
        projected: Tensor = self.tower.head(torch.cat([states[:, -1:], words], 1))
        return projected

    def _laid_out(self, texts: Tokens) -> Int[Tensor, "text place"]:
        """The words, the end that stood before them, padding."""
        size = (texts.ids.shape[0], self.tower.config.max_position_embeddings)
        placed = torch.full(size, self.pad_id, dtype=texts.ids.dtype, device=texts.device)
        words = texts.ids[:, 1:].masked_fill(~texts.mask[:, 1:], self.pad_id)
        placed[:, : words.shape[1]] = words
        return placed.scatter_(1, texts.lengths[:, None] - 1, texts.ids[:, :1])

    def _mask(self, mask: Bool[Tensor, "text word"]) -> Bool[Tensor, "text word"]:
        """Without the end of CLIP's texts, which is the whole text; and without that if only words count."""
        place = torch.arange(mask.shape[1], device=mask.device)
        if self._is_clip:
            mask = mask & (place != mask.sum(1, keepdim=True) - 1)
        return mask & (place > 0) if self.items == self.each else mask | (place == 0)

    def _check(self, texts: Tokens) -> None:
        config = self.tower.config
        if texts.ids.shape[1] > config.max_position_embeddings:
            raise InputError(
                f"a text of the batch has {texts.ids.shape[1]} tokens, but {self.model} reads at most "
                f"{config.max_position_embeddings}; set the tokenizer's longest to that"
            )
        if len(texts) and int(texts.ids.max()) >= config.vocab_size:
            raise InputError(
                f"token {int(texts.ids.max())} is beyond the {config.vocab_size} of {self.model}; "
                "the tokenizer and the text encoder must come from the same model"
            )

    @property
    def _is_clip(self) -> bool:
        return hasattr(self.tower, "text_projection")

    def _width(self, config: Any) -> int:
        return int(config.projection_dim if self._is_clip else config.projection_size)
